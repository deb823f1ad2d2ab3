// session_replication_role = replica: ordinary triggers, foreign keys and rules do not fire, as the source
// has done their work already. Without it the stream may only be applied where nothing of that kind can fire.
#pragma once

#include <string>
#include <vector>

#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

struct ReplicaRole {
  bool in_force = false;
  std::string text;  // What it means, as one sentence.
};

// Sets it and reads it back; kFailedPrecondition where a rule fires all the same (ENABLE ALWAYS or REPLICA).
// Where it is not allowed, succeeds only if no trigger, foreign key or rule can fire on `tables` (with their
// partitions; all user tables where the list is empty); else kFailedPrecondition with a few of them and with
// what to grant. Not inside a transaction or pipeline.
absl::StatusOr<ReplicaRole> TakeReplicaRole(Connection& target, const std::vector<TableName>& tables);

}  // namespace walferry
