// Tested by tests/apply/table_copy_test.cc.
#include "apply/table_copy.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "apply/copy_plan.h"
#include "apply/copy_worker.h"
#include "apply/position.h"
#include "apply/retry.h"
#include "apply/workers.h"
#include "stream/snapshot.h"

namespace walferry {
namespace {

// One pass over the tables that are not done: a queue of ranges and the workers that empty it.
class CopyPass {
 public:
  CopyPass(const TableCopyOptions& options, std::vector<TableCopyPlan> plans, TableCopyProgress& progress,
           const std::function<void(const TableRecord&)>& table_done)
      : options_(options), plans_(std::move(plans)), progress_(progress), table_done_(table_done) {
    for (std::size_t table = 0; table < plans_.size(); ++table) {
      tables_.push_back(std::make_unique<TableWork>(plans_[table].ranges.size()));
      const auto ranges = static_cast<std::int64_t>(plans_[table].ranges.size());
      for (std::int64_t range = 0; range < ranges; ++range) {
        parts_.push_back({table, static_cast<std::size_t>(range), plans_[table].bytes / ranges});
      }
    }
    std::stable_sort(parts_.begin(), parts_.end(),
                     [](const Part& a, const Part& b) { return a.bytes > b.bytes; });
  }

  // Ends the workers when `stop` is requested or one of them failed, and returns the first error.
  absl::Status Run(const StopSignal& stop);

 private:
  struct Part {
    std::size_t table = 0;
    std::size_t range = 0;
    std::int64_t bytes = 0;
  };
  struct TableWork {
    explicit TableWork(std::size_t ranges) : ranges_left(ranges) {}
    absl::Mutex mutex;
    bool begun ABSL_GUARDED_BY(mutex) = false;
    std::size_t ranges_left ABSL_GUARDED_BY(mutex);
    std::int64_t rows ABSL_GUARDED_BY(mutex) = 0;
    std::int64_t bytes ABSL_GUARDED_BY(mutex) = 0;
  };

  absl::Status Work(const StopSignal& halt);
  std::optional<Part> Take();
  absl::Status CopyPart(CopyWorker& worker, const Part& part);
  absl::Status BeginTable(CopyWorker& worker, std::size_t table);
  void PartDone(const Part& part, const CopiedRange& copied);

