// The two things of this folder that wake a poll(): a request to stop, and memory given back.
#include <poll.h>

#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "stream/memory_budget.h"
#include "stream/stop_signal.h"

namespace walferry {
namespace {

bool Readable(int fd, int timeout_ms = 0) {
  pollfd descriptor{fd, POLLIN, 0};
  return poll(&descriptor, 1, timeout_ms) == 1;
}

TEST(StopSignalTest, StaysReadableOnceRequested) {
  StopSignal stop;
  EXPECT_FALSE(stop.requested());
  EXPECT_FALSE(Readable(stop.fd()));
  stop.Request();
  stop.Request();
  EXPECT_TRUE(stop.requested());
  EXPECT_TRUE(Readable(stop.fd()));
  EXPECT_TRUE(Readable(stop.fd()));
}

TEST(MemoryBudgetTest, CountsAndMayBeOverdrawn) {
  MemoryBudget budget(100);
  budget.Take(99);
  EXPECT_FALSE(budget.exhausted());
  budget.Take(50);
  EXPECT_TRUE(budget.exhausted());
  EXPECT_EQ(budget.used_bytes(), 149u);
  budget.Return(50);
  EXPECT_FALSE(budget.exhausted());
}

TEST(MemoryBudgetTest, AReturnWakesUntilDrained) {
  MemoryBudget budget(100);
  budget.Take(10);
  EXPECT_FALSE(Readable(budget.fd()));
  budget.Return(5);
  budget.Return(5);
  EXPECT_TRUE(Readable(budget.fd()));
  budget.Drain();
  EXPECT_FALSE(Readable(budget.fd()));
  budget.Take(1);
  budget.Return(1);
  EXPECT_TRUE(Readable(budget.fd()));
}

TEST(MemoryBudgetTest, AWaiterForRoomAlwaysWakes) {
  constexpr int kPieces = 20'000;
  MemoryBudget budget(1);
  std::atomic<int> returned = 0;
  std::atomic<int> taken = 0;
  std::thread returner([&] {
    while (returned < kPieces) {
      if (returned == taken) continue;
      budget.Return(1);
      ++returned;
    }
  });
  for (int i = 0; i < kPieces; ++i) {
    budget.Take(1);
    ++taken;
    while (budget.exhausted()) {
      ASSERT_TRUE(Readable(budget.fd(), 10'000)) << "piece " << i;
      budget.Drain();
    }
  }
  returner.join();
  EXPECT_EQ(budget.used_bytes(), 0u);
}

}  // namespace
}  // namespace walferry
