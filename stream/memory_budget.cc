#include "stream/memory_budget.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace walferry {

MemoryBudget::MemoryBudget(std::size_t limit_bytes)
    : limit_bytes_(limit_bytes), fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

MemoryBudget::~MemoryBudget() {
  if (fd_ >= 0) close(fd_);
}

void MemoryBudget::Take(std::size_t bytes) {
  used_bytes_.fetch_add(bytes, std::memory_order_relaxed);
}

void MemoryBudget::Return(std::size_t bytes) {
  used_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  // Release: whoever takes the flag down in Drain() sees the bytes returned.
  if (signalled_.exchange(true, std::memory_order_acq_rel)) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(fd_, &one, sizeof(one));
}

void MemoryBudget::Drain() {
  // First the descriptor, then the flag: the other way round a return in between would be swallowed with the
  // flag up, and no later one would wake anybody.
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t taken = read(fd_, &count, sizeof(count));
  signalled_.exchange(false, std::memory_order_acq_rel);
}

}  // namespace walferry
