// What is different on the source from what a migration has recorded of it, what follows from that, and what
// somebody has to do: the one place that decides it. A migration asks at every start and every few seconds
// while it streams; verify, cutover and status ask, too.
//
// What both sides agree on by now (a table renamed on both, a column added to both) is recorded as it is;
// what was not carried over to the target stays a difference until it was.
#pragma once

#include "tools/catalog_findings.h"

namespace walferry {

// `target`: what ReadSourceCatalog() says of the target. Pure.
CatalogFindings CompareCatalogs(const RecordedCatalog& recorded, const SourceCatalog& source,
                                const SourceCatalog& target);

// What the target's state says of the migration `record`.
absl::StatusOr<RecordedCatalog> LoadRecorded(Connection& target, const MigrationRecord& record);

// Reads both sides and compares, without changing anything.
absl::StatusOr<CatalogFindings> FindCatalogDifferences(Connection& source, Connection& target,
                                                       const RecordedCatalog& recorded);

}  // namespace walferry
