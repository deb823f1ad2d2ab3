// One worker of a table copy: a connection on each side, one range at a time, each range in one target
// transaction.
#pragma once

#include <optional>

#include "apply/copy_plan.h"
#include "apply/state.h"
#include "apply/table_copy.h"
#include "stream/connection.h"

namespace walferry {

// Not thread-safe: each belongs to one thread. Options, progress and stop must outlive it.
class CopyWorker {
 public:
  CopyWorker(const TableCopyOptions& options, TableCopyProgress& progress, const StopSignal& stop)
      : options_(options), progress_(progress), stop_(stop) {}

  // Before the first range of a table: empties what an earlier run left and records that the copy has begun.
  absl::Status BeginTable(const TableCopyPlan& plan);

  // Copies a range and commits it. Lost connections are opened again and the range is copied anew; whether a
  // COMMIT whose answer was lost took place is read back from the state.
  absl::StatusOr<CopiedRange> CopyRange(const TableCopyPlan& plan, std::size_t range);

 private:
  absl::Status ConnectTarget(const TableCopyPlan& plan);
  absl::Status ConnectSource();
  absl::Status TryBeginTable(const TableCopyPlan& plan);
  absl::Status EmptyTable(const TableCopyPlan& plan);
  absl::Status TryRange(const TableCopyPlan& plan, CopiedRange& copied);
  absl::Status CopyRows(const TableCopyPlan& plan, CopiedRange& copied);
  absl::Status CopyRowCount(const TableCopyPlan& plan, CopiedRange& copied);
  absl::Status CommitRange(const TableCopyPlan& plan, const CopiedRange& copied);
  // How much of the range at hand progress is to show.
  void Tell(std::int64_t bytes);
  // Everything that failed leaves its connections in an unknown state: they are opened again.
  absl::Status DropConnectionsUnlessOk(const absl::Status& status);
  bool keeps_state() const { return !options_.migration.empty(); }

  const TableCopyOptions& options_;
  TableCopyProgress& progress_;
  const StopSignal& stop_;
  std::optional<Connection> source_;
  std::optional<Connection> target_;
  std::int64_t told_bytes_ = 0;
  // The range whose COMMIT was sent and not answered.
  std::optional<CopiedRange> unanswered_;
};

}  // namespace walferry
