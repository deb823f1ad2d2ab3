#include "tools/cutover.h"

#include <poll.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/time/clock.h"
#include "tools/catalog_reasons.h"
#include "tools/cutover_drain.h"
#include "tools/endpoint.h"
#include "tools/log.h"
#include "tools/object_refresh.h"
#include "tools/open_transactions.h"
#include "tools/quantity.h"
#include "tools/sequence_choice.h"

namespace walferry {
namespace {

constexpr absl::Duration kHandOver = absl::Seconds(60);
constexpr absl::Duration kProof = absl::Milliseconds(1500);   // What it takes on an idle source.
constexpr absl::Duration kPerObject = absl::Milliseconds(2);  // Of the switch: a few catalog rows.

void WaitFor(const StopSignal& stop, absl::Duration duration) {
  pollfd fd = {stop.fd(), POLLIN, 0};
  poll(&fd, 1, static_cast<int>(absl::ToInt64Milliseconds(duration)));
}

absl::StatusOr<Connection> Connect(Endpoint endpoint, const MigrationOptions& options,
                                   const StopSignal& stop) {
  ConnectOptions connect;
  connect.conninfo = endpoint == Endpoint::kSource ? options.source : options.target;
  connect.application_name = "walferry " + options.name;
  connect.settings = {{"lock_timeout", "5s"}};
  connect.stop = &stop;
  return ConnectTo(endpoint, connect);
}

// Both sides and what the target knows of the migration, beside a walferry that may be running.
struct Sides {
  Connection source;
  Connection target;
  std::optional<MigrationRecord> record;
  TableFilter tables;  // The migration's choice.
};

absl::StatusOr<Sides> ConnectSides(const MigrationOptions& options, const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Connection source, Connect(Endpoint::kSource, options, stop));
  WF_ASSIGN_OR_RETURN(Connection target, Connect(Endpoint::kTarget, options, stop));
  Sides sides{std::move(source), std::move(target), std::nullopt, options.tables};
  WF_ASSIGN_OR_RETURN(const bool has_state, StateSchemaExists(sides.target));
  if (has_state) {
    WF_ASSIGN_OR_RETURN(sides.record, LoadMigration(sides.target, options.name));
  }
  if (sides.record && options.tables.selects_all()) {
    WF_ASSIGN_OR_RETURN(sides.tables, TableFilter::FromText(sides.record->choice));
  }
  return sides;
}

bool Accepts(const CutoverOptions& options, std::string_view kind) {
  return std::find(options.accepted.begin(), options.accepted.end(), kind) != options.accepted.end();
}

absl::StatusOr<ObjectRefresh> ObjectsNow(const CutoverOptions& options, Sides& sides,
                                         const StopSignal& stop) {
  return ReadObjects({sides.source,
                      sides.target,
                      options.migration.source,
                      *sides.record,
                      sides.tables,
                      {.retry_for = options.timeout}},
                     stop);
}

// All of the gate but open transactions, which are waited for.
absl::Status PassGate(const CutoverOptions& options, Sides& sides, const StopSignal& stop) {
  const std::string& name = options.migration.name;
  WF_ASSIGN_OR_RETURN(std::vector<GateReason> reasons, PhaseReasons(sides.target, sides.record, name));
  if (reasons.empty()) {
    WF_ASSIGN_OR_RETURN(const ObjectRefresh objects, ObjectsNow(options, sides, stop));
    WF_ASSIGN_OR_RETURN(reasons,
                        StandingReasons({sides.source, sides.target, name, sides.record, sides.tables,
                                         /*tries_last_stage=*/true, &objects}));
    reasons = NotAccepted(std::move(reasons), options.accepted);
  }
  if (reasons.size() > 1) {
    for (const GateReason& reason : reasons) {
      LogWarn("%s (%s): run %s", reason.text, reason.kind, reason.command);
    }
  }
  return RefusalOf(reasons);
}

// Those that are open when it begins; what begins later is the application at work, or is seen at the end.
absl::Status AwaitOpenTransactions(const CutoverOptions& options, Connection& source,
                                   const StopSignal& stop) {
  const absl::Time deadline = absl::Now() + options.timeout;
  WF_ASSIGN_OR_RETURN(std::vector<OpenTransaction> open, ListLastingTransactions(source));
  if (!open.empty()) {
    LogWarn("waiting up to %s for open transactions of the source: %s", FormatTimeSpan(options.timeout),
            Describe(open));
  }
  while (!open.empty()) {
    if (stop.requested()) return absl::CancelledError("stopped");
    if (absl::Now() > deadline) {
      return Errorf(absl::StatusCode::kFailedPrecondition,
                    "a transaction with writes did not end within %s on the source: %s: run %s",
                    FormatTimeSpan(options.timeout), open.front().description, open.front().command);
    }
    WaitFor(stop, absl::Milliseconds(200));
    WF_ASSIGN_OR_RETURN(const std::vector<OpenTransaction> now, ListOpenTransactions(source));
    KeepStillOpen(open, now);
  }
  return absl::OkStatus();
}

// Asks a running walferry of this migration to end, and waits until it has.
absl::Status TakeOver(Connection& target, const MigrationOptions& options, const StopSignal& stop) {
  const absl::Time deadline = absl::Now() + kHandOver;
  bool asked = false;
  while (!stop.requested()) {
    WF_ASSIGN_OR_RETURN(const bool running, MigrationIsLocked(target, options.name));
    if (!running) return absl::OkStatus();
    if (!asked) {
      LogInfo("asking the running walferry to stop, to take its place");
      WF_RETURN_IF_ERROR(RequestStop(target, options.name, true));
      asked = true;
    }
    if (absl::Now() > deadline) {
      RequestStop(target, options.name, false).IgnoreError();
      return Errorf(absl::StatusCode::kFailedPrecondition,
                    "the running walferry of migration %s did not stop within %s: stop it by hand and run "
                    "cutover again",
                    options.name, FormatTimeSpan(kHandOver));
    }
    WaitFor(stop, absl::Milliseconds(100));
  }
  return absl::CancelledError("stopped");
}

// What the stream found since the gate was passed.
absl::Status PassGateAgain(const CutoverOptions& options, Migration& migration) {
  WF_ASSIGN_OR_RETURN(std::vector<GateReason> reasons,
                      TargetReasons(migration.target(), migration.record().name));
  const std::optional<MigrationRecord> record = migration.record();
  WF_ASSIGN_OR_RETURN(std::vector<GateReason> catalog,
                      CatalogReasons({migration.source(), migration.target(), record->name, record,
                                      migration.options().tables}));
  std::move(catalog.begin(), catalog.end(), std::back_inserter(reasons));
  return RefusalOf(NotAccepted(std::move(reasons), options.accepted));
}

// Everything that needs no pause and can be done before it.
absl::StatusOr<SwitchPlan> Prepare(const CutoverOptions& options, Migration& migration,
                                   const StopSignal& stop) {
  // What is made from here on is about the tables as they are called now.
  WF_RETURN_IF_ERROR(migration.FollowCatalog());
  WF_RETURN_IF_ERROR(migration.RefreshObjects());
  WF_RETURN_IF_ERROR(migration.CreateObjectsUpTo(ObjectStage::kAttach, WhenRefused::kFail));
  WF_ASSIGN_OR_RETURN(SwitchPlan plan,
                      PlanSwitch(migration, Accepts(options, "sequences") ? SequencePolicy::kLeaveOut
                                                                          : SequencePolicy::kAllOrFail));
  for (const Leftover& leftover : RehearseRefreshes(migration, plan.stage, options.timeout, stop)) {
    LogWarn("%s", leftover.text);
  }
  if (stop.requested()) return absl::CancelledError("stopped");
  return plan;
}

// The migration was switched by a run that did not come to its end.
absl::StatusOr<CutoverReport> FinishSwitched(const CutoverOptions& options, const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Migration migration, Migration::Open(options.migration, stop));
  WF_ASSIGN_OR_RETURN(const LastStage stage,
                      LoadUnfinishedStage(migration.target(), migration.record().name));
  LogInfo("migration %s was switched already: doing what was left over", migration.record().name);
  CutoverReport report;
  report.was_switched = true;
  report.position = migration.record().confirmed;
  report.leftovers = FinishAfterSwitch(migration, stage, absl::InfiniteDuration(), stop);
  return report;
}

