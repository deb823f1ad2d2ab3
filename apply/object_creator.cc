// Tested by tests/apply/schema_test.cc.
#include "apply/object_creator.h"

#include <utility>

#include "apply/retry.h"
#include "apply/schema_script.h"
#include "stream/session_settings.h"

namespace walferry {
namespace {

constexpr absl::Duration kRetryFor = absl::Minutes(10);

// A table or index, or another object, of that name.
bool SaysThatItExists(const absl::Status& status) {
  const std::string sqlstate = SqlstateOf(status);
  return sqlstate == "42P07" || sqlstate == "42710";
}

}  // namespace

// A materialized view is filled as the database's own sessions fill it: dates, times and amounts that its
// query makes to text, or cuts to days, depend on their settings.
std::string ObjectCreator::BeginScript(const SchemaObject& object) const {
  if (object.kind != kRefreshKind) return kBeginScript;
  return std::string(kBeginScript) + "; " + DatabaseDefaultsSql(connection_->server_version());
}

absl::Status SetReplicaRoleIfAllowed(Connection& target) {
  const absl::Status set = target.Execute("SET session_replication_role = replica").status();
  return IsRetryable(set) || absl::IsCancelled(set) ? set : absl::OkStatus();
}

absl::Status ObjectCreator::Create(const SchemaObject& object) {
  bool unanswered = false;
  const absl::Status status = RetryFor(kRetryFor, halt_, [&] {
    const absl::Status tried = TryCreate(object, unanswered);
    if (!tried.ok()) connection_.reset();
    return tried;
  });
  return Annotate(status, object.kind + " " + object.name);
}

absl::Status ObjectCreator::TryCreate(const SchemaObject& object, bool& unanswered) {
  WF_RETURN_IF_ERROR(Connect());
  if (std::exchange(unanswered, false)) {
    WF_ASSIGN_OR_RETURN(const bool done, ObjectIsDone(*connection_, migration_, object.id));
    if (done) return absl::OkStatus();
  }
  WF_RETURN_IF_ERROR(connection_->Execute(BeginScript(object)).status());
  const absl::Status made = connection_->Execute(object.sql).status();
  if (SaysThatItExists(made)) return MarkedDoneOr(made, object);
  WF_RETURN_IF_ERROR(made);
  WF_RETURN_IF_ERROR(MarkObjectDone(*connection_, migration_, object.id));
  unanswered = true;
  return connection_->Execute("COMMIT").status();
}

// One that the catalog did not show under the name that the dump gave it, but whose mark says that we made
// it.
absl::Status ObjectCreator::MarkedDoneOr(const absl::Status& made, const SchemaObject& object) {
  WF_RETURN_IF_ERROR(connection_->Execute("ROLLBACK").status());
  WF_ASSIGN_OR_RETURN(const bool done, ObjectIsDone(*connection_, migration_, object.id));
  return done ? absl::OkStatus() : made;
}

absl::Status ObjectCreator::Connect() {
  if (connection_.has_value()) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(
      connection_,
      Connection::Open({.conninfo = conninfo_, .settings = {{"synchronous_commit", "off"}}, .stop = &halt_}));
  return SetReplicaRoleIfAllowed(*connection_);
}

}  // namespace walferry
