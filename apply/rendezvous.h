// Where the lanes wait for each other before a transaction that one of them, the first, applies for all.
// Thread-safe; each lane calls for itself.
#pragma once

#include <functional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "decoder/lsn.h"

namespace walferry {

class Rendezvous {
 public:
  explicit Rendezvous(int lanes) : lanes_(static_cast<std::size_t>(lanes)) {}

  // One more. Nobody waits yet.
  void AddLane();

  enum class Outcome {
    kMet,
    kInterrupted,  // This lane has not been waiting any more since before all had come.
    kBroken,       // A lane will not come, or the first one has not brought it to an end.
    kAstray        // Lanes wait before different transactions, which must not be.
  };

  // The lane stands at `position`, and everything before the transaction that commits at `commit_lsn` is
  // behind it. Returns at once.
  void Arrive(int lane, Lsn commit_lsn, Lsn position);
  // Waits until all lanes have come; for the first lane that is all, and Finish() or Break() has to follow.
  // The others wait on for that. interrupted: asked now and then until all have come; must not call back.
  Outcome Await(int lane, const std::function<bool()>& interrupted);
  // Of the first lane: where each lane stood. Between kMet and Finish().
  std::vector<Lsn> positions() const;
  // The first lane has applied it, and every lane stands at `end` now.
  void Finish(Lsn end);
  // Of the others, after kMet.
  Lsn end() const;

  // The caller has stopped in the middle of what was pushed: whoever waits, or comes, goes on without.
  void Break();
  // All lanes begin anew.
  void Reset();

 private:
  struct Place {
    bool here = false;
    Lsn commit_lsn;
    Lsn position;
    std::uint64_t meeting = 0;  // The number that finished_ had when it came.
  };
  bool AllHaveCome() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool SomeAreAstray() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendAway() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  std::vector<Place> lanes_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t finished_ ABSL_GUARDED_BY(mutex_) = 0;  // Meetings.
  Lsn end_ ABSL_GUARDED_BY(mutex_);
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace walferry
