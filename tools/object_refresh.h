// The objects of the schema's second half taken from the source again: what was dropped there since the first
// copy is not made any more, what is new comes along.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apply/state.h"
#include "stream/connection.h"
#include "stream/lock_retry.h"
#include "stream/stop_signal.h"
#include "tools/table_filter.h"

namespace walferry {

struct RefreshSubject {
  Connection& source;
  Connection& target;
  std::string source_conninfo;  // For pg_dump.
  const MigrationRecord& record;
  const TableFilter& choice;
  LockRetry lock_retry;
};

// Something that no statement of the cutover brings.
struct ObjectProblem {
  std::string text;     // One sentence.
  std::string command;  // Statements for the target.
};

struct ObjectRefresh {
  std::vector<SchemaObject> objects;  // All; those that are new have ids behind the others.
  std::vector<std::int64_t> gone;
  std::vector<SchemaObject> added;
  std::vector<SchemaObject> changed;    // Not made yet, or the same to the server.
  std::vector<ObjectProblem> problems;  // In the way of a cutover.
  std::vector<ObjectProblem> notes;     // Not in the way.
};

// Reads both sides; changes nothing. Of a migration whose schema is not ours (--schema none, an adopted slot)
// what is recorded, as it is.
absl::StatusOr<ObjectRefresh> ReadObjects(const RefreshSubject& subject, const StopSignal& stop);

// In one transaction.
absl::Status RecordObjects(Connection& target, const std::string& migration, const ObjectRefresh& refresh);

}  // namespace walferry
