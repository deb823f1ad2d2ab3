// How the target calls the tables of the migration that the source may call otherwise by now.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "apply/schema_script.h"
#include "apply/state.h"
#include "tools/source_catalog.h"
#include "tools/table_filter.h"

namespace walferry {

struct TablesOnBothSides {
  std::map<Oid, TableName> target_names;  // Of the source's tables and their partitioned tables.
  TableRenames renames;                   // From the source's names, where they differ.
  // Tables of the source that are no part of the migration, or not on the target.
  std::vector<TableName> left_out;
};

// `target`: what ReadSourceCatalog() says of the target. Pure.
TablesOnBothSides MatchTables(const std::vector<TableRecord>& records, const TableFilter& choice,
                              const SourceCatalog& source, const SourceCatalog& target);

}  // namespace walferry
