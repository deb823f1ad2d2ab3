#include "tools/catalog_reasons.h"

namespace walferry {

absl::StatusOr<std::vector<GateReason>> CatalogReasons(const GateSubject& /*subject*/) {
  return std::vector<GateReason>();
}

}  // namespace walferry
