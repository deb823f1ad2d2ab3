// Copying under one snapshot after the other, where the first one is lost or tables are rewritten meanwhile.
#include <algorithm>

#include "stream/sqlstate.h"
#include "tools/log.h"
#include "tools/migration.h"

namespace walferry {
namespace {

// A busy source may truncate tables again and again; each attempt copies what is left of the others.
constexpr int kSnapshotsMax = 20;

// How long a lock may be waited for where the source's own sessions may have to wait behind us.
constexpr char kLockTimeout[] = "2s";

constexpr char kUndefinedColumn[] = "42703";

constexpr char kBeginForSnapshot[] = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

std::string SetSnapshotSql(const std::string& snapshot) {
  return "SET TRANSACTION SNAPSHOT " + QuoteLiteral(snapshot);
}

std::string BeginInSnapshotSql(const std::string& snapshot) {
  return std::string(kBeginForSnapshot) + "; " + SetSnapshotSql(snapshot);
}

std::ptrdiff_t CountWaiting(const std::vector<TableRecord>& tables) {
  return std::count_if(tables.begin(), tables.end(),
                       [](const TableRecord& table) { return AwaitsCopy(table.phase); });
}

bool IsLockTimeout(const absl::Status& status) {
  return SqlstateOf(status) == "55P03";
}

}  // namespace

// A phase under the snapshot. Where the snapshot is lost, or a table was rewritten since, the phase is left
// as it is, to be entered again with another one.
absl::Status Migration::SnapshotPhase() {
  if (!snapshot_) WF_RETURN_IF_ERROR(TakeAnotherSnapshot());
  if (record_.phase == Phase::kCopy) WF_RETURN_IF_ERROR(ForgetDroppedTables().status());
  const bool is_copy = record_.phase == Phase::kCopy;
  absl::Status done =
      is_copy ? CopyPhase(snapshot_->name(), snapshot_->consistent_point()) : SchemaPhase(snapshot_->name());
  if (is_copy && absl::IsFailedPrecondition(done)) done = UnderstandCopy(done);
  if (done.ok()) {
    snapshots_left_ = 0;
    return done;
  }
  WF_RETURN_IF_ERROR(LeaveSnapshot(done));
  const std::optional<TableName> rewritten = RewrittenTable(done);
  if (rewritten.has_value()) rewritten_.insert(*rewritten);
  rewritten_source_.reset();
  snapshot_.reset();
  return absl::OkStatus();
}

absl::Status Migration::LeaveSnapshot(const absl::Status& why) {
  if (!absl::IsAborted(why)) return why;
  if (++snapshots_left_ > kSnapshotsMax) {
    return Errorf(absl::StatusCode::kUnavailable, "gave up for now, after %d snapshots: %s", kSnapshotsMax,
                  MessageOf(why));
  }
  LogInfo("%s", MessageOf(why));
  return absl::OkStatus();
}

// OK where the copy may go on, kAborted where it may under another snapshot: what was dropped or renamed
// since cannot be read.
absl::Status Migration::UnderstandCopy(const absl::Status& failed) {
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> before, Tables());
  WF_ASSIGN_OR_RETURN(const CatalogFindings findings, ForgetDroppedTables());
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> after, Tables());
  if (CountWaiting(after) < CountWaiting(before)) return absl::OkStatus();
  for (const TableRecord& table : after) {
    if (AwaitsCopy(table.phase)) WF_RETURN_IF_ERROR(CheckColumns(findings, table));
  }
  if (SqlstateOf(failed) != kUndefinedColumn) return failed;
  return Errorf(absl::StatusCode::kAborted, "%s", MessageOf(failed));
}

// What is gone from the source before it was copied is no part of the migration any more.
absl::StatusOr<CatalogFindings> Migration::ForgetDroppedTables() {
  if (!record_.owns_publication) return CatalogFindings{};
  WF_ASSIGN_OR_RETURN(const CatalogFindings findings, Reconcile());
  for (const CatalogDifference& difference : findings.differences) {
    if (!difference.stops) continue;
    return Errorf(absl::StatusCode::kFailedPrecondition, "%s: run %s", difference.text, difference.command);
  }
  return findings;
}

// The first snapshot died with the process that exported it. Tables that are copied keep their position; the
// rest is copied under a new snapshot, of a slot that lives as long as this connection. Tables that were
// rewritten once may be rewritten all the time: they are copied first, by a connection that has locked them
// before the snapshot is made, or else right after.
absl::Status Migration::TakeAnotherSnapshot() {
  if (rewritten_.empty()) return MakeSnapshot(ReplicationOptions());
  WF_RETURN_IF_ERROR(MakeSnapshotBehindLock());
  if (snapshot_) return absl::OkStatus();
  WF_RETURN_IF_ERROR(MakeSnapshot(ReplicationOptions()));
  return LockRewrittenTables(BeginInSnapshotSql(snapshot_->name())).status();
}

// No snapshot where one of the locks cannot be had soon, or where making the slot waits for a transaction
// that may be waiting for our lock.
absl::Status Migration::MakeSnapshotBehindLock() {
  WF_ASSIGN_OR_RETURN(const bool locked, LockRewrittenTables(kBeginForSnapshot));
  if (!locked) return absl::OkStatus();
  ConnectOptions hurried = ReplicationOptions();
  hurried.settings.emplace_back("lock_timeout", kLockTimeout);
  const absl::Status made = MakeSnapshot(hurried);
  if (made.ok()) return rewritten_source_->Execute(SetSnapshotSql(snapshot_->name())).status();
  rewritten_source_.reset();
  return IsLockTimeout(made) ? absl::OkStatus() : made;
}

absl::Status Migration::MakeSnapshot(const ConnectOptions& options) {
  SlotRequest request;
  // Names of its own, because the one before goes only when the source notices that its connection has ended.
  request.name = absl::StrFormat("%s_again_%d_%d_%d", record_.slot.substr(0, 40), source_.backend_pid(),
                                 snapshots_taken_, options.settings.size());
  request.temporary = true;
  request.export_snapshot = true;
  WF_ASSIGN_OR_RETURN(ExportedSnapshot snapshot, ExportedSnapshot::FromNewSlot(options, request));
  ++snapshots_taken_;
  LogInfo("continuing the copy under a new snapshot, at %s", snapshot.consistent_point().ToString());
  snapshot_ = std::move(snapshot);
  return absl::OkStatus();
}

// False where one of the locks cannot be had soon. LOCK TABLE sets no snapshot: one may be set behind it.
absl::StatusOr<bool> Migration::LockRewrittenTables(const std::string& begin) {
  if (rewritten_.empty()) return false;
  std::string names;
  for (const TableName& table : rewritten_) {
    names += (names.empty() ? "ONLY " : ", ONLY ") + QuoteName(table.schema, table.name);
  }
  WF_ASSIGN_OR_RETURN(Connection locker, Connection::Open({.conninfo = options_.source,
                                                           .application_name = "walferry " + options_.name,
                                                           .settings = {{"lock_timeout", kLockTimeout}},
                                                           .stop = stop_}));
  WF_RETURN_IF_ERROR(locker.Execute(begin).status());
  const absl::Status locked = locker.Execute("LOCK TABLE " + names + " IN ACCESS SHARE MODE").status();
  if (locked.ok()) rewritten_source_ = std::move(locker);
  if (IsUndefinedTable(locked)) {
    rewritten_.clear();  // Renamed or dropped since: begun anew, without them.
    return false;
  }
  if (!locked.ok() && !IsLockTimeout(locked)) return locked;
  return locked.ok();
}

}  // namespace walferry
