// Tested by tests/apply/schema_test.cc.
#include "apply/object_creator.h"

#include <utility>

#include "apply/retry.h"
#include "apply/schema_script.h"
#include "stream/session_settings.h"

namespace walferry {
namespace {

constexpr absl::Duration kRetryFor = absl::Minutes(10);

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
  WF_RETURN_IF_ERROR(connection_->Execute(object.sql).status());
  WF_RETURN_IF_ERROR(MarkObjectDone(*connection_, migration_, object.id));
  unanswered = true;
  return connection_->Execute("COMMIT").status();
}

absl::Status ObjectCreator::Connect() {
  if (connection_.has_value()) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(
      connection_,
      Connection::Open({.conninfo = conninfo_, .settings = {{"synchronous_commit", "off"}}, .stop = &halt_}));
  return SetReplicaRoleIfAllowed(*connection_);
}

}  // namespace walferry
