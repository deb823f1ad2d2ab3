// Tested by tests/apply/applier_progress_test.cc.
#include "apply/fence.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "apply/position.h"

namespace walferry {
namespace {

// An idle source moves on by its own doing (checkpoints, other databases): no hurry to follow.
constexpr absl::Duration kIdleInterval = absl::Seconds(1);

}  // namespace

Fence::Fence(const ApplierOptions& options, Progress& progress, Tally& tally, const StopSignal& abort,
             std::function<void()> lost)
    : options_(options), progress_(progress), tally_(tally), abort_(abort), lost_(std::move(lost)) {}

Fence::~Fence() {
  Join();
}

void Fence::Join() {
  {
    const absl::MutexLock lock(&mutex_);
    quit_ = true;
  }
  progress_.Wake();
  if (thread_.joinable()) thread_.join();
}

absl::Status Fence::Open() {
  ConnectOptions options;
  options.conninfo = options_.target;
  options.application_name = options_.application_name;
  options.stop = &abort_;
  WF_ASSIGN_OR_RETURN(connection_, Connection::Open(options));
  return absl::OkStatus();
}

void Fence::StartThread() {
  thread_ = std::thread([this] { Run(); });
}

void Fence::Hurry() {
  {
    const absl::MutexLock lock(&mutex_);
    hurry_ = true;
  }
  progress_.Wake();
}

absl::Time Fence::NextDue() {
  const Progress::Confirmable now = progress_.confirmable();
  const bool applied = now.applied > fenced_.applied || tally_.has_unrecorded();
  absl::Time due = absl::InfiniteFuture();
  if (applied) {
    due = last_ + options_.fence_interval;
  } else if (now.lsn > fenced_.lsn) {
    due = last_ + std::max(options_.fence_interval, kIdleInterval);
  }
  const absl::MutexLock lock(&mutex_);
  if (due == absl::InfiniteFuture()) {
    hurry_ = false;
    return due;
  }
  return std::max(hurry_ ? absl::InfinitePast() : due, not_before_);
}

void Fence::Run() {
  while (true) {
    {
      const absl::MutexLock lock(&mutex_);
      if (quit_) return;
      if (finishing_) break;
    }
    const absl::Time due = NextDue();
    if (due > absl::Now()) {
      progress_.WaitForChange(due);
      continue;
    }
    if (absl::Status status = CommitOne(); !status.ok()) Retry(status);
  }
  FinishRun();
}

bool Fence::Outstanding() const {
  const Progress::Confirmable now = progress_.confirmable();
  return now.lsn > fenced_.lsn || now.applied > fenced_.applied || tally_.has_unrecorded();
}

void Fence::FinishRun() {
  absl::Status last = Outstanding() ? CommitOne() : absl::OkStatus();
  // The connection may have been lost while nothing was due. A target that is away is not waited for.
  if (IsRetryable(last)) last = CommitOne();
  const absl::MutexLock lock(&mutex_);
  finished_ = std::move(last);
  changed_.SignalAll();
}

absl::Status Fence::CommitOne() {
  {
    const absl::MutexLock lock(&mutex_);
    hurry_ = false;
  }
  if (!connection_ || !connection_->alive()) WF_RETURN_IF_ERROR(Open());
  const Progress::Confirmable now = progress_.confirmable();
  Confirmation confirmation;
  confirmation.migration = options_.migration;
  confirmation.applied = now.applied;
  confirmation.confirmed = now.lsn;
  confirmation.counters = tally_.TakeUnrecorded();
  last_ = absl::Now();
  if (absl::Status status = CommitConfirmation(*connection_, confirmation); !status.ok()) {
    tally_.PutBack(confirmation.counters);
    return status;
  }
  fenced_ = now;
  failing_since_ = absl::InfiniteFuture();
  backoff_.Reset();
  progress_.Confirmed(now);
  return absl::OkStatus();
}

void Fence::Retry(const absl::Status& error) {
  if (absl::IsCancelled(error)) {
    not_before_ = absl::InfiniteFuture();
    return;
  }
  not_before_ = absl::Now() + backoff_.Next();
  {
    // What was due stays due.
    const absl::MutexLock lock(&mutex_);
    hurry_ = true;
  }
  if (!IsRetryable(error) && absl::IsAborted(error)) return lost_();
  failing_since_ = std::min(failing_since_, absl::Now());
  if (!IsRetryable(error) || absl::Now() - failing_since_ > options_.retry_for) {
    not_before_ = absl::InfiniteFuture();
    progress_.Fail(Annotate(error, "recording the position on the target"));
  }
}

absl::Status Fence::Finish(absl::Time deadline) {
  {
    const absl::MutexLock lock(&mutex_);
    finishing_ = true;
  }
  progress_.Wake();
  const absl::MutexLock lock(&mutex_);
  while (!finished_ && absl::Now() < deadline) changed_.WaitWithDeadline(&mutex_, deadline);
  if (!finished_)
    return absl::UnavailableError("there was no time left to record the position on the target");
  return *finished_;
}

}  // namespace walferry