  const TableCopyOptions& options_;
  const std::vector<TableCopyPlan> plans_;
  TableCopyProgress& progress_;
  const std::function<void(const TableRecord&)>& table_done_;
  std::vector<std::unique_ptr<TableWork>> tables_;
  std::vector<Part> parts_;
  std::atomic<std::size_t> next_part_ = 0;
  absl::Mutex table_done_mutex_;
};

absl::Status CopyPass::Run(const StopSignal& stop) {
  const int workers = std::min(std::max(1, options_.jobs), static_cast<int>(parts_.size()));
  return RunWorkers(workers, stop, [this](const StopSignal& halt) { return Work(halt); });
}

absl::Status CopyPass::Work(const StopSignal& halt) {
  CopyWorker worker(options_, progress_, halt);
  while (const std::optional<Part> part = Take()) {
    if (halt.requested()) return absl::CancelledError("stopped");
    WF_RETURN_IF_ERROR(CopyPart(worker, *part));
  }
  return absl::OkStatus();
}

std::optional<CopyPass::Part> CopyPass::Take() {
  const std::size_t part = next_part_++;
  if (part >= parts_.size()) return std::nullopt;
  return parts_[part];
}

absl::Status CopyPass::CopyPart(CopyWorker& worker, const Part& part) {
  WF_RETURN_IF_ERROR(BeginTable(worker, part.table));
  WF_ASSIGN_OR_RETURN(const CopiedRange copied, worker.CopyRange(plans_[part.table], part.range));
  PartDone(part, copied);
  return absl::OkStatus();
}

absl::Status CopyPass::BeginTable(CopyWorker& worker, std::size_t table) {
  TableWork& work = *tables_[table];
  const absl::MutexLock lock(&work.mutex);
  if (work.begun) return absl::OkStatus();
  WF_RETURN_IF_ERROR(worker.BeginTable(plans_[table]));
  work.begun = true;
  return absl::OkStatus();
}

void CopyPass::PartDone(const Part& part, const CopiedRange& copied) {
  progress_.bytes_expected_done += part.bytes;
  TableWork& work = *tables_[part.table];
  TableRecord record;
  {
    const absl::MutexLock lock(&work.mutex);
    work.rows += copied.rows;
    work.bytes += copied.bytes;
    if (--work.ranges_left > 0) return;
    record = plans_[part.table].record;
    record.rows = work.rows;
    record.bytes = work.bytes;
  }
  record.phase = TablePhase::kCopied;
  record.position = options_.position;
  ++progress_.tables_done;
  const absl::MutexLock lock(&table_done_mutex_);
  if (table_done_) table_done_(record);
}

absl::StatusOr<std::vector<TableCopyPlan>> MakePlans(const TableCopyOptions& options,
                                                     const std::vector<TableRecord>& tables,
                                                     const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Connection source, Connection::Open({.conninfo = options.source,
                                                           .application_name = options.application_name,
                                                           .settings = {},
                                                           .stop = &stop}));
  WF_ASSIGN_OR_RETURN(Connection target, Connection::Open({.conninfo = options.target,
                                                           .application_name = options.application_name,
                                                           .settings = {},
                                                           .stop = &stop}));
  WF_RETURN_IF_ERROR(BeginInSnapshot(source, options.snapshot));
  return PlanCopy(source, target, tables, options);
}

// The tables of `tables` that are not durably kCopied. Ranges are committed asynchronously: a target that
// crashed may have forgotten some that were answered, but only the newest, since its log keeps the order of
// commits. So a synchronous commit comes first, and whatever the state says after that, rows and records
// alike, is on disk.
absl::StatusOr<std::vector<TableRecord>> NotCopied(const TableCopyOptions& options,
                                                   const std::vector<TableRecord>& tables,
                                                   const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Connection target, Connection::Open({.conninfo = options.target,
                                                           .application_name = options.application_name,
                                                           .settings = {},
                                                           .stop = &stop}));
  WF_RETURN_IF_ERROR(CommitFence(target, options.migration, Lsn{}));
  WF_ASSIGN_OR_RETURN(std::vector<TableRecord> records, LoadTables(target, options.migration));
  std::map<TableName, TableRecord> by_name;
  for (TableRecord& record : records) by_name.emplace(record.table, std::move(record));
  std::vector<TableRecord> left;
  for (const TableRecord& wanted : tables) {
    const auto found = by_name.find(wanted.table);
    if (found == by_name.end()) {
      return Errorf(absl::StatusCode::kFailedPrecondition, "table %s is not part of migration \"%s\"",
                    wanted.table.ToString(), options.migration);
    }
    if (found->second.phase != TablePhase::kCopied) left.push_back(found->second);
  }
  return left;
}

// Counters for what is to be done in this pass; rows and bytes that passed stay counted.
void ShowPlans(const std::vector<TableRecord>& tables, const std::vector<TableCopyPlan>& plans,
               TableCopyProgress& progress) {
  std::int64_t bytes = progress.bytes_expected_done;
  for (const TableCopyPlan& plan : plans) bytes += plan.bytes;
  progress.bytes_expected = bytes;
  progress.tables_total = static_cast<std::int64_t>(tables.size());
  progress.tables_done = static_cast<std::int64_t>(tables.size() - plans.size());
}

}  // namespace

absl::Status CopyTables(const TableCopyOptions& options, const std::vector<TableRecord>& tables,
                        TableCopyProgress& progress, const StopSignal& stop,
                        std::function<void(const TableRecord&)> table_done) {
  std::vector<TableRecord> left = tables;
  do {
    std::vector<TableCopyPlan> plans;
    WF_RETURN_IF_ERROR(RetryFor(options.retry_for, stop, [&]() -> absl::Status {
      WF_ASSIGN_OR_RETURN(plans, MakePlans(options, left, stop));
      return absl::OkStatus();
    }));
    ShowPlans(tables, plans, progress);
    WF_RETURN_IF_ERROR(CopyPass(options, std::move(plans), progress, table_done).Run(stop));
    if (options.migration.empty()) return absl::OkStatus();
    WF_RETURN_IF_ERROR(RetryFor(options.retry_for, stop, [&]() -> absl::Status {
      WF_ASSIGN_OR_RETURN(left, NotCopied(options, tables, stop));
      return absl::OkStatus();
    }));
  } while (!left.empty());
  return absl::OkStatus();
}

}  // namespace walferry
