// Tested by tests/apply/table_copy_test.cc.
#include "apply/copy_worker.h"

#include "apply/replica_role.h"
#include "apply/retry.h"
#include "stream/snapshot.h"

namespace walferry {
namespace {

// Progress is for people: no need to touch the shared counters for every row.
constexpr std::int64_t kProgressStepBytes = 256 << 10;

// A rewrite since the snapshot (TRUNCATE, CLUSTER, VACUUM FULL, some ALTER TABLEs) moves rows between pages,
// or shows an empty table to older snapshots. Both numbers are the same table's file: the first as the
// snapshot sees the catalog, the second as it is now; the lock keeps it so until the range is read.
constexpr char kIsRewritten[] = R"sql(
WITH RECURSIVE part (id) AS (
  SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1::name AND c.relname = $2::name
  UNION ALL
  SELECT i.inhrelid FROM part JOIN pg_catalog.pg_inherits i ON i.inhparent = part.id WHERE $3::boolean)
SELECT EXISTS (SELECT FROM part JOIN pg_catalog.pg_class c ON c.oid = part.id
               WHERE c.relkind = 'r' AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid)))sql";

std::string OnlyThisTable(char kind, const TableName& table) {
  return (kind == 'p' ? "" : "ONLY ") + QuoteName(table.schema, table.name);
}

absl::Status LockUnlessRewritten(Connection& source, const TableCopyPlan& plan) {
  const TableName& table = plan.record.table;
  WF_RETURN_IF_ERROR(
      source.Execute("LOCK TABLE " + OnlyThisTable(plan.source_kind, table) + " IN ACCESS SHARE MODE")
          .status());
  WF_ASSIGN_OR_RETURN(
      Result rewritten,
      source.Execute(kIsRewritten, {table.schema, table.name, plan.source_kind == 'p' ? "true" : "false"}));
  if (!rewritten.GetBool(0, 0)) return absl::OkStatus();
  return Errorf(
      absl::StatusCode::kAborted,
      "table %s was rewritten on the source (TRUNCATE, VACUUM FULL, CLUSTER or ALTER TABLE) since the "
      "snapshot that is being copied: it is copied under a new one; tables that are done stay done",
      table.ToString());
}

}  // namespace

absl::Status CopyWorker::ConnectTarget(const TableCopyPlan& plan) {
  if (target_.has_value()) return absl::OkStatus();
  // With state, completion is read back from the target in the end (CopyTables), so a commit need not wait
  // for the disk. Without, an answered commit is all there is.
  const ConnectOptions connect{.conninfo = options_.target,
                               .application_name = options_.application_name,
                               .settings = {{"synchronous_commit", keeps_state() ? "off" : "on"}},
                               .stop = &stop_};
  WF_ASSIGN_OR_RETURN(Connection connection, Connection::Open(connect));
  WF_RETURN_IF_ERROR(TakeReplicaRole(connection, {plan.record.table}).status());
  target_ = std::move(connection);
  return absl::OkStatus();
}

absl::Status CopyWorker::ConnectSource() {
  if (source_.has_value()) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(source_, Connection::Open({.conninfo = options_.source,
                                                 .application_name = options_.application_name,
                                                 .settings = {},
                                                 .stop = &stop_}));
  return absl::OkStatus();
}

absl::Status CopyWorker::DropConnectionsUnlessOk(const absl::Status& status) {
  if (status.ok()) return status;
  source_.reset();
  target_.reset();
  return status;
}

absl::Status CopyWorker::BeginTable(const TableCopyPlan& plan) {
  if (!keeps_state() && plan.record.phase != TablePhase::kCopying) return absl::OkStatus();
  return RetryFor(options_.retry_for, stop_, [&] { return DropConnectionsUnlessOk(TryBeginTable(plan)); });
}

absl::Status CopyWorker::TryBeginTable(const TableCopyPlan& plan) {
  WF_RETURN_IF_ERROR(ConnectTarget(plan));
  WF_RETURN_IF_ERROR(target_->Execute("BEGIN").status());
  if (plan.record.phase == TablePhase::kCopying) WF_RETURN_IF_ERROR(EmptyTable(plan));
  if (keeps_state()) {
    WF_RETURN_IF_ERROR(BeginTableCopy(*target_, options_.migration, plan.record.table, options_.position));
  }
  return target_->Execute("COMMIT").status();
}

absl::Status CopyWorker::EmptyTable(const TableCopyPlan& plan) {
  const std::string table = OnlyThisTable(plan.target_kind, plan.record.table);
  const absl::Status truncated = target_->Execute("TRUNCATE " + table).status();
  if (truncated.ok() || IsRetryable(truncated) || absl::IsCancelled(truncated)) return truncated;
  // A foreign key refers to the table, or the role may delete only.
  WF_RETURN_IF_ERROR(target_->Execute("ROLLBACK").status());
  WF_RETURN_IF_ERROR(target_->Execute("BEGIN").status());
  return target_->Execute("DELETE FROM " + table).status();
}

