// What of the source lies outside the user's choice, of every kind that a table list can name.
#pragma once

#include <vector>

#include "stream/connection.h"
#include "tools/table_filter.h"

namespace walferry {

// Tables that were not chosen (unlogged and foreign ones, too), and the views and sequences that
// --exclude-tables names. Without --exclude-tables views and sequences stay: chosen tables may need them.
absl::StatusOr<std::vector<TableName>> ExcludedRelations(Connection& source, const TableFilter& filter);

// Every relation that ListSourceTables() leaves out and that a list of tables can name: views, sequences,
// unlogged, foreign and partitioned tables.
absl::StatusOr<std::vector<SourceTable>> ListOtherRelations(Connection& source);

}  // namespace walferry
