// Tested by tests/servers/cutover_test.cc.
#include "tools/cutover_switch.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/time/clock.h"
#include "apply/object_creator.h"
#include "apply/retry.h"
#include "tools/endpoint.h"
#include "tools/log.h"
#include "tools/quantity.h"
#include "tools/sequence_choice.h"
#include "tools/sequence_obstacles.h"

namespace walferry {
namespace {

constexpr std::string_view kInsufficientPrivilege = "42501";
constexpr absl::Duration kReadBackFor = absl::Minutes(2);

// A reader of the target that holds a table for longer is named by the error, and ends the cutover in time.
constexpr char kSettings[] = R"sql(
SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = '30s')sql";

constexpr char kPopulated[] = R"sql(
SELECT n.nspname || '.' || c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated)sql";

absl::StatusOr<std::set<std::string>> PopulatedViews(Connection& connection) {
  WF_ASSIGN_OR_RETURN(const Result rows, connection.Execute(kPopulated));
  std::set<std::string> names;
  for (int row = 0; row < rows.rows(); ++row) names.emplace(rows.Get(row, 0));
  return names;
}

absl::StatusOr<Connection> ConnectToTarget(const Migration& migration, const StopSignal* stop) {
  ConnectOptions connect;
  connect.conninfo = migration.options().target;
  connect.application_name = "walferry " + migration.options().name;
  connect.stop = stop;
  return ConnectTo(Endpoint::kTarget, connect);
}

absl::StatusOr<SwitchReport> SwitchInTransaction(Migration& migration, const SwitchPlan& plan,
                                                 SwitchEnd end) {
  Connection& target = migration.target();
  const std::string& name = migration.record().name;
  SwitchReport report;
  const absl::Time begin = absl::Now();
  WF_RETURN_IF_ERROR(target.Execute(kBeginScript).status());
  WF_RETURN_IF_ERROR(target.Execute(kSettings).status());
  WF_RETURN_IF_ERROR(MakeInTransaction(target, name, plan.stage));
  WF_RETURN_IF_ERROR(MarkObjectsDone(target, name, plan.not_needed));
  const absl::Time objects_made = absl::Now();
  WF_ASSIGN_OR_RETURN(const std::vector<SequenceValue> values,
                      ReadSequences(migration.source(), plan.sequences));
  WF_ASSIGN_OR_RETURN(report.sequences, SetSequences(target, values));
  if (end == SwitchEnd::kMigrationIsDone) WF_RETURN_IF_ERROR(migration.SetPhase(Phase::kDone));
  report.objects_took = objects_made - begin;
  report.sequences_took = absl::Now() - objects_made;
  return report;
}

// Whether the switch whose COMMIT was not answered came about. The update waits for one under way.
absl::Status ReadBack(Migration& migration, const StopSignal& stop) {
  const std::string& name = migration.options().name;
  std::optional<MigrationRecord> record;
  const absl::Status read = RetryFor(kReadBackFor, stop, [&]() -> absl::Status {
    WF_ASSIGN_OR_RETURN(migration.target(), ConnectToTarget(migration, nullptr));
    WF_RETURN_IF_ERROR(RequestStop(migration.target(), name, false));
    WF_ASSIGN_OR_RETURN(record, LoadMigration(migration.target(), name));
    return absl::OkStatus();
  });
  if (!read.ok()) {
    return Errorf(
        absl::StatusCode::kUnavailable,
        "the target was lost at the moment of the switch and cannot be asked whether it came about: "
        "keep the application stopped and run walferry cutover again, which reads it (%s)",
        MessageOf(read));
  }
  if (record && record->phase == Phase::kDone) return absl::OkStatus();
  return Errorf(absl::StatusCode::kUnavailable,
                "the target was lost at the moment of the switch, which did not come about: run walferry "
                "cutover again");
}

// One statement after the switch, on a connection that is made anew after it was lost.
class Finisher {
 public:
  Finisher(Migration& migration, const StopSignal& stop) : migration_(migration), stop_(stop) {}

  absl::Status Execute(const std::string& sql, absl::Duration bound) {
    if (!connection_ || !connection_->alive()) {
      WF_ASSIGN_OR_RETURN(connection_, ConnectToTarget(migration_, &stop_));
      WF_RETURN_IF_ERROR(SetReplicaRoleIfAllowed(*connection_));
    }
    const std::int64_t bound_ms = bound == absl::InfiniteDuration() ? 0 : absl::ToInt64Milliseconds(bound);
    WF_RETURN_IF_ERROR(
        connection_->Execute(absl::StrFormat("SET statement_timeout = %d", bound_ms)).status());
    return connection_->Execute(sql).status();
  }

  // With its mark; a failure becomes a leftover.
  void Do(const SchemaObject& object, std::string_view what, absl::Duration bound,
          std::vector<Leftover>& leftovers) {
    absl::Status done = Execute(object.sql, bound);
    if (done.ok()) done = MarkObjectDone(*connection_, migration_.record().name, object.id);
    if (done.ok()) return LogInfo("%s %s", what, object.name);
    leftovers.push_back({absl::StrFormat("not %s: %s (%s)", what, object.name, MessageOf(done)), object.sql});
    if (object.kind == kEventTriggerKind) return;
    leftovers.back().command = StatementByHand(migration_.target(), object);
    if (SqlstateOf(done) == kInsufficientPrivilege) {
      leftovers.back().text += "; its statements are for the owner of all that they name, or a superuser";
    }
  }

