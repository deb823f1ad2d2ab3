// What of the schema comes with the switch of a cutover and after it. Made in the switch's own transaction,
// it is there exactly when the migration is done: a foreign key or a trigger that came earlier would stand in
// the way of the stream that goes on after a refusal.
#pragma once

#include <string>
#include <vector>

#include "apply/object_catalog.h"
#include "apply/state.h"
#include "stream/connection.h"

namespace walferry {

struct LastStage {
  std::vector<SchemaObject> switching;    // In the transaction of the switch.
  std::vector<SchemaObject> validations;  // Foreign keys that are made NOT VALID there, checked afterwards.
  std::vector<SchemaObject> refreshes;    // Of materialized views, in the order of their dependencies.
  std::vector<SchemaObject> event_triggers;  // Last of all: they may refuse whatever comes after them.
};

// Of `objects` those that are missing on the target, by the catalog where it can tell and else by their
// marks. Refreshes are listed whether done or not: what was filled earlier is stale. The `sql` of a
// validation validates.
LastStage PlanLastStage(const std::vector<SchemaObject>& objects, const ObjectCatalog& there);

// Makes the objects in the caller's transaction and marks them done, but those of which a validation remains.
// An object that lacks another one is tried again after the others. Fails with the first that cannot be made;
// the transaction can only be rolled back then.
absl::Status MakeInTransaction(Connection& target, const std::string& migration, const LastStage& stage);

// Pure. A foreign key's statement with NOT VALID in it; unchanged where it has that already, or where the
// table is partitioned (no server takes it there before 18).
std::string WithNotValid(const std::string& foreign_key_sql);
// The statement that validates it; empty for one whose statement says NOT VALID itself, or is of a
// partitioned table.
std::string ValidationOf(const std::string& foreign_key_sql);

}  // namespace walferry
