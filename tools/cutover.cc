#include "tools/cutover.h"

#include <poll.h>

#include <utility>

#include "absl/time/clock.h"
#include "stream/slot.h"
#include "tools/log.h"
#include "tools/quantity.h"

namespace walferry {
namespace {

constexpr absl::Duration kHandOver = absl::Seconds(60);

void WaitFor(const StopSignal& stop, absl::Duration duration) {
  pollfd fd = {stop.fd(), POLLIN, 0};
  poll(&fd, 1, static_cast<int>(absl::ToInt64Milliseconds(duration)));
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

absl::Status Gate(const std::optional<MigrationRecord>& record, const std::string& name) {
  if (!record) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "there is no migration %s on the target: run walferry migrate", name);
  }
  if (record->phase == Phase::kDone) {
    return Errorf(absl::StatusCode::kFailedPrecondition, "migration %s was cut over already", name);
  }
  if (record->phase < Phase::kCatchUp) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "migration %s is in phase %s: let walferry migrate finish the copy and catch up first",
                  name, PhaseName(record->phase));
  }
  return absl::OkStatus();
}

absl::StatusOr<Connection> ConnectToTarget(const MigrationOptions& options) {
  ConnectOptions connect;
  connect.conninfo = options.target;
  connect.application_name = "walferry " + options.name;
  auto target = Connection::Open(connect);
  if (!target.ok()) return Annotate(target.status(), "cannot connect to the target");
  return target;
}

// Leads the stream through the cutover, one step each time the position reaches what the last step waited
// for.
class Drain {
 public:
  Drain(Migration& migration, absl::Duration timeout)
      : source_(migration.source()),
        caught_up_(FollowUntilCaughtUp(migration.options().source, absl::Seconds(2))),
        timeout_(timeout) {}

  std::optional<Lsn> Next(const FollowProgress& progress) {
    switch (step_) {
      case Step::kCatchUp: {
        const std::optional<Lsn> head = caught_up_(progress);
        if (!head || progress.lsn.confirmed < *head) return std::nullopt;
        return Mark(progress);
      }
      case Step::kMarker:
        if (progress.lsn.confirmed < marker_ && absl::Now() - marked_at_ < timeout_) return marker_;
        return ProveSilence(progress);
      case Step::kSilence:
        return end_;
    }
    return std::nullopt;
  }

  Lsn marker() const { return marker_; }
  Lsn end() const { return end_; }
  absl::Time marked_at() const { return marked_at_; }

  // How it ended, once the stream is over.
  absl::Status Verdict(const FollowProgress& last) const {
    WF_RETURN_IF_ERROR(error_);
    if (step_ != Step::kSilence || last.lsn.confirmed < end_) {
      return Errorf(
          absl::StatusCode::kUnavailable,
          "the target did not reach the marker in time: the migration can go on, run cutover again");
    }
    if (last.changes > changes_at_marker_) {
      return Errorf(
          absl::StatusCode::kFailedPrecondition,
          "%d changes came after the marker: the source still takes writes; stop them and run cutover again "
          "(nothing was switched, walferry migrate can go on)",
          last.changes - changes_at_marker_);
    }
    return absl::OkStatus();
  }

 private:
  enum class Step { kCatchUp, kMarker, kSilence };

  std::optional<Lsn> Fail(const absl::Status& status, const FollowProgress& progress) {
    error_ = status;
    return progress.lsn.confirmed;  // Reached already: ends the stream.
  }

  std::optional<Lsn> Mark(const FollowProgress& progress) {
    const absl::StatusOr<Result> marker = source_.Execute(
        "SELECT pg_catalog.pg_logical_emit_message(true, 'walferry', 'cutover'), "
        "pg_catalog.pg_current_wal_insert_lsn()");
    if (!marker.ok())
      return Fail(Annotate(marker.status(), "cannot write the marker into the source's WAL"), progress);
    const absl::StatusOr<Lsn> head = Lsn::Parse(marker->Get(0, 1));
    if (!head.ok()) return Fail(head.status(), progress);
    marker_ = *head;
    marked_at_ = absl::Now();
    changes_at_marker_ = progress.changes;
    step_ = Step::kMarker;
    LogInfo("marker at %s", marker_.ToString());
    return marker_;
  }

  // Everything written until a moment after the marker is taken in too; if a change is among it, writes go
  // on.
  std::optional<Lsn> ProveSilence(const FollowProgress& progress) {
    if (progress.lsn.confirmed < marker_) {
      return Fail(
          Errorf(absl::StatusCode::kUnavailable,
                 "the target did not reach the marker within %s: the migration can go on, run cutover again",
                 FormatTimeSpan(timeout_)),
          progress);
    }
    const absl::StatusOr<Lsn> head = CurrentWalLsn(source_);
    if (!head.ok()) return Fail(head.status(), progress);
    end_ = *head;
    step_ = Step::kSilence;
    return end_;
  }

  Connection& source_;
  FollowUntil caught_up_;
  const absl::Duration timeout_;
  Step step_ = Step::kCatchUp;
  Lsn marker_;
  Lsn end_;
  absl::Time marked_at_;
  std::uint64_t changes_at_marker_ = 0;
  absl::Status error_;
};

}  // namespace

absl::Status CheckCutover(const MigrationOptions& options) {
  WF_ASSIGN_OR_RETURN(Connection target, ConnectToTarget(options));
  WF_ASSIGN_OR_RETURN(const bool has_state, StateSchemaExists(target));
  std::optional<MigrationRecord> record;
  if (has_state) {
    WF_ASSIGN_OR_RETURN(record, LoadMigration(target, options.name));
  }
  return Gate(record, options.name);
}

absl::StatusOr<CutoverReport> Cutover(const CutoverOptions& options, const StopSignal& stop) {
  WF_RETURN_IF_ERROR(CheckCutover(options.migration));
  {
    WF_ASSIGN_OR_RETURN(Connection target, ConnectToTarget(options.migration));
    WF_RETURN_IF_ERROR(TakeOver(target, options.migration, stop));
  }
  WF_ASSIGN_OR_RETURN(Migration migration, Migration::Open(options.migration, stop));
  CutoverReport report;
  Drain drain(migration, options.timeout);
  WF_ASSIGN_OR_RETURN(const FollowResult streamed,
                      migration.Stream([&](const FollowProgress& progress) { return drain.Next(progress); },
                                       [](const RuntimeSnapshot&) {}));
  if (streamed.stopped) return absl::CancelledError("stopped");
  WF_RETURN_IF_ERROR(drain.Verdict(streamed.last));
  report.marker = drain.marker();
  report.position = drain.end();

  WF_RETURN_IF_ERROR(migration.SetPhase(Phase::kCutover));
  WF_RETURN_IF_ERROR(migration.CreateObjectsUpTo(ObjectStage::kTrigger));
  WF_ASSIGN_OR_RETURN(const SequenceReport sequences, migration.SetAllSequences());
  report.sequences_set = sequences.set;
  report.sequences_missing = sequences.missing;
  WF_RETURN_IF_ERROR(migration.SetPhase(Phase::kDone));
  report.write_pause = absl::Now() - drain.marked_at();
  return report;
}

}  // namespace walferry
