// Tested by tests/apply/applier_recovery_test.cc and applier_conflict_test.cc.
#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "apply/lane.h"
#include "apply/ordered_replay.h"
#include "apply/position.h"

namespace walferry {
namespace {

constexpr absl::Duration kMissingInterval = absl::Seconds(5);

// An unknown table or column, or a plan that no longer fits: the target's tables may have been changed.
bool SaysTablesChanged(const absl::Status& error) {
  const std::string sqlstate = SqlstateOf(error);
  return sqlstate == "42P01" || sqlstate == "42703" || sqlstate == "3F000";
}

// Every statement of a lane finds its rows by a key, and arrays of any length share one prepared plan: what
// the planner would guess from a table's statistics (empty when the plan was made, or never analyzed) can
// only be worse than the index. Where there is no index, "off" still leaves the sequential scan.
absl::Status PlanByKey(Connection& connection) {
  return connection
      .Execute(
          "SELECT pg_catalog.set_config(name, v.value, false) FROM pg_catalog.pg_settings JOIN (VALUES "
          "('plan_cache_mode', 'force_generic_plan'), ('enable_seqscan', 'off'), ('enable_hashjoin', 'off'), "
          "('enable_mergejoin', 'off'), ('enable_material', 'off'), ('enable_memoize', 'off'), ('jit', "
          "'off'), "
          "('max_parallel_workers_per_gather', '0')) v(name, value) USING (name)")
      .status();
}

}  // namespace

void Lane::Say(ApplierEvent::Kind kind, std::string text, TableName table) const {
  context_.observe({kind, std::move(table), std::move(text)});
}

absl::StatusOr<Lsn> Lane::Open(Lsn open_commit_lsn) {
  WF_RETURN_IF_ERROR(Connect());
  WF_ASSIGN_OR_RETURN(position_, writer_->TakePosition());
  builder_.Reset(position_, open_commit_lsn);
  return position_;
}

absl::Status Lane::Connect() {
  ConnectOptions options;
  options.conninfo = context_.options.target;
  options.application_name = context_.options.application_name;
  // What is lost by that in a crash of the target is applied again: nothing is confirmed before a fence.
  options.settings = {{"synchronous_commit", "off"}};
  options.stop = &context_.abort;
  WF_ASSIGN_OR_RETURN(Connection connection, Connection::Open(options));
  WF_RETURN_IF_ERROR(PlanByKey(connection));
  WF_RETURN_IF_ERROR(TakeReplicaRole(connection, context_.tables).status());
  TargetWriterOptions writer;
  writer.migration = context_.options.migration;
  writer.lane = number_;
  writer.in_flight_bytes = context_.options.in_flight_bytes;
  writer.stop_at_missing_row = context_.options.on_missing_row == OnMissingRow::kStop;
  writer_ = std::make_unique<TargetWriter>(std::move(connection), std::move(writer), tables_);
  return absl::OkStatus();
}

// After a commit: what there is to count and to say about the batch.
void Lane::ReportBatch() {
  context_.tally.Add(number_, batch_tally_);
  for (const auto& [table, counters] : batch_tally_.tables) {
    if (counters.missing_rows > 0) ReportMissing(table, counters.missing_rows);
  }
  for (const SkippedChange& skipped : batch_skipped_) {
    Say(ApplierEvent::Kind::kConflictSkipped, DescribeSkipped(skipped), skipped.change.table);
  }
  if (said_skipped_.size() == tables_.out_of_scope().size()) return;
  for (const TableName& table : tables_.out_of_scope()) {
    if (!said_skipped_.insert(table).second) continue;
    Say(ApplierEvent::Kind::kSkippedTable,
        absl::StrFormat(
            "the stream has changes of %s, which is not among this migration's tables: they are left out",
            table.ToString()),
        table);
  }
}

// At once the first time, then gathered: a table that differs may miss a row in each of many small batches.
void Lane::ReportMissing(const TableName& table, std::int64_t rows) {
  MissingRows& missing = missing_rows_[table];
  missing.unsaid += rows;
  if (absl::Now() - missing.said < kMissingInterval) return;
  missing.said = absl::Now();
  Say(ApplierEvent::Kind::kMissingRow,
      absl::StrFormat("%d changes of %s were for rows that are not on the target",
                      std::exchange(missing.unsaid, 0), table.ToString()),
      table);
}

void Lane::Settle(const absl::Status& status) {
  if (status.ok()) return;
  discarding_ = true;
  context_.rendezvous.Break();
  if (!absl::IsCancelled(status)) context_.progress.Fail(status);
}

absl::Status Lane::GiveUp() {
  discarding_ = true;
  context_.rendezvous.Break();
  context_.progress.WantRestart();
  return absl::CancelledError("the stream is needed again");
}

bool Lane::WorthAnotherTry(const absl::Status& error) {
  if (SaysTablesChanged(error) && stale_at_ != position_) {
    stale_at_ = position_;
    tables_.Clear();
    return true;
  }
  // Indexes may have come or gone: the replay that follows a refusal plans with what is read then.
  if (IsAboutAnotherRow(error) && stale_at_ != position_) {
    stale_at_ = position_;
    tables_.Clear();
  }
  return IsRetryable(error);
}

absl::StatusOr<Lane::Next> Lane::Recover(const absl::Status& error, Lsn end) {
  Lsn reached;
  return Recover(error, std::span(&end, end.valid() ? 1 : 0), reached);
}

absl::StatusOr<Lane::Next> Lane::Recover(const absl::Status& error, std::span<const Lsn> ends, Lsn& reached) {
  if (writer_ != nullptr && !writer_->Abandon().ok()) writer_ = nullptr;
  if (absl::IsCancelled(error)) return error;
  if (SqlstateOf(error) == kPositionMovedSqlstate) return CompareOthers(error);
  if (!WorthAnotherTry(error)) {
    refused_ = true;
    return error;
  }
  failing_since_ = std::min(failing_since_, absl::Now());
  if (absl::Now() - failing_since_ > context_.options.retry_for) {
    return Annotate(error, "the target could not be written to for too long");
  }
  if (writer_ != nullptr) WF_RETURN_IF_ERROR(Pause());
  WF_ASSIGN_OR_RETURN(reached, ReadPositionPatiently());
  return Compare(reached, ends);
}

absl::StatusOr<Lane::Next> Lane::Compare(Lsn position, std::span<const Lsn> ends) const {
  if (std::find(ends.begin(), ends.end(), position) != ends.end()) return Next::kCommitted;
  if (position == position_) return Next::kAgain;
  if (position > position_) {
    return Errorf(absl::StatusCode::kAborted,
                  "another walferry has moved lane %d of migration %s from %s to %s, so this one ends",
                  number_, context_.options.migration, position_.ToString(), position.ToString());
  }
  // Commits of the lanes are asynchronous: a crash of the target may undo those after the last fence.
  if (position >= context_.progress.fenced()) return Next::kFromSource;
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "the target went back to %s, but had everything up to %s on disk: it was restored, or a standby took "
      "over that lagged behind. The source has been told not to keep that; copy the tables again",
      position.ToString(), context_.progress.fenced().ToString());
}

