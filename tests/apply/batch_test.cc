#include "apply/batch.h"

#include "gtest/gtest.h"
#include "tests/apply/hand_made_stream.h"

namespace walferry {
namespace {

class BatchTest : public ::testing::Test {
 protected:
  absl::Status Add(const std::string& script) {
    return builder_.Add(std::make_shared<const Segment>(HandMadeSegment(script, nullptr)));
  }
  static std::size_t Changes(const SourceTransaction& transaction) {
    std::size_t count = 0;
    ForEachChange(transaction, [&](const Segment&, const Event&) {
      ++count;
      return absl::OkStatus();
    }).IgnoreError();
    return count;
  }
  BatchBuilder builder_;
};

constexpr std::size_t kEverything = 1 << 20;

TEST_F(BatchTest, WholeTransactionsComeInOneBatch) {
  ASSERT_TRUE(Add("B10 i i C20 B30 C40 B50 u C60").ok());
  ASSERT_TRUE(builder_.has_whole());
  const Batch batch = builder_.TakeWhole(kEverything);
  ASSERT_EQ(batch.transactions.size(), 3U);
  EXPECT_EQ(batch.end_lsn(), (Lsn{60}));
  EXPECT_EQ(batch.transactions[0].commit_lsn, (Lsn{10}));
  EXPECT_EQ(Changes(batch.transactions[0]), 2U);
  EXPECT_EQ(Changes(batch.transactions[1]), 0U);
  EXPECT_FALSE(builder_.has_whole());
  EXPECT_FALSE(builder_.has_open());
}

TEST_F(BatchTest, ABatchIsClosedBySizeButNeverEmpty) {
  ASSERT_TRUE(Add("B10 i i i C20 B30 i C40 B50 i C60").ok());
  const Batch first = builder_.TakeWhole(1);
  EXPECT_EQ(first.transactions.size(), 1U);
  EXPECT_EQ(Changes(first.transactions[0]), 3U);
  EXPECT_EQ(builder_.TakeWhole(2 * first.bytes).transactions.size(), 2U);
}

TEST_F(BatchTest, ATransactionAcrossSegmentsIsWaitedFor) {
  ASSERT_TRUE(Add("B10 i C20 B30 i").ok());
  EXPECT_EQ(builder_.TakeWhole(kEverything).transactions.size(), 1U);
  EXPECT_FALSE(builder_.has_whole());
  EXPECT_TRUE(builder_.has_open());
  ASSERT_TRUE(Add("i i").ok());
  ASSERT_TRUE(Add("C40").ok());
  ASSERT_TRUE(builder_.has_whole());
  const Batch batch = builder_.TakeWhole(kEverything);
  EXPECT_EQ(Changes(batch.transactions[0]), 3U);
  EXPECT_EQ(batch.transactions[0].slices.size(), 2U);
}

TEST_F(BatchTest, AnOpenTransactionCanBeTakenInParts) {
  ASSERT_TRUE(Add("B10 i i").ok());
  EXPECT_GT(builder_.open_bytes(), 0U);
  SourceTransaction part = builder_.TakePart(kEverything);
  EXPECT_EQ(Changes(part), 2U);
  EXPECT_FALSE(part.whole());
  EXPECT_TRUE(builder_.has_open());
  EXPECT_FALSE(builder_.open_has_news());
  ASSERT_TRUE(Add("i C20 B30 i C40").ok());
  // What follows waits until the last part is taken.
  EXPECT_FALSE(builder_.has_whole());
  EXPECT_TRUE(builder_.open_has_news());
  part = builder_.TakePart(kEverything);
  EXPECT_EQ(Changes(part), 1U);
  EXPECT_EQ(part.end_lsn, (Lsn{20}));
  EXPECT_TRUE(builder_.has_whole());
  EXPECT_EQ(builder_.TakeWhole(kEverything).end_lsn(), (Lsn{40}));
}

TEST_F(BatchTest, APartIsNoLargerThanItMayBeButNeverEmpty) {
  ASSERT_TRUE(Add("B10 i i").ok());
  ASSERT_TRUE(Add("i").ok());
  ASSERT_TRUE(Add("i C20").ok());
  const std::size_t bytes = builder_.bytes();
  SourceTransaction part = builder_.TakePart(1);
  EXPECT_EQ(Changes(part), 2U);
  EXPECT_FALSE(part.whole());
  EXPECT_FALSE(builder_.has_whole());
  EXPECT_EQ(builder_.bytes(), bytes - part.bytes);
  part = builder_.TakePart(kEverything);
  EXPECT_EQ(Changes(part), 2U);
  EXPECT_EQ(part.end_lsn, (Lsn{20}));
  EXPECT_FALSE(builder_.has_open());
  EXPECT_EQ(builder_.bytes(), 0U);
}

TEST_F(BatchTest, TransactionsBeforeThePositionAreLeftOut) {
  builder_.Reset(Lsn{40});
  ASSERT_TRUE(Add("B10 i C20 B30 i C40 B40 i C50").ok());
  const Batch batch = builder_.TakeWhole(kEverything);
  ASSERT_EQ(batch.transactions.size(), 1U);
  EXPECT_EQ(batch.transactions[0].commit_lsn, (Lsn{40}));
}

TEST_F(BatchTest, ResetForgetsAnUnfinishedTransaction) {
  ASSERT_TRUE(Add("B10 i").ok());
  builder_.TakePart(kEverything);
  builder_.Reset(Lsn{10});
  EXPECT_FALSE(builder_.has_open());
  ASSERT_TRUE(Add("B10 i C20").ok());
  EXPECT_TRUE(builder_.has_whole());
}

TEST_F(BatchTest, SegmentsAreFreedWithTheirLastSlice) {
  auto segment = std::make_shared<const Segment>(HandMadeSegment("B10 i", nullptr));
  const std::weak_ptr<const Segment> watched = segment;
  ASSERT_TRUE(builder_.Add(std::move(segment)).ok());
  builder_.TakePart(kEverything);
  EXPECT_TRUE(watched.expired());
}

TEST_F(BatchTest, EventsOutsideOfTransactionsAreAnError) {
  EXPECT_EQ(Add("i").code(), absl::StatusCode::kInternal);
  builder_.Reset({});
  EXPECT_EQ(Add("B10 B20").code(), absl::StatusCode::kInternal);
  builder_.Reset({});
  EXPECT_EQ(Add("C10").code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace walferry
