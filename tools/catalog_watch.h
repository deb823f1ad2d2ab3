// What is different on the source from what a migration has recorded of it, what follows from that, and what
// somebody has to do: the one place that decides it. A migration asks at every start and every few seconds
// while it streams; verify, cutover and status ask, too.
//
// What both sides agree on by now (a table renamed on both, a column added to both) is recorded as it is;
// what was not carried over to the target stays a difference until it was.
#pragma once

#include <string>
#include <vector>

#include "apply/state.h"
#include "tools/source_catalog.h"
#include "tools/table_filter.h"

namespace walferry {

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

// `target`: what ReadSourceCatalog() says of the target. Pure.
CatalogFindings CompareCatalogs(const RecordedCatalog& recorded, const SourceCatalog& source,
                                const SourceCatalog& target);

// Reads both sides and compares, without changing anything.
absl::StatusOr<CatalogFindings> FindCatalogDifferences(Connection& source, Connection& target,
                                                       const RecordedCatalog& recorded);

// The table as it is recorded when the migration meets it.
TableRecord RecordOf(const SourceCatalog& source, const SourceRelation& relation);
// Of a choice from the migration's tables: with the names of its ancestors.
SourceTable TableOf(const SourceCatalog& source, const SourceRelation& relation);

}  // namespace walferry
