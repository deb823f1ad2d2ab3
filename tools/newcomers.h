// Relations of the source that a migration has not recorded: what came after it began.
#pragma once

#include "tools/catalog_findings.h"

namespace walferry {

// Adds to `findings`, in which the recorded tables are compared already. Pure.
void FindNewcomers(const RecordedCatalog& recorded, const SourceCatalog& source, const SourceCatalog& target,
                   CatalogFindings& findings);

}  // namespace walferry
