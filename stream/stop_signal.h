// "Please stop", as a flag and as a file descriptor to poll. Safe to request from a signal handler and any
// thread.
#pragma once

#include <atomic>

namespace walferry {

class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  void Request();  // Async-signal-safe.
  bool requested() const { return requested_.load(std::memory_order_acquire); }
  // Readable for good once requested. For poll() only.
  int fd() const { return fd_; }

 private:
  std::atomic<bool> requested_ = false;
  int fd_ = -1;
};

}  // namespace walferry
