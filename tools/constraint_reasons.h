// The gate's part about CHECK constraints. They come with the tables, so those that the source made later are
// on no list.
#pragma once

#include <vector>

#include "tools/cutover_gate.h"

namespace walferry {

// Kind "columns": constraints of migrated tables that the target lacks or has otherwise, where the schema is
// ours.
absl::StatusOr<std::vector<GateReason>> ConstraintReasons(const GateSubject& subject);

}  // namespace walferry
