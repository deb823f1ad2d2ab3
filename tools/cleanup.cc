#include "tools/cleanup.h"

#include <utility>

#include "apply/state.h"
#include "stream/event_triggers.h"
#include "stream/publication.h"
#include "stream/slot.h"
#include "tools/endpoint.h"

namespace walferry {
namespace {

absl::StatusOr<Connection> Connect(Endpoint endpoint, const std::string& conninfo, const StopSignal& stop) {
  ConnectOptions options;
  options.conninfo = conninfo;
  options.application_name = "walferry cleanup";
  options.stop = &stop;
  return ConnectTo(endpoint, options);
}

}  // namespace

absl::StatusOr<CleanupPlan> PlanCleanup(const std::string& source, const std::string& target,
                                        const std::string& name, const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Connection on_source, Connect(Endpoint::kSource, source, stop));
  WF_ASSIGN_OR_RETURN(Connection on_target, Connect(Endpoint::kTarget, target, stop));
  WF_ASSIGN_OR_RETURN(const bool has_state, StateSchemaExists(on_target));
  std::optional<MigrationRecord> record;
  if (has_state) {
    WF_ASSIGN_OR_RETURN(record, LoadMigration(on_target, name));
  }
  if (!record) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "the target knows no migration %s: look at --target and --name", name);
  }
  WF_ASSIGN_OR_RETURN(const bool running, MigrationIsLocked(on_target, name));
  if (running) {
    return Errorf(absl::StatusCode::kFailedPrecondition, "migration %s is running: stop it first", name);
  }
  // What has its names in another database is not the migration's.
  if (record->source_database != on_source.database()) {
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "migration %s moves database %s, but the source given is database %s: give the same --source", name,
        record->source_database, on_source.database());
  }
  CleanupPlan plan;
  if (record->phase == Phase::kDone) {
    WF_ASSIGN_OR_RETURN(plan.leftovers, ListLeftovers(on_target, name));
  }
  if (record->owns_slot) {
    WF_ASSIGN_OR_RETURN(const auto slot, InspectSlot(on_source, record->slot));
    if (slot && slot->database != record->source_database) {
      plan.steps.push_back(absl::StrFormat(
          "leave slot %s on the source alone: it is not this migration's, but %s", record->slot,
          slot->database.empty() ? "a standby's" : "one of database " + slot->database));
    } else if (slot) {
      plan.slot = record->slot;
      plan.steps.push_back(absl::StrFormat("drop slot %s on the source", record->slot));
    }
  }
  for (const std::string& publication : {record->publication, record->insert_publication}) {
    if (!record->owns_publication || publication.empty()) continue;
    WF_ASSIGN_OR_RETURN(const bool published, PublicationExists(on_source, publication));
    if (!published) continue;
    plan.publications.push_back(publication);
    plan.steps.push_back(absl::StrFormat("drop publication %s on the source", publication));
  }
  plan.steps.push_back(absl::StrFormat("forget migration %s (phase %s) in schema walferry of the target",
                                       name, PhaseName(record->phase)));
  return plan;
}

absl::Status RunCleanup(const CleanupPlan& plan, const std::string& source, const std::string& target,
                        const std::string& name, const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Connection on_source, Connect(Endpoint::kSource, source, stop));
  if (!plan.slot.empty()) WF_RETURN_IF_ERROR(DropSlot(on_source, plan.slot));
  for (const std::string& publication : plan.publications) {
    WF_RETURN_IF_ERROR(DropPublication(on_source, publication));
  }
  // The state goes last: as long as it is there, cleanup can be run again.
  WF_ASSIGN_OR_RETURN(Connection on_target, Connect(Endpoint::kTarget, target, stop));
  // Those of the source are its own affair: a refusal names them, and they are never disabled.
  return ExecutePastEventTriggers(on_target, [&] { return DeleteMigration(on_target, name); });
}

}  // namespace walferry
