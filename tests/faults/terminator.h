// Ends connections of walferry, on both servers, at random moments.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "absl/synchronization/mutex.h"

namespace walferry {

class Terminator {
 public:
  Terminator(std::string source, std::string target, std::uint64_t seed);
  ~Terminator();  // Stop().
  Terminator(const Terminator&) = delete;
  Terminator& operator=(const Terminator&) = delete;

  void Stop();
  // While it is held, no connection is ended.
  absl::Mutex& mutex() { return mutex_; }
  int ended_on_source() const { return ended_on_source_; }
  int ended_on_target() const { return ended_on_target_; }

 private:
  void Run(std::uint64_t seed);

  const std::string source_;
  const std::string target_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> ended_on_source_ = 0;
  std::atomic<int> ended_on_target_ = 0;
  absl::Mutex mutex_;
  std::thread thread_;
};

}  // namespace walferry
