// Tested by tests/apply/table_copy_test.cc and schema_test.cc.
#include "apply/workers.h"

#include <poll.h>

#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace walferry {
namespace {

class WorkerGroup {
 public:
  explicit WorkerGroup(int count) : working_(count) {}

  StopSignal& halt() { return halt_; }
  const StopSignal& finished() const { return finished_; }

  void Leave(const absl::Status& status) {
    const absl::MutexLock lock(&mutex_);
    if (!status.ok()) {
      error_.Update(status);
      halt_.Request();
    }
    if (--working_ == 0) finished_.Request();
  }

  absl::Status error() {
    const absl::MutexLock lock(&mutex_);
    return error_;
  }

 private:
  StopSignal halt_;
  StopSignal finished_;  // The last one has left.
  absl::Mutex mutex_;
  int working_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::Status RunWorkers(int count, const StopSignal& stop,
                        absl::FunctionRef<absl::Status(const StopSignal& halt)> work) {
  if (count <= 0) return absl::OkStatus();
  WorkerGroup group(count);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&group, work] { group.Leave(work(group.halt())); });
  }
  pollfd events[] = {{stop.fd(), POLLIN, 0}, {group.finished().fd(), POLLIN, 0}};
  while (poll(events, 2, -1) < 0) {
  }
  if (stop.requested()) group.halt().Request();
  for (std::thread& thread : threads) thread.join();
  return group.error();
}

}  // namespace walferry
