// One worker of a table copy: a connection on each side; one range, or some whole tables, in one target
// transaction at a time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apply/copy_plan.h"
#include "apply/state.h"
#include "apply/table_copy.h"
#include "stream/connection.h"

namespace walferry {

// An error of a transaction on the source: where a lock was not to be had in time, with who holds it, as
// kUnavailable; any other as it is. Ends the transaction.
absl::Status NameLockHolder(Connection& source, const std::vector<TableName>& tables,
                            const absl::Status& status);

// Not thread-safe: each belongs to one thread. Options, progress and stop must outlive it.
class CopyWorker {
 public:
  CopyWorker(const TableCopyOptions& options, TableCopyProgress& progress, const StopSignal& stop)
      : options_(options), progress_(progress), stop_(stop) {}

  // A connection that is in a transaction under the snapshot already (TableCopyOptions::begun_source).
  void TakeSource(Connection begun) {
    source_ = std::move(begun);
    source_is_begun_ = true;
  }

  // Before the first range of a table that is cut: empties what an earlier run left and records that the copy
  // has begun. A table that is copied whole goes from nothing to done in one transaction.
  absl::Status BeginTable(const TableCopyPlan& plan);

  // One range of one table, or tables that are copied whole.
  struct Work {
    std::vector<const TableCopyPlan*> tables;
    std::size_t range = 0;
  };
  struct Copied {
    std::int64_t rows = 0;
    std::int64_t bytes = 0;
  };
  // Copies and commits; what came of each table. Lost connections are opened again and all of it is copied
  // anew; whether a COMMIT whose answer was lost took place is read back from the state.
  absl::StatusOr<std::vector<Copied>> Copy(const Work& work);

 private:
  absl::Status ConnectTarget(const TableCopyPlan& plan);
  absl::Status BeginOnSource();
  absl::Status TryBeginTable(const TableCopyPlan& plan);
  absl::Status LockSource(const std::vector<const TableCopyPlan*>& tables);
  absl::Status TryCopy(const Work& work, std::vector<Copied>& copied);
  absl::StatusOr<bool> IsDone(const Work& work);
  // In the transaction of the rows: whether they may go in frozen.
  absl::StatusOr<bool> PrepareWholeTable(const TableCopyPlan& plan);
  absl::StatusOr<bool> EmptyTable(const TableCopyPlan& plan);
  absl::StatusOr<bool> TruncateIfEmpty(const TableCopyPlan& plan);
  absl::StatusOr<bool> TryBehindSavepoint(const std::string& sql);
  absl::StatusOr<Copied> CopyTable(const TableCopyPlan& plan, std::size_t range);
  absl::StatusOr<Copied> CopyRows(const TableCopyPlan& plan, std::size_t range, bool freeze);
  absl::StatusOr<Copied> CopyRowCount(const TableCopyPlan& plan);
  absl::Status Finish(const Work& work, const std::vector<Copied>& copied);
  absl::Status Commit(const Work& work, const std::vector<Copied>& copied);
  // How much of the work at hand progress is to show.
  void Tell(std::int64_t bytes);
  // Everything that failed leaves its connections in an unknown state: they are opened again.
  absl::Status DropConnectionsUnlessOk(const absl::Status& status);
  bool keeps_state() const { return !options_.migration.empty(); }

  const TableCopyOptions& options_;
  TableCopyProgress& progress_;
  const StopSignal& stop_;
  std::optional<Connection> source_;
  bool source_is_begun_ = false;
  bool lock_is_told_ = false;
  std::optional<Connection> target_;
  std::int64_t done_bytes_ = 0;  // Of the work at hand.
  std::int64_t told_bytes_ = 0;
  // What came of the work whose COMMIT was sent and not answered.
  std::optional<std::vector<Copied>> unanswered_;
};

}  // namespace walferry
