// One budget in bytes for everything that waits between the source's socket and the target's: receive blocks,
// the index over them, transactions in progress. Taking never blocks and may overdraw by one piece (a single
// message may be larger than what is left); who takes looks at `exhausted()` first. Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>

namespace walferry {

class MemoryBudget {
 public:
  explicit MemoryBudget(std::size_t limit_bytes);

  void Take(std::size_t bytes);
  void Return(std::size_t bytes);
  bool exhausted() const { return used_bytes() >= limit_bytes_; }
  std::size_t used_bytes() const { return used_bytes_.load(std::memory_order_relaxed); }
  std::size_t limit_bytes() const { return limit_bytes_; }
  // Readable when bytes were returned since the last Drain(): wakes a receiver that waits for room.
  int fd() const { return fd_; }
  // Look at exhausted() after it, not before: a return that comes while it runs may not make fd() readable
  // again.
  void Drain();

  ~MemoryBudget();
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

 private:
  const std::size_t limit_bytes_;
  std::atomic<std::size_t> used_bytes_ = 0;
  // Saves the system call for all returns but the first since the last Drain().
  std::atomic<bool> signalled_ = false;
  int fd_ = -1;
};

}  // namespace walferry
