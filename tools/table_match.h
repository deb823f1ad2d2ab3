// Whether the target has what the source's tables need, by name: asked before anything is written.
#pragma once

#include <vector>

#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

// kFailedPrecondition naming the first tables or columns that the target lacks, and what to do.
absl::Status CheckTablesMatch(Connection& source, Connection& target, const std::vector<TableName>& tables);

// kFailedPrecondition naming the first tables of the target that hold rows already.
absl::Status CheckTablesEmpty(Connection& target, const std::vector<TableName>& tables);

}  // namespace walferry
