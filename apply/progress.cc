// Tested by tests/apply/lane_progress_test.cc.
#include "apply/progress.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

namespace walferry {

Progress::Progress(int lanes, Lsn confirmed)
    : lanes_(static_cast<std::size_t>(lanes)),
      confirmed_(confirmed),
      fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

Progress::~Progress() {
  if (fd_ >= 0) close(fd_);
}

void Progress::Signal() {
  ++changes_;
  changed_.SignalAll();
  const std::uint64_t one = 1;
  // Fails only when it is readable already.
  [[maybe_unused]] const ssize_t written = write(fd_, &one, sizeof one);
}

void Progress::DrainWakeups() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(fd_, &count, sizeof count);
}

void Progress::AddLane(Lsn position) {
  const absl::MutexLock lock(&mutex_);
  lanes_.push_back(position);
}

void Progress::Pushed(Lsn end) {
  const absl::MutexLock lock(&mutex_);
  pushed_ = std::max(pushed_, end);
}

void Progress::Idle(Lsn wal_end) {
  const absl::MutexLock lock(&mutex_);
  if (wal_end <= idle_) return;
  idle_ = wal_end;
  ++changes_;
  changed_.SignalAll();
}

void Progress::BeginRestart() {
  const absl::MutexLock lock(&mutex_);
  wants_restart_ = false;
}

void Progress::Restarted(Lsn position) {
  const absl::MutexLock lock(&mutex_);
  pushed_ = position;
  idle_ = {};
}

void Progress::Applied(int lane, Lsn position) {
  const absl::MutexLock lock(&mutex_);
  lanes_[static_cast<std::size_t>(lane)] = position;
  Signal();
}

void Progress::WantRestart() {
  const absl::MutexLock lock(&mutex_);
  wants_restart_ = true;
  Signal();
}

void Progress::Fail(absl::Status status) {
  const absl::MutexLock lock(&mutex_);
  if (status_.ok()) status_ = std::move(status);
  Signal();
}

Progress::Confirmable Progress::ConfirmableNow() const {
  const Lsn applied = *std::min_element(lanes_.begin(), lanes_.end());
  return {applied, applied >= pushed_ ? std::max(applied, idle_) : applied};
}

Progress::Confirmable Progress::confirmable() const {
  const absl::MutexLock lock(&mutex_);
  return ConfirmableNow();
}

void Progress::Confirmed(const Confirmable& confirmed) {
  const absl::MutexLock lock(&mutex_);
  fenced_ = std::max(fenced_, confirmed.applied);
  confirmed_ = std::max(confirmed_, confirmed.lsn);
  Signal();
}

SinkProgress Progress::sink_progress() const {
  const absl::MutexLock lock(&mutex_);
  return {*std::min_element(lanes_.begin(), lanes_.end()), confirmed_};
}

std::vector<Lsn> Progress::positions() const {
  const absl::MutexLock lock(&mutex_);
  return lanes_;
}

Lsn Progress::pushed() const {
  const absl::MutexLock lock(&mutex_);
  return pushed_;
}

Lsn Progress::fenced() const {
  const absl::MutexLock lock(&mutex_);
  return fenced_;
}

bool Progress::wants_restart() const {
  const absl::MutexLock lock(&mutex_);
  return wants_restart_;
}

absl::Status Progress::status() const {
  const absl::MutexLock lock(&mutex_);
  return status_;
}

void Progress::WaitForChange(absl::Time deadline) {
  const absl::MutexLock lock(&mutex_);
  while (changes_ == changes_seen_ && !changed_.WaitWithDeadline(&mutex_, deadline)) {
  }
  changes_seen_ = changes_;
}

void Progress::Wake() {
  const absl::MutexLock lock(&mutex_);
  ++changes_;
  changed_.SignalAll();
}

}  // namespace walferry
