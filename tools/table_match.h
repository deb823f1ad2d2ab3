// Whether the source has the tables that were chosen, and the target what they need: asked before anything is
// written.
#pragma once

#include <vector>

#include "stream/connection.h"
#include "stream/publication.h"
#include "tools/table_filter.h"

namespace walferry {

// kFailedPrecondition naming patterns of the user's choice that no table of the source matches: each is a
// typo, or a table that would silently be left out.
absl::Status CheckPatternsMatch(Connection& source, const TableFilter& filter);

// kFailedPrecondition naming the first tables or columns that the target lacks, and what to do.
absl::Status CheckTablesMatch(Connection& source, Connection& target, const std::vector<TableName>& tables);

// Whether the stream's values may be asked for in binary: every published column has the same binary form on
// both sides, and none is an array, which travels through set-based statements as text only. Tables that one
// side lacks do not count.
absl::StatusOr<bool> BinarySuits(Connection& source, Connection& target,
                                 const std::vector<TableName>& tables);

}  // namespace walferry
