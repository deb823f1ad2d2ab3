#include "tools/cutover.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "tools/endpoint.h"
#include "tools/log.h"
#include "tools/quantity.h"

namespace walferry {
namespace {

constexpr absl::Duration kHandOver = absl::Seconds(60);
// From the marker on, no change may come for this long.
constexpr absl::Duration kSilence = absl::Seconds(1);

void WaitFor(const StopSignal& stop, absl::Duration duration) {
  pollfd fd = {stop.fd(), POLLIN, 0};
  poll(&fd, 1, static_cast<int>(absl::ToInt64Milliseconds(duration)));
}

absl::Status WritesGoOn() {
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "changes came after the marker: the source still takes writes; stop them and run cutover again "
      "(walferry migrate can go on meanwhile)");
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
  return ConnectTo(Endpoint::kTarget, connect);
}

// Leads the stream to the marker: first to the source's head, then the marker is written, then to it.
class Drain {
 public:
  Drain(Migration& migration, absl::Duration timeout)
      : source_(migration.source()),
        caught_up_(FollowUntilCaughtUp(migration.options().source, absl::Seconds(2))),
        timeout_(timeout) {}

  std::optional<Lsn> Next(const FollowProgress& progress) {
    if (!marker_.valid()) {
      const std::optional<Lsn> head = caught_up_(progress);
      if (!head || progress.lsn.confirmed < *head) return std::nullopt;
      error_ = WriteMarker();
      changes_at_marker_ = progress.changes;
    }
    const bool give_up = !error_.ok() || absl::Now() - marked_at_ > timeout_;
    return give_up ? progress.lsn.confirmed : marker_;
  }

  Lsn marker() const { return marker_; }
  absl::Time marked_at() const { return marked_at_; }

  // How it ended, once the stream is over.
  absl::Status Verdict(const FollowProgress& last) const {
    WF_RETURN_IF_ERROR(error_);
    if (last.lsn.confirmed < marker_) {
      return Errorf(
          absl::StatusCode::kUnavailable,
          "the target did not reach the marker within %s: the migration can go on, run cutover again",
          FormatTimeSpan(timeout_));
    }
    return last.changes > changes_at_marker_ ? WritesGoOn() : absl::OkStatus();
  }

 private:
  // Every transaction that committed before the marker stands before the position taken with it.
  absl::Status WriteMarker() {
    marked_at_ = absl::Now();
    const absl::StatusOr<Result> marker = source_.Execute(
        "SELECT pg_catalog.pg_logical_emit_message(true, 'walferry', 'cutover'), "
        "pg_catalog.pg_current_wal_insert_lsn()");
    if (!marker.ok()) return Annotate(marker.status(), "cannot write the marker into the source's WAL");
    WF_ASSIGN_OR_RETURN(marker_, Lsn::Parse(marker->Get(0, 1)));
    LogInfo("marker at %s", marker_.ToString());
    return absl::OkStatus();
  }

  Connection& source_;
  FollowUntil caught_up_;
  const absl::Duration timeout_;
  Lsn marker_;
  absl::Time marked_at_ = absl::InfiniteFuture();
  std::uint64_t changes_at_marker_ = 0;
  absl::Status error_;
};

// Looks into the slot, without consuming, for changes that the stream did not bring.
absl::Status ProveSilence(Migration& migration) {
  WF_ASSIGN_OR_RETURN(const Result changes,
                      migration.source().Execute(
                          "SELECT FROM pg_catalog.pg_logical_slot_peek_binary_changes($1, NULL, NULL, "
                          "'proto_version', '1', 'publication_names', $2) "
                          "WHERE pg_catalog.get_byte(data, 0) IN (68, 73, 84, 85) LIMIT 1",  // D, I, T, U
                          {migration.record().slot, QuoteIdentifier(migration.record().publication)}));
  return changes.rows() > 0 ? WritesGoOn() : absl::OkStatus();
}

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
  report.position = streamed.last.lsn.confirmed;

  WF_RETURN_IF_ERROR(migration.SetPhase(Phase::kCutover));
  WF_RETURN_IF_ERROR(migration.CreateObjectsUpTo(ObjectStage::kTrigger));
  WF_ASSIGN_OR_RETURN(const SequenceReport sequences, migration.SetAllSequences());
  report.sequences_set = sequences.set;
  report.sequences_missing = sequences.missing;

  WaitFor(stop, std::max(absl::ZeroDuration(), drain.marked_at() + kSilence - absl::Now()));
  if (const absl::Status silent = ProveSilence(migration); !silent.ok()) {
    WF_RETURN_IF_ERROR(migration.SetPhase(Phase::kFollow));
    return silent;
  }
  WF_RETURN_IF_ERROR(migration.SetPhase(Phase::kDone));
  report.write_pause = absl::Now() - drain.marked_at();
  return report;
}

}  // namespace walferry
