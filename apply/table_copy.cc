// Tested by tests/apply/table_copy_test.cc.
#include "apply/table_copy.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "apply/copy_plan.h"
#include "apply/copy_worker.h"
#include "apply/position.h"
#include "apply/retry.h"
#include "apply/workers.h"
#include "stream/lock_retry.h"
#include "stream/session_settings.h"
#include "stream/snapshot.h"

namespace walferry {
namespace {

// A CHECK may call a function that reads another table, whose rows come later: a table that is refused by one
// is tried again after the others.
bool IsRefusedByCheck(const absl::Status& status) {
  return SqlstateOf(status) == "23514";
}

// One pass over the tables that are not done: tasks, and the workers that take ranges of them.
class CopyPass {
 public:
  // `together`: small tables share a transaction.
  CopyPass(const TableCopyOptions& options, std::vector<TableCopyPlan> plans, bool together,
           TableCopyProgress& progress, const std::function<void(const TableRecord&)>& table_done)
      : options_(options), plans_(std::move(plans)), progress_(progress), table_done_(table_done) {
    for (CopyTask& task : together ? GatherTasks(plans_, options_.jobs) : SingleTasks(plans_)) {
      parts_ += task.ranges;
      tasks_.push_back(std::make_unique<Task>(std::move(task)));
    }
  }

  // Ends the workers when `stop` is requested or one of them failed, and returns the first error.
  absl::Status Run(const StopSignal& stop);

  // After Run(): why a table was left for the next pass; OK where none was.
  absl::Status left_over() const {
    const absl::MutexLock lock(&tasks_mutex_);
    return left_over_;
  }

 private:
  struct Task {
    explicit Task(CopyTask made) : plan(std::move(made)) {}
    const CopyTask plan;
    // Guarded by tasks_mutex_.
    std::size_t next_range = 0;
    int workers = 0;
    absl::Mutex mutex;
    bool begun ABSL_GUARDED_BY(mutex) = false;
    std::size_t ranges_done ABSL_GUARDED_BY(mutex) = 0;
    CopyWorker::Copied copied ABSL_GUARDED_BY(mutex);  // Of a table that is cut.
  };
  struct Part {
    Task* task = nullptr;
    std::size_t range = 0;
  };

  absl::Status DoParts(const StopSignal& halt);
  std::optional<Part> Take();
  void Leave(Task& task);
  void LeaveOver(Task& task, const absl::Status& why);
  absl::Status CopyPart(CopyWorker& worker, const Part& part);
  absl::Status BeginTable(CopyWorker& worker, Task& task);
  void PartDone(Task& task, const std::vector<CopyWorker::Copied>& copied);
  void TableDone(std::size_t table, const CopyWorker::Copied& copied);

