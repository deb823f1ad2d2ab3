// Whether indexes can be made at all, found out without touching their tables.
#pragma once

#include <vector>

#include "apply/object_trial.h"
#include "apply/state.h"
#include "stream/connection.h"

namespace walferry {

// Each index and constraint that is one, of those that are not done, made on an empty temporary table with
// the columns of its own, and taken back. Those that cannot be made.
absl::StatusOr<std::vector<ObjectTrial>> TryIndexes(Connection& target,
                                                    const std::vector<SchemaObject>& objects);

}  // namespace walferry
