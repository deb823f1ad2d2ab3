// What a migration puts into its publications.
#pragma once

#include <vector>

#include "tools/source_catalog.h"
#include "tools/table_filter.h"

namespace walferry {

struct PublicationItems {
  std::vector<TableName> all;      // For all kinds of changes.
  std::vector<TableName> inserts;  // Without replica identity.
};

// Whether it is a table with changes that the user wants to have.
bool IsChosen(const SourceCatalog& catalog, const SourceRelation& relation, const TableFilter& choice);

// A partitioned table stands for its partitions, also those to come, where all of them may be published
// (ALTER PUBLICATION in the manual); otherwise each partition is an item of its own.
PublicationItems ItemsOf(const SourceCatalog& catalog, const TableFilter& choice, int server_version);

}  // namespace walferry
