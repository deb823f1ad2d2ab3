// How far the target is, gathered from the lanes and the fence, and told to the source side. Thread-safe.
//
//   pushed >= applied (committed by all lanes) >= fenced (known durable); confirmed is what the source may be
//   told
//
// With nothing outstanding, confirmed may run ahead of applied: to the end of WAL that held nothing for us.
#pragma once

#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "decoder/lsn.h"
#include "stream/sink.h"

namespace walferry {

class Progress {
 public:
  // confirmed: by an earlier run.
  explicit Progress(int lanes, Lsn confirmed = {});
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // One more lane, at `position`.
  void AddLane(Lsn position);

  // From the source side.
  void Pushed(Lsn end);    // The end LSN of the last whole transaction pushed.
  void Idle(Lsn wal_end);  // Everything before was pushed, no transaction is open.
  void BeginRestart();     // The wish for one is being granted; the next wish counts again.
  // The stream begins again at `position`: what was pushed and not applied will be pushed again.
  void Restarted(Lsn position);

  // From the lanes.
  void Applied(int lane, Lsn position);  // May go back, after the target lost what was not durable.
  void WantRestart();
  void Fail(absl::Status status);  // The first one is kept.

  // From the fence.
  struct Confirmable {
    Lsn applied;  // Where every lane is at least.
    Lsn lsn;      // What may be confirmed once `applied` is durable.
  };
  Confirmable confirmable() const;
  void Confirmed(const Confirmable& confirmed);  // Durable and recorded.

  SinkProgress sink_progress() const;
  std::vector<Lsn> positions() const;  // By lane.
  Lsn pushed() const;
  Lsn fenced() const;
  bool wants_restart() const;
  absl::Status status() const;

  // Waits until there is something to confirm or fail about, or `deadline`; returns early at a Wake().
  void WaitForChange(absl::Time deadline);
  void Wake();

  int fd() const { return fd_; }
  void DrainWakeups();

 private:
  Confirmable ConfirmableNow() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Signal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  std::uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint64_t changes_seen_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Lsn> lanes_ ABSL_GUARDED_BY(mutex_);
  Lsn pushed_ ABSL_GUARDED_BY(mutex_);
  Lsn idle_ ABSL_GUARDED_BY(mutex_);
  Lsn fenced_ ABSL_GUARDED_BY(mutex_);
  Lsn confirmed_ ABSL_GUARDED_BY(mutex_);
  bool wants_restart_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  int fd_ = -1;
};

}  // namespace walferry
