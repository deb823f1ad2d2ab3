// What a comparison of a migration's records with the catalogs of both sides finds.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "apply/state.h"
#include "tools/source_catalog.h"
#include "tools/table_filter.h"

namespace walferry {

// Behind SQL, as a comment: it can be pasted as it is.
inline constexpr char kOnSource[] = " -- on the source";
inline constexpr char kOnTarget[] = " -- on the target";

struct CatalogDifference {
  // "new-tables", "new-partitions", "dropped-tables", "replaced-tables", "renamed-tables", "missing-tables",
  // "detached-partitions", "attached-partitions", "moved-partitions", "rewritten-partitions",
  // "unlogged-tables", "publication", "replica-identity", "insert-only", "columns", "needs-copy"
  std::string kind;
  std::string object;   // "public.t"
  std::string text;     // One sentence.
  std::string command;  // What to run, and where; "" where there is nothing to run.
  bool stops = false;   // The stream must not go on.
};

// What a migration has recorded, and the user's choice.
struct RecordedCatalog {
  MigrationRecord migration;
  std::vector<TableRecord> tables;
  TableFilter choice;
};

struct CatalogFindings {
  std::vector<CatalogDifference> differences;
  // Records of tables that changed, by the name under which they are recorded now.
  std::vector<std::pair<TableName, TableRecord>> updates;
  std::vector<std::string> events;  // What was agreed on, for people.
  std::string publication;          // What is to be recorded of the publications; "" where that is the same.
  std::vector<Oid> new_partitions;  // Of tables of the migration; to be followed.
  std::vector<Oid> ignored;         // Published through a root, and left out by the user's choice.
};

}  // namespace walferry
