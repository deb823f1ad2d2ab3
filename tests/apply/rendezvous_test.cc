#include "apply/rendezvous.h"

#include <atomic>
#include <thread>

#include "gtest/gtest.h"

namespace walferry {
namespace {

using Outcome = Rendezvous::Outcome;

const std::function<bool()> kNever = [] { return false; };

TEST(Rendezvous, TheFirstGoesOnWhenAllHaveComeTheOthersWhenItHasFinished) {
  Rendezvous rendezvous(3);
  std::atomic<int> done = 0;
  std::atomic<bool> finished = false;
  std::vector<std::thread> lanes;
  for (int lane = 0; lane < 3; ++lane) {
    lanes.emplace_back([&, lane] {
      for (std::uint64_t meeting = 1; meeting <= 200; ++meeting) {
        rendezvous.Arrive(lane, Lsn{meeting}, Lsn{meeting * 10 + static_cast<std::uint64_t>(lane)});
        ASSERT_EQ(rendezvous.Await(lane, kNever), Outcome::kMet);
        if (lane > 0) {
          EXPECT_TRUE(finished);
          EXPECT_EQ(rendezvous.end(), Lsn{meeting * 10 + 5});
          ++done;
          continue;
        }
        while (done < 2 * static_cast<int>(meeting - 1)) std::this_thread::yield();
        const std::uint64_t at = meeting * 10;
        EXPECT_EQ(rendezvous.positions(), (std::vector<Lsn>{Lsn{at}, Lsn{at + 1}, Lsn{at + 2}}));
        finished = true;
        rendezvous.Finish(Lsn{at + 5});
      }
    });
  }
  for (std::thread& lane : lanes) lane.join();
  EXPECT_EQ(done, 400);
}

TEST(Rendezvous, WhoCannotComeLetsTheOthersGo) {
  Rendezvous rendezvous(3);
  std::thread waiting([&] {
    rendezvous.Arrive(0, Lsn{5}, Lsn{1});
    EXPECT_EQ(rendezvous.Await(0, kNever), Outcome::kBroken);
  });
  rendezvous.Break();
  waiting.join();
  // And whoever comes late.
  rendezvous.Arrive(1, Lsn{5}, Lsn{1});
  EXPECT_EQ(rendezvous.Await(1, kNever), Outcome::kBroken);
  rendezvous.Reset();
  std::atomic<bool> stop = false;
  rendezvous.Arrive(1, Lsn{5}, Lsn{1});
  std::thread other(
      [&] { EXPECT_EQ(rendezvous.Await(1, [&] { return stop.load(); }), Outcome::kInterrupted); });
  stop = true;
  other.join();
}

TEST(Rendezvous, NobodyLeavesWhileTheFirstIsAtWork) {
  Rendezvous rendezvous(2);
  rendezvous.Arrive(0, Lsn{5}, Lsn{1});
  rendezvous.Arrive(1, Lsn{5}, Lsn{1});
  ASSERT_EQ(rendezvous.Await(0, kNever), Outcome::kMet);
  std::thread other([&] { EXPECT_EQ(rendezvous.Await(1, [] { return true; }), Outcome::kMet); });
  rendezvous.Finish(Lsn{9});
  other.join();
  EXPECT_EQ(rendezvous.end(), Lsn{9});
}

TEST(Rendezvous, WhoHasArrivedMayLookLater) {
  Rendezvous rendezvous(2);
  rendezvous.Arrive(1, Lsn{5}, Lsn{1});
  rendezvous.Arrive(0, Lsn{5}, Lsn{1});
  ASSERT_EQ(rendezvous.Await(0, kNever), Outcome::kMet);
  rendezvous.Finish(Lsn{9});
  EXPECT_EQ(rendezvous.Await(1, kNever), Outcome::kMet);
}

TEST(Rendezvous, DifferentTransactionsAreAnError) {
  Rendezvous rendezvous(2);
  rendezvous.Arrive(0, Lsn{5}, Lsn{1});
  rendezvous.Arrive(1, Lsn{6}, Lsn{1});
  EXPECT_EQ(rendezvous.Await(0, kNever), Outcome::kAstray);
  EXPECT_EQ(rendezvous.Await(1, kNever), Outcome::kAstray);
}

}  // namespace
}  // namespace walferry
