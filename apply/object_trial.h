// What the cutover's last stages will make on the target, tried beforehand and taken back.
#pragma once

#include <string>
#include <vector>

#include "apply/state.h"
#include "stream/connection.h"

namespace walferry {

struct ObjectTrial {
  SchemaObject object;
  absl::Status status;  // The server's words.
  // False where nothing is known: its table was locked all the while, or the statement took too long.
  bool tried = true;
};

// Makes each foreign key, trigger, rule, policy and grant of `objects` that is not done, in one transaction
// that is rolled back. Returns the objects that cannot be made, and those that could not be tried. No lock
// outlives its object by more than a round trip, and none is waited for longer than a moment, so a running
// stream goes on. Foreign keys are tried NOT VALID: rows are not looked at. Materialized views are not
// refreshed. An error: the connection is lost or a stop is requested.
absl::StatusOr<std::vector<ObjectTrial>> TryObjects(Connection& target,
                                                    const std::vector<SchemaObject>& objects);

}  // namespace walferry
