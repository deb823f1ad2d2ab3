#include "apply/progress.h"

#include <poll.h>

#include <thread>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace walferry {
namespace {

Lsn Confirmable(const Progress& progress) {
  return progress.confirmable().lsn;
}

TEST(Progress, AppliedIsTheSlowestLane) {
  Progress progress(2);
  progress.Applied(0, Lsn{50});
  EXPECT_EQ(progress.sink_progress().applied, Lsn{});
  progress.Applied(1, Lsn{20});
  EXPECT_EQ(progress.sink_progress().applied, (Lsn{20}));
  EXPECT_EQ(progress.sink_progress().confirmed, Lsn{});
}

TEST(Progress, IdlePositionsCountOnlyWithNothingOutstanding) {
  Progress progress(1);
  progress.Applied(0, Lsn{10});
  progress.Idle(Lsn{30});
  EXPECT_EQ(Confirmable(progress), (Lsn{30}));
  progress.Pushed(Lsn{40});
  EXPECT_EQ(Confirmable(progress), (Lsn{10}));
  progress.Idle(Lsn{60});
  EXPECT_EQ(Confirmable(progress), (Lsn{10}));
  progress.Applied(0, Lsn{40});
  EXPECT_EQ(Confirmable(progress), (Lsn{60}));
}

TEST(Progress, ARestartForgetsIdlePositions) {
  Progress progress(1);
  progress.Applied(0, Lsn{10});
  progress.Pushed(Lsn{40});
  progress.Idle(Lsn{60});
  progress.WantRestart();
  EXPECT_TRUE(progress.wants_restart());
  progress.BeginRestart();
  progress.Restarted(Lsn{10});
  EXPECT_FALSE(progress.wants_restart());
  // What was pushed up to 40 was given up: 60 would lose it.
  EXPECT_EQ(Confirmable(progress), (Lsn{10}));
}

TEST(Progress, ConfirmedNeverGoesBack) {
  Progress progress(1);
  progress.Confirmed({Lsn{20}, Lsn{30}});
  progress.Confirmed({Lsn{10}, Lsn{10}});
  EXPECT_EQ(progress.sink_progress().confirmed, (Lsn{30}));
  EXPECT_EQ(progress.fenced(), (Lsn{20}));
}

TEST(Progress, TheFirstErrorIsKeptAndWakes) {
  Progress progress(1);
  progress.DrainWakeups();
  pollfd descriptor = {progress.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&descriptor, 1, 0), 0);
  progress.Fail(absl::AbortedError("first"));
  progress.Fail(absl::InternalError("second"));
  EXPECT_EQ(progress.status(), absl::AbortedError("first"));
  EXPECT_EQ(poll(&descriptor, 1, 0), 1);
  progress.DrainWakeups();
  EXPECT_EQ(poll(&descriptor, 1, 0), 0);
}

TEST(Progress, AWakeIsNotLostBetweenTwoWaits) {
  Progress progress(1);
  progress.Wake();
  progress.WaitForChange(absl::InfiniteFuture());
  std::thread later([&] { progress.Idle(Lsn{5}); });
  progress.WaitForChange(absl::InfiniteFuture());
  later.join();
  EXPECT_EQ(Confirmable(progress), (Lsn{5}));
}

}  // namespace
}  // namespace walferry
