// A second lane where the target falls behind.
#include "tests/apply/apply_stream.h"

namespace walferry {
namespace {

constexpr std::size_t kMemoryBytes = 8 << 20;

class ApplierSecondLane : public ApplyTest {
 protected:
  static ApplierOptions Adaptive(ApplierOptions options) {
    options.lanes = 0;
    options.batch_bytes = 64 << 10;
    return options;
  }

  void MakeTables() {
    pair_.RunOnBoth(
        "CREATE TABLE t (id int PRIMARY KEY, n int, filler text); "
        "CREATE TABLE pinned (id int PRIMARY KEY, other int UNIQUE); CREATE TABLE emptied (id int)");
    BeginMigration();
    pair_.RunOnSource("INSERT INTO t SELECT i, 0, repeat('x', 100) FROM generate_series(1, 2000) i");
    ASSERT_TRUE(CatchUp().ok());
  }

  // More than the memory takes, and what only one lane can apply in all of it.
  void MakeBacklog() {
    for (int i = 0; i < 20; ++i) {
      pair_.RunOnSource("UPDATE t SET n = n + 1");
      ++inserted_;
      pair_.RunOnSource(absl::StrFormat("INSERT INTO pinned VALUES (%d, %d); INSERT INTO emptied VALUES (%d)",
                                        inserted_, -inserted_, inserted_));
      pair_.RunOnSource("UPDATE t SET id = -id WHERE id % 100 = 7");
      if (i % 7 == 3) pair_.RunOnSource("TRUNCATE emptied");
      if (i % 7 == 5) pair_.RunOnSource("UPDATE pinned SET other = other + 1000");
    }
  }

  Connection HoldTarget() {
    Connection holder = MustConnect(pair_.target_conninfo());
    RunSql(holder, "BEGIN; SELECT FROM t WHERE id = 1 FOR UPDATE");
    return holder;
  }

  int inserted_ = 0;
};

TEST_F(ApplierSecondLane, JoinsWhereTheTargetFallsBehind) {
  MakeTables();
  Connection holder = HoldTarget();
  MakeBacklog();
  RunningStream stream(pair_, Adaptive(Options()), SourceEnd(), false, kMemoryBytes);
  ASSERT_TRUE(WaitUntil([&] { return stream.applier().counters().lanes.size() == 2; }));
  EXPECT_TRUE(WaitUntil([&] { return stream.Count(ApplierEvent::Kind::kLanes) == 1; }));
  RunSql(holder, "COMMIT");
  const absl::Status status = stream.End(false);
  EXPECT_TRUE(status.ok()) << status;
  ExpectEqualContent(pair_);
  const ApplierCounters counters = stream.applier().counters();
  for (const LaneCounters& lane : counters.lanes) EXPECT_GT(lane.changes, 100U);
  EXPECT_EQ(CountersOf(counters, "t").missing_rows, 0);
  EXPECT_EQ(LanePositions().size(), 2U);
  // The next run begins with one.
  ASSERT_TRUE(CatchUp(Adaptive(Options())).ok());
  EXPECT_EQ(LanePositions().size(), 1U);
}

TEST_F(ApplierSecondLane, HasNoShareInTheTransactionThatIsOpenWhenItJoins) {
  MakeTables();
  pair_.RunOnSource("INSERT INTO t SELECT -i, i, repeat('y', 500) FROM generate_series(1, 20000) i");
  Connection holder = MustConnect(pair_.target_conninfo());
  RunSql(holder, "BEGIN; LOCK TABLE t IN SHARE MODE");
  RunningStream stream(pair_, Adaptive(Options()), SourceEnd(), false, kMemoryBytes);
  ASSERT_TRUE(WaitUntil([&] { return stream.applier().counters().lanes.size() == 2; }));
  RunSql(holder, "COMMIT");
  const absl::Status status = stream.End(false);
  EXPECT_TRUE(status.ok()) << status;
  ExpectEqualContent(pair_);
  ASSERT_EQ(stream.applier().counters().lanes.size(), 2U);
  EXPECT_EQ(stream.applier().counters().lanes[1].changes, 0U);
  EXPECT_EQ(LanePositions()[0], LanePositions()[1]);
}

TEST_F(ApplierSecondLane, IsNotNeededWhereTheTargetKeepsUp) {
  MakeTables();
  for (int i = 0; i < 20; ++i) pair_.RunOnSource("UPDATE t SET n = n + 1 WHERE id < 100");
  ASSERT_TRUE(CatchUp(Adaptive(Options())).ok());
  EXPECT_EQ(counters_.lanes.size(), 1U);
  ExpectEqualContent(pair_);
}

TEST_F(ApplierSecondLane, HasNoShareInWhatWasBeforeItAfterAKill) {
  MakeTables();
  for (const int lanes : {0, 1, 2}) {
    Connection holder = HoldTarget();
    MakeBacklog();
    {
      RunningStream stream(pair_, Adaptive(Options()), std::nullopt, false, kMemoryBytes);
      ASSERT_TRUE(WaitUntil([&] { return stream.applier().counters().lanes.size() == 2; }));
      stream.Kill();
    }
    RunSql(holder, "ROLLBACK");
    const std::vector<Lsn> positions = LanePositions();
    ASSERT_EQ(positions.size(), 2U);
    EXPECT_LT(positions[0], positions[1]);
    ApplierOptions options = Adaptive(Options());
    options.lanes = lanes;
    const absl::Status status = CatchUp(options);
    EXPECT_TRUE(status.ok()) << status;
    ExpectEqualContent(pair_);
    EXPECT_EQ(CountersOf(counters_, "t").missing_rows, 0);
    EXPECT_EQ(counters_.lanes.size(), 2U);
    pair_.RunOnSource("INSERT INTO emptied VALUES (-1)");
    options.lanes = 1;
    ASSERT_TRUE(CatchUp(options).ok());
  }
}

}  // namespace
}  // namespace walferry
