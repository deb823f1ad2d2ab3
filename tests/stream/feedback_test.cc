#include "stream/feedback.h"

#include "gtest/gtest.h"
#include "stream/backoff.h"
#include "stream/pacing.h"

namespace walferry {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1700000000);

TEST(Feedback, GoesOutEveryIntervalWhenNothingHappens) {
  Feedback feedback(absl::Seconds(5), kStart);
  EXPECT_EQ(feedback.Due(), kStart + absl::Seconds(5));
  feedback.Next(kStart + absl::Seconds(6));
  EXPECT_EQ(feedback.Due(), kStart + absl::Seconds(11));
}

TEST(Feedback, TellsZeroUntilSomethingIsConfirmed) {
  Feedback feedback(absl::Seconds(5), kStart);
  feedback.Received(Lsn{100});
  const StandbyStatusUpdate update = feedback.Next(kStart);
  EXPECT_EQ(update.write, Lsn{100});
  EXPECT_EQ(update.flush, Lsn{0});
  EXPECT_EQ(update.apply, Lsn{0});
  EXPECT_EQ(update.client_time, (1700000000 - 946684800) * std::int64_t{1000000});
}

TEST(Feedback, FlushIsWhatIsConfirmedAndNeverMore) {
  Feedback feedback(absl::Seconds(5), kStart);
  feedback.Received(Lsn{100});
  feedback.Progressed({.applied = Lsn{80}, .confirmed = Lsn{60}});
  StandbyStatusUpdate update = feedback.Next(kStart);
  EXPECT_EQ(update.flush, Lsn{60});
  EXPECT_EQ(update.apply, Lsn{80});
  // Nothing goes backwards within a connection.
  feedback.Received(Lsn{50});
  feedback.Progressed({.applied = Lsn{10}, .confirmed = Lsn{10}});
  update = feedback.Next(kStart);
  EXPECT_EQ(update.write, Lsn{100});
  EXPECT_EQ(update.flush, Lsn{60});
  EXPECT_EQ(update.apply, Lsn{80});
}

TEST(Feedback, GoesOutSoonAfterAConfirmationButNotForEachOne) {
  Feedback feedback(absl::Seconds(5), kStart);
  feedback.Progressed({.applied = Lsn{60}, .confirmed = Lsn{60}});
  EXPECT_LE(feedback.Due(), kStart + absl::Milliseconds(100));
  feedback.Next(kStart + absl::Seconds(1));
  EXPECT_EQ(feedback.Due(), kStart + absl::Seconds(6));
  feedback.Progressed({.applied = Lsn{70}, .confirmed = Lsn{70}});
  EXPECT_EQ(feedback.Due(), kStart + absl::Seconds(1) + absl::Milliseconds(100));
}

TEST(Feedback, AnswersAtOnceAndOnce) {
  Feedback feedback(absl::Seconds(5), kStart);
  feedback.ReplyRequested();
  EXPECT_LE(feedback.Due(), kStart);
  feedback.Next(kStart);
  EXPECT_EQ(feedback.Due(), kStart + absl::Seconds(5));
  // A server that shuts down asks again after each answer: no faster than it can mean something.
  feedback.ReplyRequested();
  EXPECT_LE(feedback.Due(), kStart + absl::Milliseconds(20));
  EXPECT_GT(feedback.Due(), kStart);
}

TEST(Feedback, AsksTheServerWhereItIsWhileAPositionIsWaitedFor) {
  Feedback feedback(absl::Seconds(5), kStart);
  EXPECT_FALSE(feedback.Next(kStart).reply_requested);
  feedback.SetProbing(true);
  EXPECT_LE(feedback.Due(), kStart + absl::Milliseconds(500));
  EXPECT_TRUE(feedback.Next(kStart).reply_requested);
  feedback.SetProbing(false);
  EXPECT_EQ(feedback.Due(), kStart + absl::Seconds(5));
}

TEST(Backoff, DoublesUpToTenSecondsAndBeginsAnewAfterASuccess) {
  Backoff backoff;
  absl::Duration longest = absl::Milliseconds(100);
  for (int i = 0; i < 12; ++i) {
    const absl::Duration wait = backoff.Next();
    EXPECT_GE(wait, longest / 2);
    EXPECT_LE(wait, longest);
    longest = std::min(longest * 2, absl::Seconds(10));
  }
  backoff.Reset();
  EXPECT_LE(backoff.Next(), absl::Milliseconds(100));
}

TEST(Pacing, ReadsALoneMessageAtOnceAndNapsUnderLoad) {
  Pacing pacing(absl::Milliseconds(1), 100'000);
  EXPECT_EQ(pacing.Drained(kStart, 100), kStart);
  const absl::Time soon = kStart + absl::Microseconds(100);
  EXPECT_EQ(pacing.Drained(soon, 100), soon + absl::Milliseconds(1));
  const absl::Time later = kStart + absl::Seconds(1);
  EXPECT_EQ(pacing.Drained(later, 100), later);
}

TEST(Pacing, LetsNoMoreGatherThanIsWorthwhile) {
  Pacing pacing(absl::Milliseconds(1), 100'000);
  pacing.Drained(kStart, 1);
  // What fills the window is followed by more: 200,000 bytes in half a millisecond in all, so what is
  // worthwhile comes in a quarter.
  const absl::Time now = kStart + absl::Microseconds(500);
  EXPECT_EQ(pacing.Drained(now, 150'000), now);
  EXPECT_EQ(pacing.Drained(now, 50'000), now + absl::Microseconds(250));
}

TEST(Pacing, NeverNapsWhereItMustNot) {
  Pacing pacing(absl::ZeroDuration(), 100'000);
  pacing.Drained(kStart, 1);
  EXPECT_EQ(pacing.Drained(kStart, 1), kStart);
}

}  // namespace
}  // namespace walferry
