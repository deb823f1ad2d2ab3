// Tested by tests/apply/table_copy_test.cc.
#include "apply/copy_worker.h"

#include <utility>

#include "apply/parameter_rows.h"
#include "apply/replica_role.h"
#include "apply/retry.h"
#include "stream/lock_retry.h"
#include "stream/session_settings.h"
#include "stream/snapshot.h"

namespace walferry {
namespace {

// Progress is for people: no need to touch the shared counters for every row.
constexpr std::int64_t kProgressStepBytes = 256 << 10;

// A rewrite since the snapshot (TRUNCATE, CLUSTER, VACUUM FULL, some ALTER TABLEs) moves rows between pages,
// or shows an empty table to older snapshots. Both numbers are the same table's file: the first as the
// snapshot sees the catalog, the second as it is now; the lock keeps it so until the rows are read. %s: a
// list of (schema, name, with partitions).
constexpr char kRewritten[] = R"sql(
WITH RECURSIVE part (id, schema_name, table_name, with_parts) AS (
  SELECT c.oid, w.* FROM (VALUES %s) w (schema_name, table_name, with_parts)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name::name
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.table_name::name
  UNION ALL
  SELECT i.inhrelid, part.schema_name, part.table_name, part.with_parts
  FROM part JOIN pg_catalog.pg_inherits i ON i.inhparent = part.id WHERE part.with_parts::boolean)
SELECT part.schema_name, part.table_name FROM part JOIN pg_catalog.pg_class c ON c.oid = part.id
WHERE c.relkind = 'r' AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid) LIMIT 1)sql";

// Of the status that says so.
constexpr char kSchemaPayload[] = "walferry/rewritten-schema";
constexpr char kTablePayload[] = "walferry/rewritten-table";

std::string OnlyThisTable(char kind, const TableName& table) {
  return (kind == 'p' ? "" : "ONLY ") + QuoteName(table.schema, table.name);
}

absl::Status LockUnlessRewritten(Connection& source, const std::vector<const TableCopyPlan*>& tables) {
  std::string names;
  std::vector<Parameter> parameters;
  for (const TableCopyPlan* plan : tables) {
    const TableName& table = plan->record.table;
    names += (names.empty() ? "" : ", ") + OnlyThisTable(plan->source_kind, table);
    parameters.insert(parameters.end(),
                      {table.schema, table.name, plan->source_kind == 'p' ? "true" : "false"});
  }
  WF_RETURN_IF_ERROR(source.Execute("LOCK TABLE " + names + " IN ACCESS SHARE MODE").status());
  WF_ASSIGN_OR_RETURN(
      Result rewritten,
      source.Execute(absl::StrFormat(kRewritten, ParameterRows(tables.size(), 3, 1)), parameters));
  if (rewritten.rows() == 0) return absl::OkStatus();
  const TableName table{std::string(rewritten.Get(0, 0)), std::string(rewritten.Get(0, 1))};
  absl::Status status =
      Errorf(absl::StatusCode::kAborted,
             "table %s was rewritten on the source (TRUNCATE, VACUUM FULL, CLUSTER or ALTER TABLE) since the "
             "snapshot that is being copied: it is copied under a new one; tables that are done stay done",
             table.ToString());
  status.SetPayload(kSchemaPayload, absl::Cord(table.schema));
  status.SetPayload(kTablePayload, absl::Cord(table.name));
  return status;
}

}  // namespace

std::optional<TableName> RewrittenTable(const absl::Status& status) {
  const absl::optional<absl::Cord> schema = status.GetPayload(kSchemaPayload);
  const absl::optional<absl::Cord> name = status.GetPayload(kTablePayload);
  if (!schema.has_value() || !name.has_value()) return std::nullopt;
  return TableName{std::string(*schema), std::string(*name)};
}

absl::Status NameLockHolder(Connection& source, const std::vector<TableName>& tables,
                            const absl::Status& status) {
  if (!IsLockNotAvailable(status)) return status;
  WF_RETURN_IF_ERROR(source.Execute("ROLLBACK").status());
  WF_ASSIGN_OR_RETURN(const std::string holder, DescribeLockHolder(source, tables, kAgainstAccessShare));
  if (holder.empty()) return status;
  return WithSqlstate(absl::UnavailableError(holder), SqlstateOf(status));
}

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

absl::Status CopyWorker::BeginOnSource() {
  if (std::exchange(source_is_begun_, false)) return absl::OkStatus();
  if (!source_.has_value()) {
    WF_ASSIGN_OR_RETURN(source_, Connection::Open({.conninfo = options_.source,
                                                   .application_name = options_.application_name,
                                                   .settings = {{"lock_timeout", kSourceLockTimeout}},
                                                   .stop = &stop_}));
  }
  return BeginInSnapshot(*source_, options_.snapshot);
}

