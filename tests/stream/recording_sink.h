// A sink that keeps what it was given, as text, and says about its progress what a test wants it to.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "stream/sink.h"
#include "tests/stream/event_text.h"

namespace walferry {

class RecordingSink final : public SegmentSink {
 public:
  RecordingSink() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~RecordingSink() override { close(fd_); }

  // Keeps the segments, and so their share of the memory budget, until told otherwise; confirms nothing
  // meanwhile.
  void Hold(bool hold) {
    {
      absl::MutexLock lock(&mutex_);
      hold_ = hold;
      if (!hold) held_.clear();
      if (!hold && confirms_) progress_.confirmed = std::max(progress_.confirmed, progress_.applied);
    }
    Wake();
  }
  // Whether what is applied is confirmed, too, at once.
  void Confirm(bool confirms) {
    {
      absl::MutexLock lock(&mutex_);
      confirms_ = confirms;
      if (confirms && !hold_) progress_.confirmed = progress_.applied;
    }
    Wake();
  }
  // Counts changes without keeping their texts.
  void CountOnly() {
    absl::MutexLock lock(&mutex_);
    keeps_texts_ = false;
  }
  void Fail(absl::Status status) {
    {
      absl::MutexLock lock(&mutex_);
      status_ = std::move(status);
    }
    Wake();
  }
  // As after a loss on the target: everything from `position` on is wanted again.
  void GoBackTo(Lsn position, std::vector<std::string> changes) {
    {
      absl::MutexLock lock(&mutex_);
      position_ = position;
      changes_ = std::move(changes);
      wants_restart_ = true;
    }
    Wake();
  }
  void SetConfirmed(Lsn confirmed) {
    absl::MutexLock lock(&mutex_);
    progress_.confirmed = confirmed;
  }
  void SetPosition(Lsn position) {
    absl::MutexLock lock(&mutex_);
    position_ = position;
  }

  // Changes of whole transactions, in the order of their arrival.
  std::vector<std::string> changes() const {
    absl::MutexLock lock(&mutex_);
    return changes_;
  }
  std::size_t change_count() const {
    absl::MutexLock lock(&mutex_);
    return change_count_;
  }
  std::vector<Lsn> commits() const {
    absl::MutexLock lock(&mutex_);
    return commits_;
  }
  Lsn idle() const {
    absl::MutexLock lock(&mutex_);
    return idle_;
  }
  int restarts() const {
    absl::MutexLock lock(&mutex_);
    return restarts_;
  }
  std::vector<std::string> complaints() const {
    absl::MutexLock lock(&mutex_);
    return complaints_;
  }
  std::size_t held_segments() const {
    absl::MutexLock lock(&mutex_);
    return held_.size();
  }

  absl::StatusOr<Lsn> Restart() override {
    absl::MutexLock lock(&mutex_);
    ++restarts_;
    unfinished_.clear();
    in_transaction_ = false;
    wants_restart_ = false;
    held_.clear();
    return position_;
  }
  void Push(Segment segment) override {
    {
      absl::MutexLock lock(&mutex_);
      if (wants_restart_) return;
      for (const Event& event : segment.events) Take(event, segment);
      if (hold_) held_.push_back(std::move(segment));
    }
    Wake();
  }
  void Idle(Lsn wal_end) override {
    {
      absl::MutexLock lock(&mutex_);
      if (in_transaction_) complaints_.push_back("idle inside a transaction");
      idle_ = wal_end;
      Advance(wal_end);
    }
    Wake();
  }
  void HurryConfirmation() override {}
  SinkProgress progress() const override {
    absl::MutexLock lock(&mutex_);
    return progress_;
  }
  bool wants_restart() const override {
    absl::MutexLock lock(&mutex_);
    return wants_restart_;
  }
  absl::Status status() const override {
    absl::MutexLock lock(&mutex_);
    return status_;
  }
  int fd() const override { return fd_; }
  void DrainWakeups() override {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(fd_, &count, sizeof count);
  }

 private:
  void Wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t put = write(fd_, &one, sizeof one);
  }

  void Take(const Event& event, const Segment& segment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if ((event.kind == EventKind::kBegin) == in_transaction_)
      complaints_.push_back(EventText(event, segment));
    if (event.kind == EventKind::kBegin) {
      in_transaction_ = true;
      if (event.lsn < position_) complaints_.push_back("sent again: " + EventText(event, segment));
    } else if (event.kind == EventKind::kCommit) {
      in_transaction_ = false;
      if (event.lsn <= position_) complaints_.push_back("out of order: " + EventText(event, segment));
      position_ = event.lsn;
      commits_.push_back(event.lsn);
      changes_.insert(changes_.end(), unfinished_.begin(), unfinished_.end());
      unfinished_.clear();
      Advance(event.lsn);
    } else {
      ++change_count_;
      if (keeps_texts_) unfinished_.push_back(EventText(event, segment));
    }
  }

  void Advance(Lsn lsn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    progress_.applied = std::max(progress_.applied, lsn);
    if (confirms_ && !hold_) progress_.confirmed = progress_.applied;
  }

  const int fd_;
  mutable absl::Mutex mutex_;
  bool hold_ ABSL_GUARDED_BY(mutex_) = false;
  bool confirms_ ABSL_GUARDED_BY(mutex_) = true;
  bool keeps_texts_ ABSL_GUARDED_BY(mutex_) = true;
  bool in_transaction_ ABSL_GUARDED_BY(mutex_) = false;
  bool wants_restart_ ABSL_GUARDED_BY(mutex_) = false;
  int restarts_ ABSL_GUARDED_BY(mutex_) = 0;
  Lsn position_ ABSL_GUARDED_BY(mutex_);
  Lsn idle_ ABSL_GUARDED_BY(mutex_);
  SinkProgress progress_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::size_t change_count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::string> unfinished_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> changes_ ABSL_GUARDED_BY(mutex_);
  std::vector<Lsn> commits_ ABSL_GUARDED_BY(mutex_);
  std::vector<Segment> held_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> complaints_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace walferry