 private:
  Migration& migration_;
  const StopSignal& stop_;
  std::optional<Connection> connection_;
};

// Of what was accepted.
absl::Status LeaveOutSequences(Migration& migration, const SequenceChoice& choice, SwitchPlan& plan) {
  WF_ASSIGN_OR_RETURN(const std::vector<SequenceObstacle> obstacles,
                      FindSequenceObstacles(migration.source(), migration.target(), choice));
  for (const SequenceObstacle& obstacle : obstacles) {
    if (!obstacle.blocks_setting || std::erase(plan.sequences, obstacle.sequence) == 0) continue;
    const std::string quoted = QuoteName(obstacle.sequence.schema, obstacle.sequence.name);
    plan.sequences_left_out.push_back(
        {absl::StrFormat("sequence %s was not set: %s", obstacle.sequence.ToString(), obstacle.text),
         absl::StrFormat("SELECT pg_catalog.setval(%s, LAST_VALUE_OF_THE_SOURCE);", QuoteLiteral(quoted))});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SwitchPlan> PlanSwitch(Migration& migration, SequencePolicy policy) {
  SwitchPlan plan;
  WF_ASSIGN_OR_RETURN(const std::vector<SchemaObject> objects,
                      LoadObjects(migration.target(), migration.record().name));
  WF_ASSIGN_OR_RETURN(const ObjectCatalog there, ObjectCatalog::Read(migration.target()));
  plan.stage = PlanLastStage(objects, there);
  WF_ASSIGN_OR_RETURN(const std::set<std::string> populated, PopulatedViews(migration.source()));
  const auto needs_none = [&](const SchemaObject& refresh) { return !populated.contains(refresh.name); };
  for (const SchemaObject& refresh : plan.stage.refreshes) {
    if (needs_none(refresh)) plan.not_needed.push_back(refresh.id);
  }
  std::erase_if(plan.stage.refreshes, needs_none);
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, migration.Tables());
  WF_ASSIGN_OR_RETURN(const SequenceChoice choice,
                      ReadSequenceChoice(migration.source(), NamesOf(tables), migration.options().tables));
  plan.sequences = choice.names();
  if (policy == SequencePolicy::kLeaveOut) {
    WF_RETURN_IF_ERROR(LeaveOutSequences(migration, choice, plan));
  }
  return plan;
}

absl::StatusOr<SwitchReport> Switch(Migration& migration, const SwitchPlan& plan, SwitchEnd end,
                                    const StopSignal& stop) {
  WF_RETURN_IF_ERROR(SetReplicaRoleIfAllowed(migration.target()));
  absl::StatusOr<SwitchReport> report = SwitchInTransaction(migration, plan, end);
  if (!report.ok()) {
    if (migration.target().alive()) (void)migration.target().Execute("ROLLBACK");
    return Annotate(report.status(), "nothing was switched");
  }
  const absl::Status committed = migration.target().Execute("COMMIT").status();
  if (migration.target().alive()) {
    WF_RETURN_IF_ERROR(committed);
    (void)migration.target().Execute("RESET session_replication_role");
    return report;
  }
  if (end == SwitchEnd::kPhaseStays) return committed;
  WF_RETURN_IF_ERROR(ReadBack(migration, stop));
  return report;
}

std::vector<Leftover> RehearseRefreshes(Migration& migration, const LastStage& stage, absl::Duration bound,
                                        const StopSignal& stop) {
  std::vector<Leftover> leftovers;
  const absl::StatusOr<std::set<std::string>> filled = PopulatedViews(migration.target());
  Finisher finisher(migration, stop);
  for (const SchemaObject& refresh : stage.refreshes) {
    if (stop.requested() || (filled.ok() && filled->contains(refresh.name))) continue;
    LogInfo("filling materialized view %s for the first time", refresh.name);
    const absl::Status done = finisher.Execute(refresh.sql, bound);
    if (done.ok()) continue;
    leftovers.push_back({absl::StrFormat("materialized view %s cannot be filled on the target: %s",
                                         refresh.name, MessageOf(done)),
                         refresh.sql});
  }
  return leftovers;
}

std::vector<Leftover> FinishAfterSwitch(Migration& migration, const LastStage& stage, absl::Duration bound,
                                        const StopSignal& stop) {
  std::vector<Leftover> leftovers;
  Finisher finisher(migration, stop);
  // First what the application sees.
  for (const SchemaObject& object : stage.refreshes) finisher.Do(object, "refreshed", bound, leftovers);
  for (const SchemaObject& object : stage.validations) {
    finisher.Do(object, "validated", absl::InfiniteDuration(), leftovers);
  }
  for (const SchemaObject& object : stage.event_triggers) {
    finisher.Do(object, "created event trigger", bound, leftovers);
  }
  return leftovers;
}

}  // namespace walferry
