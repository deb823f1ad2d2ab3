// A migration's tables as they are recorded, and as they are by now on both sides.
#pragma once

#include "tools/catalog_findings.h"

namespace walferry {

// Adds to `findings`: differences, updates and events of each table that is recorded. Pure.
void CompareTables(const RecordedCatalog& recorded, const SourceCatalog& source, const SourceCatalog& target,
                   CatalogFindings& findings);

}  // namespace walferry
