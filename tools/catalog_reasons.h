// The gate's part about differences of the catalogs, and about what the cutover makes last.
#pragma once

#include <vector>

#include "tools/cutover_gate.h"

namespace walferry {

// The kinds of catalog_watch.h, but for new partitions, which the cutover's own stream follows.
absl::StatusOr<std::vector<GateReason>> CatalogReasons(const GateSubject& subject);

// Kind "last-stage": objects that cannot be made. Tries them, and takes them back.
absl::StatusOr<std::vector<GateReason>> LastStageReasons(const GateSubject& subject);

}  // namespace walferry
