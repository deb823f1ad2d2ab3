// One object of the schema's second half made on the target, together with its mark in the state.
#pragma once

#include <optional>
#include <string>

#include "apply/state.h"
#include "stream/connection.h"
#include "stream/stop_signal.h"

namespace walferry {

// What the header of pg_dump's script sets and what does not come with every connection
// (stream/session_settings.h): begins a transaction.
inline constexpr char kBeginScript[] = "BEGIN; SET LOCAL check_function_bodies = false";

// So that event triggers of the target stay out of it. Where that is not allowed, they fire.
absl::Status SetReplicaRoleIfAllowed(Connection& target);

// The connection on which one worker creates objects; opened when the first one comes. Not thread-safe. What
// it is given must outlive it. Objects are committed asynchronously, each with its mark: after a crash of the
// target both may be gone, and a look at the state behind a fence tells.
class ObjectCreator {
 public:
  ObjectCreator(const std::string& target, const std::string& migration, const StopSignal& halt)
      : conninfo_(target), migration_(migration), halt_(halt) {}

  // Lost connections and deadlocks are tried again; an object whose COMMIT was not answered is looked up.
  absl::Status Create(const SchemaObject& object);

 private:
  absl::Status TryCreate(const SchemaObject& object, bool& unanswered);
  absl::Status MarkedDoneOr(const absl::Status& made, const SchemaObject& object);
  absl::Status Connect();
  std::string BeginScript(const SchemaObject& object) const;

  const std::string& conninfo_;
  const std::string& migration_;
  const StopSignal& halt_;
  std::optional<Connection> connection_;
};

}  // namespace walferry
