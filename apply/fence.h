// The durability fence: a thread with a connection of its own that commits synchronously now and then,
// records on the target what may be confirmed to the source together with the tables' counters, and only then
// lets it be confirmed.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "apply/applier.h"
#include "apply/position.h"
#include "apply/progress.h"
#include "apply/tally.h"
#include "stream/backoff.h"

namespace walferry {

class Fence {
 public:
  // lost: called when the target turns out not to stand where the lanes said. options, progress, tally and
  // abort outlive the fence.
  Fence(const ApplierOptions& options, Progress& progress, Tally& tally, const StopSignal& abort,
        std::function<void()> lost);
  ~Fence();
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

  absl::Status Open();
  void StartThread();

  // The next one is due now. Any thread.
  void Hurry();
  // Ends the thread after one more fence for all that is applied; its outcome. Does not begin anything new
  // after `deadline`.
  absl::Status Finish(absl::Time deadline);
  // Ends the thread; soon, where `abort` was requested.
  void Join();

 private:
  void Run();
  // When the next one is to be made; InfiniteFuture: there is nothing to do.
  absl::Time NextDue() ABSL_LOCKS_EXCLUDED(mutex_);
  bool Outstanding() const;
  void FinishRun() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CommitOne();
  void Retry(const absl::Status& error);

  const ApplierOptions& options_;
  Progress& progress_;
  Tally& tally_;
  const StopSignal& abort_;
  const std::function<void()> lost_;

  // Of the thread.
  std::optional<Connection> connection_;
  absl::Time last_ = absl::InfinitePast();
  absl::Time not_before_ = absl::InfinitePast();
  absl::Time failing_since_ = absl::InfiniteFuture();
  Progress::Confirmable fenced_;
  Backoff backoff_;

  absl::Mutex mutex_;
  bool hurry_ ABSL_GUARDED_BY(mutex_) = false;
  bool quit_ ABSL_GUARDED_BY(mutex_) = false;
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> finished_ ABSL_GUARDED_BY(mutex_);
  absl::CondVar changed_;
  std::thread thread_;
};

}  // namespace walferry
