// The gate's part about differences of the catalogs: new tables, tables that need another copy, columns.
#pragma once

#include <vector>

#include "tools/cutover_gate.h"

namespace walferry {

// Kinds "catalog", "new-tables" and "needs-copy".
absl::StatusOr<std::vector<GateReason>> CatalogReasons(const GateSubject& subject);

}  // namespace walferry