absl::Status CopyWorker::DropConnectionsUnlessOk(const absl::Status& status) {
  if (status.ok()) return status;
  source_.reset();
  source_is_begun_ = false;
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
  WF_RETURN_IF_ERROR(EmptyTable(plan).status());
  if (keeps_state() && plan.record.phase != TablePhase::kCopying) {
    WF_RETURN_IF_ERROR(BeginTableCopy(*target_, options_.migration, plan.record.table, options_.position));
  }
  return target_->Execute("COMMIT").status();
}

// True where the statement was done; false where it was refused, which leaves the transaction as it was.
absl::StatusOr<bool> CopyWorker::TryBehindSavepoint(const std::string& sql) {
  const absl::Status tried = target_->Execute("SAVEPOINT attempt; " + sql + "; RELEASE attempt").status();
  if (tried.ok()) return true;
  const bool is_locked = SqlstateOf(tried) == "55P03";  // What NOWAIT says is an answer.
  if (!is_locked && (IsRetryable(tried) || absl::IsCancelled(tried))) return tried;
  WF_RETURN_IF_ERROR(target_->Execute("ROLLBACK TO attempt; RELEASE attempt").status());
  return false;
}

// What an earlier run left; true where it went by TRUNCATE. The record comes first: it makes whoever still
// copies ranges of the table fail.
absl::StatusOr<bool> CopyWorker::EmptyTable(const TableCopyPlan& plan) {
  if (plan.record.phase != TablePhase::kCopying) return false;
  if (keeps_state()) {
    WF_RETURN_IF_ERROR(BeginTableCopy(*target_, options_.migration, plan.record.table, options_.position));
  }
  const std::string table = OnlyThisTable(plan.target_kind, plan.record.table);
  WF_ASSIGN_OR_RETURN(const bool truncated, TryBehindSavepoint("TRUNCATE " + table));
  // Else a foreign key refers to the table, or the role may delete only.
  if (!truncated) WF_RETURN_IF_ERROR(target_->Execute("DELETE FROM " + table).status());
  return truncated;
}

// Rows may be frozen in the transaction that made or emptied the table's file: that saves the second writing
// of every page which the first reader (CREATE INDEX) would cause, and a later vacuum. Nobody's rows are
// thrown away: under the lock, an empty file means no rows.
absl::StatusOr<bool> CopyWorker::TruncateIfEmpty(const TableCopyPlan& plan) {
  const std::string table = OnlyThisTable(plan.target_kind, plan.record.table);
  WF_ASSIGN_OR_RETURN(const bool locked,
                      TryBehindSavepoint("LOCK TABLE " + table + " IN ACCESS EXCLUSIVE MODE NOWAIT"));
  if (!locked) return false;
  const std::string name = QuoteName(plan.record.table.schema, plan.record.table.name);
  WF_ASSIGN_OR_RETURN(const Result size, target_->Execute("SELECT pg_catalog.pg_relation_size(" +
                                                          QuoteLiteral(name) + "::pg_catalog.regclass)"));
  if (size.GetInt(0, 0) != 0) return false;
  return TryBehindSavepoint("TRUNCATE " + table);
}

absl::StatusOr<bool> CopyWorker::PrepareWholeTable(const TableCopyPlan& plan) {
  if (plan.record.phase == TablePhase::kCopying) {
    WF_ASSIGN_OR_RETURN(const bool truncated, EmptyTable(plan));
    return truncated && plan.may_freeze;
  }
  return plan.may_freeze ? TruncateIfEmpty(plan) : false;
}

absl::StatusOr<std::vector<CopyWorker::Copied>> CopyWorker::Copy(const Work& work) {
  std::vector<Copied> copied;
  unanswered_.reset();
  lock_is_told_ = false;
  told_bytes_ = 0;
  const absl::Status status = RetryFor(options_.retry_for, stop_, [&] {
    copied.clear();
    done_bytes_ = 0;
    const absl::Status tried = DropConnectionsUnlessOk(TryCopy(work, copied));
    if (!tried.ok()) Tell(0);
    return tried;
  });
  if (!status.ok()) {
    const std::string more =
        work.tables.size() > 1 ? absl::StrFormat(" and %d more", work.tables.size() - 1) : "";
    return Annotate(status, "copying " + work.tables.front()->record.table.ToString() + more);
  }
  for (const Copied& table : copied) progress_.rows_copied += table.rows;
  return copied;
}

absl::StatusOr<bool> CopyWorker::IsDone(const Work& work) {
  const TableCopyPlan& first = *work.tables.front();
  if (first.is_whole()) return TableIsCopied(*target_, options_.migration, first.record.table);
  return CopyRangeIsDone(*target_, options_.migration, first.record.table, static_cast<int>(work.range));
}

// Behind a session that holds a table for long, others would wait for our request: it is given up after
// seconds, and comes again with the next attempt.
absl::Status CopyWorker::LockSource(const std::vector<const TableCopyPlan*>& tables) {
  const absl::Status locked = LockUnlessRewritten(*source_, tables);
  if (!IsLockNotAvailable(locked)) return locked;
  std::vector<TableName> names;
  for (const TableCopyPlan* plan : tables) names.push_back(plan->record.table);
  const absl::Status named = NameLockHolder(*source_, names, locked);
  if (!std::exchange(lock_is_told_, true) && options_.waiting) {
    options_.waiting(std::string(MessageOf(named)) + ": trying again");
  }
  return named;
}