// The guard has raised `moved`. A lane that waits does not notice when the target loses its last commits in a
// crash; the one that moves it does.
absl::StatusOr<Lane::Next> Lane::CompareOthers(const absl::Status& moved) {
  for (std::size_t lane = 0; lane < all_positions_.size() && writer_ != nullptr; ++lane) {
    const absl::StatusOr<Lsn> position = writer_->ReadPositionOf(static_cast<int>(lane));
    if (!position.ok()) break;
    if (*position < all_positions_[lane] && *position >= context_.progress.fenced()) {
      return Next::kFromSource;
    }
  }
  return Errorf(absl::StatusCode::kAborted,
                "another walferry applies migration %s, too, so this one ends: %s",
                context_.options.migration, MessageOf(moved));
}

absl::StatusOr<Lsn> Lane::ReadPositionPatiently() {
  const absl::Time give_up = absl::Now() + context_.options.retry_for;
  bool said = false;
  while (true) {
    const bool reconnects = writer_ == nullptr;
    absl::Status status = reconnects ? Connect() : absl::OkStatus();
    if (status.ok()) {
      const absl::StatusOr<Lsn> position = writer_->TakePosition();
      if (position.ok()) {
        if (reconnects) {
          context_.tally.CountReconnect();
          Say(ApplierEvent::Kind::kReconnected, "connected to the target again");
        }
        return position;
      }
      status = position.status();
      if (!writer_->Abandon().ok()) writer_ = nullptr;
    }
    if (!IsRetryable(status) || absl::Now() > give_up) return status;
    if (!std::exchange(said, true)) {
      Say(ApplierEvent::Kind::kReconnecting,
          absl::StrFormat("the connection to the target is lost, trying again: %s", MessageOf(status)));
    }
    WF_RETURN_IF_ERROR(Pause());
  }
}

// Waits a while, longer each time.
absl::Status Lane::Pause() {
  const absl::Time until = absl::Now() + backoff_.Next();
  const absl::MutexLock lock(&mutex_);
  while (absl::Now() < until) {
    if (quit_ || stopping()) return absl::CancelledError("stopped");
    changed_.WaitWithDeadline(&mutex_, std::min(until, absl::Now() + absl::Milliseconds(100)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Lsn> Lane::DoRestart() {
  WF_RETURN_IF_ERROR(context_.progress.status());
  const auto restart = [this]() -> absl::StatusOr<Lsn> {
    WF_ASSIGN_OR_RETURN(const Lsn position, ReadPositionPatiently());
    WF_RETURN_IF_ERROR(Compare(position, {}).status());
    return position;
  };
  const absl::StatusOr<Lsn> position = restart();
  if (!position.ok()) {
    Settle(position.status());
    return position;
  }
  position_ = *position;
  builder_.Reset(position_);
  tables_.Forget();
  if (dealer_) dealer_->Forget();
  discarding_ = false;
  context_.progress.Applied(number_, position_);
  return position;
}

void Lane::DoRecheck() {
  const absl::StatusOr<Lsn> position = ReadPositionPatiently();
  if (!position.ok()) return Settle(position.status());
  const absl::StatusOr<Next> next = Compare(*position, {});
  if (!next.ok()) return Settle(next.status());
  if (*next == Next::kFromSource) Settle(GiveUp());
}

}  // namespace walferry