absl::StatusOr<bool> SomethingIsLeft(Sides& sides) {
  if (!sides.record || sides.record->phase != Phase::kDone) return false;
  WF_ASSIGN_OR_RETURN(const std::vector<Leftover> leftovers, ListLeftovers(sides.target, sides.record->name));
  return !leftovers.empty();
}

}  // namespace

absl::StatusOr<CutoverForecast> ForecastCutover(const CutoverOptions& options, const StopSignal& stop) {
  WF_RETURN_IF_ERROR(Migration::CheckOpens(options.migration, stop));
  WF_ASSIGN_OR_RETURN(Sides sides, ConnectSides(options.migration, stop));
  const std::string& name = options.migration.name;
  CutoverForecast forecast;
  WF_ASSIGN_OR_RETURN(forecast.reasons, PhaseReasons(sides.target, sides.record, name));
  forecast.can_begin = forecast.reasons.empty();
  if (!forecast.can_begin) return forecast;
  WF_ASSIGN_OR_RETURN(const ObjectRefresh refresh, ObjectsNow(options, sides, stop));
  WF_ASSIGN_OR_RETURN(forecast.reasons,
                      CutoverGate({sides.source, sides.target, name, sides.record, sides.tables,
                                   /*tries_last_stage=*/true, &refresh}));
  forecast.reasons = NotAccepted(std::move(forecast.reasons), options.accepted);

  WF_ASSIGN_OR_RETURN(const Lsn head, CurrentWalLsn(sides.source));
  forecast.lag_bytes = head.value - std::min(head, sides.record->confirmed).value;
  WF_ASSIGN_OR_RETURN(const ObjectCatalog there, ObjectCatalog::Read(sides.target));
  const LastStage stage = PlanLastStage(refresh.objects, there);
  forecast.objects = static_cast<int>(stage.switching.size());
  forecast.validations = static_cast<int>(stage.validations.size());
  forecast.refreshes = static_cast<int>(stage.refreshes.size());
  forecast.event_triggers = static_cast<int>(stage.event_triggers.size());

  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, LoadTables(sides.target, name));
  WF_ASSIGN_OR_RETURN(const SequenceChoice choice,
                      ReadSequenceChoice(sides.source, NamesOf(tables), sides.tables));
  forecast.sequences = static_cast<int>(choice.chosen.size());
  if (choice.unreadable().empty()) {
    const absl::Time begin = absl::Now();
    WF_RETURN_IF_ERROR(ReadSequences(sides.source, choice.names()).status());
    forecast.reading_sequences = absl::Now() - begin;
  }
  // Read on the source, read and set on the target.
  forecast.pause = kProof + 3 * forecast.reading_sequences + forecast.objects * kPerObject;
  return forecast;
}