  const TableCopyOptions& options_;
  const std::vector<TableCopyPlan> plans_;
  TableCopyProgress& progress_;
  const std::function<void(const TableRecord&)>& table_done_;
  std::size_t parts_ = 0;
  mutable absl::Mutex tasks_mutex_;
  absl::Status left_over_ ABSL_GUARDED_BY(tasks_mutex_);
  std::vector<std::unique_ptr<Task>> tasks_;
  absl::Mutex table_done_mutex_;
};

absl::Status CopyPass::Run(const StopSignal& stop) {
  const int jobs = options_.begun_source != nullptr ? 1 : options_.jobs;
  const int workers = std::min(std::max(1, jobs), static_cast<int>(parts_));
  return RunWorkers(workers, stop, [this](const StopSignal& halt) { return DoParts(halt); });
}

absl::Status CopyPass::DoParts(const StopSignal& halt) {
  CopyWorker worker(options_, progress_, halt);
  if (options_.begun_source != nullptr && options_.begun_source->has_value()) {
    worker.TakeSource(*std::exchange(*options_.begun_source, std::nullopt));
  }
  while (const std::optional<Part> part = Take()) {
    if (halt.requested()) return absl::CancelledError("stopped");
    const absl::Status copied = CopyPart(worker, *part);
    if (IsRefusedByCheck(copied)) {
      LeaveOver(*part->task, copied);
    } else {
      WF_RETURN_IF_ERROR(copied);
    }
    Leave(*part->task);
  }
  return absl::OkStatus();
}

// Where the most is left for each worker: the largest first, and workers stay out of each other's tables as
// long as there are others.
std::optional<CopyPass::Part> CopyPass::Take() {
  const absl::MutexLock lock(&tasks_mutex_);
  Task* best = nullptr;
  double best_bytes = -1;
  for (const std::unique_ptr<Task>& task : tasks_) {
    const std::size_t ranges_left = task->plan.ranges - task->next_range;
    if (ranges_left == 0) continue;
    const double bytes = static_cast<double>(task->plan.bytes) * static_cast<double>(ranges_left) /
                         static_cast<double>(task->plan.ranges) / (task->workers + 1);
    if (bytes <= best_bytes) continue;
    best = task.get();
    best_bytes = bytes;
  }
  if (best == nullptr) return std::nullopt;
  ++best->workers;
  return Part{best, best->next_range++};
}

void CopyPass::Leave(Task& task) {
  const absl::MutexLock lock(&tasks_mutex_);
  --task.workers;
}

void CopyPass::LeaveOver(Task& task, const absl::Status& why) {
  const absl::MutexLock lock(&tasks_mutex_);
  task.next_range = task.plan.ranges;
  left_over_ = why;
}

absl::Status CopyPass::CopyPart(CopyWorker& worker, const Part& part) {
  if (part.task->plan.ranges > 1) WF_RETURN_IF_ERROR(BeginTable(worker, *part.task));
  CopyWorker::Work work{.tables = {}, .range = part.range};
  for (const std::size_t table : part.task->plan.tables) work.tables.push_back(&plans_[table]);
  WF_ASSIGN_OR_RETURN(const std::vector<CopyWorker::Copied> copied, worker.Copy(work));
  PartDone(*part.task, copied);
  return absl::OkStatus();
}

absl::Status CopyPass::BeginTable(CopyWorker& worker, Task& task) {
  const absl::MutexLock lock(&task.mutex);
  if (task.begun) return absl::OkStatus();
  WF_RETURN_IF_ERROR(worker.BeginTable(plans_[task.plan.tables.front()]));
  task.begun = true;
  return absl::OkStatus();
}

void CopyPass::PartDone(Task& task, const std::vector<CopyWorker::Copied>& copied) {
  progress_.bytes_expected_done += task.plan.bytes / static_cast<std::int64_t>(task.plan.ranges);
  if (task.plan.ranges == 1) {
    for (std::size_t i = 0; i < copied.size(); ++i) TableDone(task.plan.tables[i], copied[i]);
    return;
  }
  CopyWorker::Copied sum;
  {
    const absl::MutexLock lock(&task.mutex);
    task.copied.rows += copied.front().rows;
    task.copied.bytes += copied.front().bytes;
    if (++task.ranges_done < task.plan.ranges) return;
    sum = task.copied;
  }
  TableDone(task.plan.tables.front(), sum);
}

void CopyPass::TableDone(std::size_t table, const CopyWorker::Copied& copied) {
  TableRecord record = plans_[table].record;
  record.rows = copied.rows;
  record.bytes = copied.bytes;
  record.phase = TablePhase::kCopied;
  record.position = options_.position;
  ++progress_.tables_done;
  const absl::MutexLock lock(&table_done_mutex_);
  if (table_done_) table_done_(record);
}

absl::StatusOr<std::vector<TableCopyPlan>> MakePlans(const TableCopyOptions& options,
                                                     const std::vector<TableRecord>& tables,
                                                     const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Connection target, Connection::Open({.conninfo = options.target,
                                                           .application_name = options.application_name,
                                                           .settings = {},
                                                           .stop = &stop}));
  if (options.begun_source != nullptr && options.begun_source->has_value()) {
    auto plans = PlanCopy(**options.begun_source, target, tables, options);
    if (!plans.ok()) options.begun_source->reset();
    return plans;
  }
  WF_ASSIGN_OR_RETURN(Connection source, Connection::Open({.conninfo = options.source,
                                                           .application_name = options.application_name,
                                                           .settings = {{"lock_timeout", kSourceLockTimeout}},
                                                           .stop = &stop}));
  WF_RETURN_IF_ERROR(BeginInSnapshot(source, options.snapshot));
  auto plans = PlanCopy(source, target, tables, options);
  if (plans.ok()) return plans;
  std::vector<TableName> names;
  for (const TableRecord& record : tables) names.push_back(record.table);
  return NameLockHolder(source, names, plans.status());
}

// Their sizes are asked for, which waits for locks on the source.
absl::StatusOr<std::vector<TableCopyPlan>> MakePlansWithRetry(const TableCopyOptions& options,
                                                              const std::vector<TableRecord>& tables,
                                                              const StopSignal& stop) {
  std::vector<TableCopyPlan> plans;
  bool is_told = false;
  const absl::Status made = RetryFor(options.retry_for, stop, [&]() -> absl::Status {
    absl::StatusOr<std::vector<TableCopyPlan>> tried = MakePlans(options, tables, stop);
    if (tried.ok()) {
      plans = *std::move(tried);
    } else if (IsLockNotAvailable(tried.status()) && options.waiting && !std::exchange(is_told, true)) {
      options.waiting(std::string(MessageOf(tried.status())) + ": trying again");
    }
    return tried.status();
  });
  WF_RETURN_IF_ERROR(made);
  return plans;
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
    if (AwaitsCopy(found->second.phase)) left.push_back(found->second);
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
  bool together = true;
  do {
    WF_ASSIGN_OR_RETURN(std::vector<TableCopyPlan> plans, MakePlansWithRetry(options, left, stop));
    ShowPlans(tables, plans, progress);
    CopyPass pass(options, std::move(plans), together, progress, table_done);
    WF_RETURN_IF_ERROR(pass.Run(stop));
    if (options.migration.empty()) return pass.left_over();
    const std::size_t left_before = left.size();
    WF_RETURN_IF_ERROR(RetryFor(options.retry_for, stop, [&]() -> absl::Status {
      WF_ASSIGN_OR_RETURN(left, NotCopied(options, tables, stop));
      return absl::OkStatus();
    }));
    const bool nothing_came = left.size() == left_before && !together;
    if (nothing_came && !pass.left_over().ok()) return pass.left_over();
    together = pass.left_over().ok();
  } while (!left.empty());
  return absl::OkStatus();
}

}  // namespace walferry
