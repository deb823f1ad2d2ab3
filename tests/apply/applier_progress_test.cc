// Confirmation: what is told to the source is durable and recorded before.
#include "apply/position.h"
#include "gmock/gmock.h"
#include "tests/apply/apply_stream.h"

namespace walferry {
namespace {

class ApplierProgress : public ApplyTest {
 protected:
  void SetUp() override {
    pair_.RunOnBoth("CREATE TABLE t (id serial PRIMARY KEY, a text)");
    BeginMigration();
  }
  Lsn Recorded() { return LoadMigration(pair_.target(), kMigration).value()->confirmed; }
};

TEST_F(ApplierProgress, ConfirmedIsRecordedBeforeItIsPublished) {
  RunningStream stream(pair_, Options(), std::nullopt);
  Lsn last;
  for (int i = 0; i < 60; ++i) {
    pair_.RunOnSource("INSERT INTO t (a) SELECT 'x' FROM generate_series(1, 5)");
    const SinkProgress progress = stream.applier().progress();
    EXPECT_LE(progress.confirmed, Recorded());
    EXPECT_GE(progress.confirmed, last);
    last = progress.confirmed;
  }
  const Lsn end = SourceEnd();
  EXPECT_TRUE(WaitUntil([&] { return stream.applier().progress().confirmed >= end; }));
  EXPECT_TRUE(stream.End().ok());
}

TEST_F(ApplierProgress, NothingIsConfirmedWhileATransactionWaits) {
  RunningStream stream(pair_, Options(), std::nullopt);
  pair_.RunOnSource("INSERT INTO t (a) VALUES ('first')");
  ASSERT_TRUE(WaitUntil([&] { return Target("SELECT count(*) FROM t") == "1"; }));
  RunSql(pair_.target(), "BEGIN; LOCK TABLE t");
  const Lsn before = SourceEnd();
  pair_.RunOnSource("INSERT INTO t (a) VALUES ('second')");
  const Lsn end = SourceEnd();
  Connection other = MustConnect(pair_.target_conninfo());
  ASSERT_TRUE(
      WaitUntil([&] { return QueryText(other, "SELECT count(*) FROM pg_locks WHERE NOT granted") == "1"; }));
  // The source goes on: keepalives tell of positions behind the transaction.
  for (int i = 0; i < 5; ++i) {
    pair_.RunOnSource("SELECT pg_logical_emit_message(false, 'x', 'y')");
    stream.applier().HurryConfirmation();
  }
  EXPECT_LT(stream.applier().progress().confirmed, end);
  EXPECT_LE(stream.applier().progress().applied, before);
  RunSql(pair_.target(), "COMMIT");
  EXPECT_TRUE(WaitUntil([&] { return stream.applier().progress().confirmed >= end; }));
  EXPECT_TRUE(stream.End().ok());
}

TEST_F(ApplierProgress, IdleSourceIsConfirmedToItsEnd) {
  RunningStream stream(pair_, Options(), std::nullopt);
  pair_.RunOnSource("SELECT pg_logical_emit_message(false, 'x', repeat('y', 1000)); SELECT pg_switch_wal()");
  const Lsn end = SourceEnd();
  EXPECT_TRUE(WaitUntil([&] { return stream.applier().progress().confirmed >= end; }));
  EXPECT_GE(Recorded(), end);
  EXPECT_TRUE(stream.End().ok());
}

TEST_F(ApplierProgress, HurryDoesNotWaitForTheInterval) {
  ApplierOptions options = Options();
  options.fence_interval = absl::Hours(1);
  RunningStream stream(pair_, options, std::nullopt);
  pair_.RunOnSource("INSERT INTO t (a) VALUES ('x')");
  ASSERT_TRUE(WaitUntil([&] { return Target("SELECT count(*) FROM t") == "1"; }));
  ASSERT_TRUE(WaitUntil([&] { return stream.applier().progress().applied == LanePosition(); }));
  stream.applier().HurryConfirmation();
  EXPECT_TRUE(
      WaitUntil([&] { return stream.applier().progress().confirmed >= LanePosition(); }, absl::Seconds(20)));
  EXPECT_TRUE(stream.End().ok());
}

TEST_F(ApplierProgress, FinishRecordsWhatIsApplied) {
  TableRecord table;
  table.table = {"public", "t"};
  ASSERT_TRUE(AddTables(pair_.target(), kMigration, {table}).ok());
  ApplierOptions options = Options();
  options.fence_interval = absl::Hours(1);
  RunningStream stream(pair_, options, std::nullopt);
  pair_.RunOnSource("INSERT INTO t (a) VALUES ('x'), ('y')");
  ASSERT_TRUE(WaitUntil([&] { return Target("SELECT count(*) FROM t") == "2"; }));
  ASSERT_TRUE(stream.End().ok());
  EXPECT_GE(Recorded(), LanePosition());
  EXPECT_EQ(LoadTables(pair_.target(), kMigration).value().at(0).counters.inserts, 2);
}

TEST_F(ApplierProgress, FenceRefusesWhatTheTargetDoesNotHave) {
  const Lsn at = LanePosition();
  EXPECT_TRUE(CommitConfirmation(pair_.target(), {kMigration, at, Lsn{at.value + 5}, {}}).ok());
  EXPECT_EQ(Recorded(), (Lsn{at.value + 5}));
  const absl::Status refused =
      CommitConfirmation(pair_.target(), {kMigration, Lsn{at.value + 1}, Lsn{at.value + 9}, {}});
  EXPECT_EQ(refused.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Recorded(), (Lsn{at.value + 5}));
  // The greatest wins.
  EXPECT_TRUE(CommitConfirmation(pair_.target(), {kMigration, at, at, {}}).ok());
  EXPECT_EQ(Recorded(), (Lsn{at.value + 5}));
}

}  // namespace
}  // namespace walferry