absl::StatusOr<CutoverReport> Cutover(const CutoverOptions& options, const StopSignal& stop) {
  {
    // Before the running walferry is asked to stop: a refusal must not end it.
    WF_RETURN_IF_ERROR(Migration::CheckOpens(options.migration, stop));
    WF_ASSIGN_OR_RETURN(Sides sides, ConnectSides(options.migration, stop));
    WF_ASSIGN_OR_RETURN(const bool is_left, SomethingIsLeft(sides));
    if (is_left) return FinishSwitched(options, stop);
    WF_RETURN_IF_ERROR(PassGate(options, sides, stop));
    if (!Accepts(options, "open-transactions")) {
      WF_RETURN_IF_ERROR(AwaitOpenTransactions(options, sides.source, stop));
    }
    WF_RETURN_IF_ERROR(TakeOver(sides.target, options.migration, stop));
  }
  WF_ASSIGN_OR_RETURN(Migration migration, Migration::Open(options.migration, stop));
  WF_ASSIGN_OR_RETURN(const std::vector<GateReason> phase_reasons,
                      PhaseReasons(migration.target(), migration.record(), options.migration.name));
  WF_RETURN_IF_ERROR(RefusalOf(phase_reasons));
  WF_RETURN_IF_ERROR(migration.Note("cutover", "begun"));
  WF_ASSIGN_OR_RETURN(const SwitchPlan plan, Prepare(options, migration, stop));

  Drain drain(migration.source(), FollowUntilCaughtUp(migration.options().source, absl::Milliseconds(500)),
              {options.timeout, Accepts(options, "open-transactions")});
  WF_ASSIGN_OR_RETURN(const FollowResult streamed,
                      migration.Stream([&](const FollowProgress& progress) { return drain.Next(progress); },
                                       [](const RuntimeSnapshot&) {}));
  if (streamed.stopped) return absl::CancelledError("stopped");
  WF_RETURN_IF_ERROR(drain.Outcome(streamed.last));
  WF_RETURN_IF_ERROR(PassGateAgain(options, migration));

  WF_ASSIGN_OR_RETURN(const SwitchReport switched,
                      Switch(migration, plan, SwitchEnd::kMigrationIsDone, stop));
  CutoverReport report;
  report.marker = drain.marker();
  report.position = streamed.last.lsn.confirmed;
  report.pause = {.drain = drain.drained_at() - drain.marked_at(),
                  .proof = drain.proven_at() - drain.drained_at(),
                  .objects = switched.objects_took,
                  .sequences = switched.sequences_took,
                  .total = absl::Now() - drain.marked_at()};
  report.sequences_set = switched.sequences.set;
  report.sequences_missing = switched.sequences.missing;
  LogInfo("switched: the target takes writes from now on; the write pause was %s",
          FormatTimeSpan(report.pause.total));
  report.leftovers = FinishAfterSwitch(migration, plan.stage, options.timeout, stop);
  report.leftovers.insert(report.leftovers.end(), plan.sequences_left_out.begin(),
                          plan.sequences_left_out.end());
  return report;
}

}  // namespace walferry