absl::StatusOr<CopiedRange> CopyWorker::CopyRange(const TableCopyPlan& plan, std::size_t range) {
  CopiedRange copied;
  unanswered_.reset();
  told_bytes_ = 0;
  const absl::Status status = RetryFor(options_.retry_for, stop_, [&] {
    copied = CopiedRange{.number = static_cast<int>(range), .of = static_cast<int>(plan.ranges.size())};
    const absl::Status tried = DropConnectionsUnlessOk(TryRange(plan, copied));
    if (!tried.ok()) Tell(0);
    return tried;
  });
  if (!status.ok()) return Annotate(status, "copying " + plan.record.table.ToString());
  progress_.rows_copied += copied.rows;
  return copied;
}

absl::Status CopyWorker::TryRange(const TableCopyPlan& plan, CopiedRange& copied) {
  WF_RETURN_IF_ERROR(ConnectTarget(plan));
  if (unanswered_.has_value()) {
    WF_ASSIGN_OR_RETURN(const bool done, CopyRangeIsDone(*target_, options_.migration, plan.record.table,
                                                         unanswered_->number));
    if (done) {
      copied = *unanswered_;
      Tell(copied.bytes);
      return absl::OkStatus();
    }
    unanswered_.reset();
  }
  WF_RETURN_IF_ERROR(ConnectSource());
  WF_RETURN_IF_ERROR(BeginInSnapshot(*source_, options_.snapshot));
  WF_RETURN_IF_ERROR(LockUnlessRewritten(*source_, plan));
  WF_RETURN_IF_ERROR(target_->Execute("BEGIN").status());
  WF_RETURN_IF_ERROR(plan.columns.empty() ? CopyRowCount(plan, copied) : CopyRows(plan, copied));
  // The lock on the source is not held longer than it takes to read the range.
  WF_RETURN_IF_ERROR(source_->Execute("COMMIT").status());
  return CommitRange(plan, copied);
}

absl::Status CopyWorker::CopyRows(const TableCopyPlan& plan, CopiedRange& copied) {
  WF_RETURN_IF_ERROR(source_->BeginCopyOut(plan.CopyOutSql(static_cast<std::size_t>(copied.number))));
  WF_RETURN_IF_ERROR(target_->BeginCopyIn(plan.CopyInSql()));
  while (true) {
    WF_ASSIGN_OR_RETURN(const std::optional<std::string_view> piece, source_->ReadCopyData());
    if (!piece.has_value()) break;
    WF_RETURN_IF_ERROR(target_->WriteCopyData(*piece));
    copied.bytes += static_cast<std::int64_t>(piece->size());
    if (copied.bytes - told_bytes_ >= kProgressStepBytes) Tell(copied.bytes);
  }
  Tell(copied.bytes);
  WF_ASSIGN_OR_RETURN(copied.rows, target_->EndCopyIn());
  return absl::OkStatus();
}

void CopyWorker::Tell(std::int64_t bytes) {
  progress_.bytes_copied += bytes - told_bytes_;
  told_bytes_ = bytes;
}

// COPY cannot name an empty list of columns, while rows without columns can be counted.
absl::Status CopyWorker::CopyRowCount(const TableCopyPlan& plan, CopiedRange& copied) {
  const TableName& table = plan.record.table;
  WF_ASSIGN_OR_RETURN(Result count, source_->Execute("SELECT pg_catalog.count(*) FROM " +
                                                     OnlyThisTable(plan.source_kind, table)));
  copied.rows = count.GetInt(0, 0);
  return target_
      ->Execute(absl::StrFormat("INSERT INTO %s SELECT FROM pg_catalog.generate_series(1, %d)",
                                QuoteName(table.schema, table.name), copied.rows))
      .status();
}

absl::Status CopyWorker::CommitRange(const TableCopyPlan& plan, const CopiedRange& copied) {
  if (keeps_state()) {
    WF_RETURN_IF_ERROR(
        FinishCopyRange(*target_, options_.migration, plan.record.table, options_.position, copied));
    unanswered_ = copied;
  }
  const absl::Status committed = target_->Execute("COMMIT").status();
  if (committed.ok()) {
    unanswered_.reset();
  } else if (!keeps_state() && IsRetryable(committed)) {
    return Errorf(
        absl::StatusCode::kAborted,
        "the connection to the target was lost while table %s was committed, and nothing tells whether it "
        "was: empty the table there and copy it again (%s)",
        plan.record.table.ToString(), MessageOf(committed));
  }
  return committed;
}

}  // namespace walferry