absl::Status CopyWorker::TryCopy(const Work& work, std::vector<Copied>& copied) {
  WF_RETURN_IF_ERROR(ConnectTarget(*work.tables.front()));
  if (unanswered_.has_value()) {
    WF_ASSIGN_OR_RETURN(const bool done, IsDone(work));
    if (done) {
      copied = *unanswered_;
      for (const Copied& table : copied) done_bytes_ += table.bytes;
      Tell(done_bytes_);
      return absl::OkStatus();
    }
    unanswered_.reset();
  }
  WF_RETURN_IF_ERROR(BeginOnSource());
  WF_RETURN_IF_ERROR(LockSource(work.tables));
  WF_RETURN_IF_ERROR(target_->Execute("BEGIN").status());
  for (const TableCopyPlan* plan : work.tables) {
    WF_ASSIGN_OR_RETURN(const Copied table, CopyTable(*plan, work.range));
    copied.push_back(table);
  }
  // The locks on the source are not held longer than it takes to read the rows.
  WF_RETURN_IF_ERROR(source_->Execute("COMMIT").status());
  return Commit(work, copied);
}

absl::StatusOr<CopyWorker::Copied> CopyWorker::CopyTable(const TableCopyPlan& plan, std::size_t range) {
  bool freeze = false;
  if (plan.is_whole()) {
    WF_ASSIGN_OR_RETURN(freeze, PrepareWholeTable(plan));
  }
  return plan.columns.empty() ? CopyRowCount(plan) : CopyRows(plan, range, freeze);
}

absl::StatusOr<CopyWorker::Copied> CopyWorker::CopyRows(const TableCopyPlan& plan, std::size_t range,
                                                        bool freeze) {
  Copied copied;
  WF_RETURN_IF_ERROR(source_->BeginCopyOut(plan.CopyOutSql(range)));
  WF_RETURN_IF_ERROR(target_->BeginCopyIn(plan.CopyInSql(freeze)));
  const std::int64_t done_before = done_bytes_;
  while (true) {
    WF_ASSIGN_OR_RETURN(const std::optional<std::string_view> piece, source_->ReadCopyData());
    if (!piece.has_value()) break;
    WF_RETURN_IF_ERROR(target_->WriteCopyData(*piece));
    copied.bytes += static_cast<std::int64_t>(piece->size());
    done_bytes_ = done_before + copied.bytes;
    if (done_bytes_ - told_bytes_ >= kProgressStepBytes) Tell(done_bytes_);
  }
  Tell(done_bytes_);
  WF_ASSIGN_OR_RETURN(copied.rows, target_->EndCopyIn());
  return copied;
}

void CopyWorker::Tell(std::int64_t bytes) {
  progress_.bytes_copied += bytes - told_bytes_;
  told_bytes_ = bytes;
}

// COPY cannot name an empty list of columns, while rows without columns can be counted.
absl::StatusOr<CopyWorker::Copied> CopyWorker::CopyRowCount(const TableCopyPlan& plan) {
  const TableName& table = plan.record.table;
  WF_ASSIGN_OR_RETURN(Result count, source_->Execute("SELECT pg_catalog.count(*) FROM " +
                                                     OnlyThisTable(plan.source_kind, table)));
  const Copied copied{.rows = count.GetInt(0, 0)};
  WF_RETURN_IF_ERROR(
      target_
          ->Execute(absl::StrFormat("INSERT INTO %s SELECT FROM pg_catalog.generate_series(1, %d)",
                                    QuoteName(table.schema, table.name), copied.rows))
          .status());
  return copied;
}

absl::Status CopyWorker::Finish(const Work& work, const std::vector<Copied>& copied) {
  const TableCopyPlan& first = *work.tables.front();
  if (!first.is_whole()) {
    return FinishCopyRange(*target_, options_.migration, first.record.table, options_.position,
                           {.number = static_cast<int>(work.range),
                            .of = static_cast<int>(first.ranges.size()),
                            .rows = copied.front().rows,
                            .bytes = copied.front().bytes});
  }
  std::vector<CopiedTable> tables;
  for (std::size_t i = 0; i < copied.size(); ++i) {
    tables.push_back({work.tables[i]->record.table, copied[i].rows, copied[i].bytes});
  }
  return FinishTables(*target_, options_.migration, options_.position, tables);
}

absl::Status CopyWorker::Commit(const Work& work, const std::vector<Copied>& copied) {
  if (keeps_state()) {
    WF_RETURN_IF_ERROR(Finish(work, copied));
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
        work.tables.front()->record.table.ToString(), MessageOf(committed));
  }
  return committed;
}

}  // namespace walferry
