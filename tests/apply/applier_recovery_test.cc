// What happens when the target, or the way to it, fails: nothing is lost, nothing is applied twice.
#include <random>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "tests/apply/apply_stream.h"
#include "tests/apply/tcp_gate.h"

namespace walferry {
namespace {

using ::testing::HasSubstr;

class ApplierRecovery : public ApplyTest {
 protected:
  void MakeTable() {
    // Not idempotent: applying an update twice shows.
    pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0, a text); CREATE TABLE log (n int)");
    BeginMigration();
  }

  std::string ThroughGate(const TcpGate& gate) const {
    return absl::StrFormat("host=127.0.0.1 port=%d user=postgres dbname=%s", gate.port(), pair_.name());
  }

  // Ends the applier's backends on the target; how many there were.
  int TerminateBackends(const std::string& condition = "true") {
    return std::stoi(
        Target("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = "
               "'applier_" +
               pair_.name() + "' AND " + condition));
  }

  void StartTargetAgain() {
    ASSERT_TRUE(TargetServer().StartAgain().ok());
    // Lets the pair notice that its own connection is gone.
    pair_.target().Execute("SELECT 1").status().IgnoreError();
  }

  bool AwaitEqual() {
    return WaitUntil([&] { return TableContents(pair_.source()) == TableContents(pair_.target()); });
  }
};

TEST_F(ApplierRecovery, StartsAgainWhereItWas) {
  MakeTable();
  for (int i = 0; i < 3; ++i) {
    pair_.RunOnSource(
        absl::StrFormat("INSERT INTO log SELECT generate_series(1, 10); INSERT INTO t VALUES (%d)", i));
    ASSERT_TRUE(CatchUp().ok());
    ExpectEqualContent(pair_);
  }
}

TEST_F(ApplierRecovery, LostCommitAnswerIsReadBack) {
  MakeTable();
  TcpGate gate(TargetServer().port());
  ApplierOptions options = Options();
  options.target = ThroughGate(gate);
  RunningStream stream(pair_, options, std::nullopt);
  ASSERT_TRUE(stream.started().ok()) << stream.started();
  for (int i = 0; i < 3; ++i) {
    const std::string before = Target("SELECT count(*) FROM log");
    gate.SwallowAnswersAfter("walferry.advance", "COMMIT");
    pair_.RunOnSource("INSERT INTO log SELECT generate_series(1, 10)");
    ASSERT_TRUE(WaitUntil([&] { return gate.swallowing() && Target("SELECT count(*) FROM log") != before; }));
    gate.Cut();
    ASSERT_TRUE(AwaitEqual());
    ASSERT_TRUE(WaitUntil([&] { return stream.applier().progress().applied == LanePosition(); }));
  }
  // A lane that has nothing to do may not have noticed.
  EXPECT_GE(stream.applier().counters().reconnects, 3U);
  EXPECT_LE(stream.applier().counters().reconnects, 3U * static_cast<unsigned>(options.lanes));
  // Counted once, though the answers were lost.
  EXPECT_EQ(CountersOf(stream.applier().counters(), "log").inserts, 30);
  EXPECT_TRUE(stream.End().ok());
}

TEST_F(ApplierRecovery, BatchThatWasCutOffIsAppliedAgain) {
  MakeTable();
  TcpGate gate(TargetServer().port());
  ApplierOptions options = Options();
  options.target = ThroughGate(gate);
  RunningStream stream(pair_, options, std::nullopt);
  // The transaction waits for a lock, so that it is cut off in its middle.
  RunSql(pair_.target(), "BEGIN; LOCK TABLE log");
  pair_.RunOnSource("INSERT INTO t VALUES (1); INSERT INTO log VALUES (1); UPDATE t SET n = n + 1");
  Connection other = MustConnect(pair_.target_conninfo());
  ASSERT_TRUE(WaitUntil([&] {
    return QueryText(other,
                     "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM "
                     "pg_database WHERE datname = current_database())") == "1";
  }));
  gate.Cut();
  RunSql(pair_.target(), "COMMIT");
  EXPECT_TRUE(AwaitEqual());
  // Once more, when the last fence is due.
  gate.Cut();
  const absl::Status status = stream.End();
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(ApplierRecovery, TerminatedBackendsLoseAndRepeatNothing) {
  MakeTable();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(absl::StrFormat("seed %d", seed));
  std::mt19937 random(seed);
  pair_.RunOnSource("INSERT INTO t SELECT generate_series(1, 20)");
  ApplierOptions options = Options();
  options.batch_bytes = 2000;
  RunningStream stream(pair_, options, std::nullopt);
  Connection writer = MustConnect(pair_.source_conninfo());
  int terminated = 0;
  for (int i = 0; i < 300; ++i) {
    RunSql(writer, absl::StrFormat("UPDATE t SET n = n + 1 WHERE id <= %d; INSERT INTO log VALUES (%d)",
                                   static_cast<int>(random() % 20), i));
    if (random() % 15 == 0) terminated += TerminateBackends();
  }
  EXPECT_GT(terminated, 0);
  EXPECT_TRUE(AwaitEqual());
  EXPECT_TRUE(stream.End().ok());
  EXPECT_EQ(CountersOf(stream.applier().counters(), "t").missing_rows, 0);
}

TEST_F(ApplierRecovery, SecondWriterFailsAtTheGuard) {
  MakeTable();
  RunningStream stream(pair_, Options(), std::nullopt);
  pair_.RunOnSource("INSERT INTO log VALUES (1)");
  ASSERT_TRUE(AwaitEqual());
  pair_.RunOnTarget("UPDATE walferry.lane SET position = position + 1");
  pair_.RunOnSource("INSERT INTO log VALUES (2)");
  ASSERT_TRUE(WaitUntil([&] { return stream.ended(); }));
  const absl::Status status = stream.End(false);
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("another walferry"));
  EXPECT_EQ(Target("SELECT * FROM log"), "1");
}

TEST_F(ApplierRecovery, PositionMovedByAnotherWriterIsNoticedAfterAReconnect) {
  MakeTable();
  RunningStream stream(pair_, Options(), std::nullopt);
  pair_.RunOnSource("INSERT INTO log VALUES (1)");
  ASSERT_TRUE(AwaitEqual());
  RunSql(pair_.target(), "BEGIN; LOCK TABLE log");
  pair_.RunOnSource("INSERT INTO log VALUES (2)");
  Connection other = MustConnect(pair_.target_conninfo());
  const std::string waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'applier_" +
                              pair_.name() + "' AND wait_event_type = 'Lock'";
  ASSERT_TRUE(WaitUntil([&] { return QueryText(other, waiting) == "1"; }));
  // The other writer queues behind the lane's row lock, and has it before the lane is back.
  std::thread writer([&] {
    Connection connection = MustConnect(pair_.target_conninfo());
    RunSql(connection, "UPDATE walferry.lane SET position = position + 1");
  });
  const std::string queued =
      "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE "
      "'UPDATE walferry.lane%' AND datname = current_database()";
  ASSERT_TRUE(WaitUntil([&] { return QueryText(other, queued) == "1"; }));
  RunSql(other,
         "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
         "application_name = 'applier_" +
             pair_.name() + "'");
  writer.join();
  RunSql(pair_.target(), "COMMIT");
  ASSERT_TRUE(WaitUntil([&] { return stream.ended(); }));
  EXPECT_EQ(stream.End(false).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Target("SELECT * FROM log"), "1");
}

TEST_F(ApplierRecovery, WhatAKilledWalferrySentAheadDoesNotDisturbTheNext) {
  MakeTable();
  pair_.RunOnSource("INSERT INTO t SELECT i, 0, 'x' FROM generate_series(1, 9) i");
  ASSERT_TRUE(CatchUp().ok());
  for (int i = 1; i < 10; ++i) pair_.RunOnSource(absl::StrFormat("UPDATE t SET n = %d WHERE id = %d", i, i));
  Connection holder = MustConnect(pair_.target_conninfo());
  RunSql(holder, "BEGIN; SELECT FROM t WHERE id = 1 FOR UPDATE");
  const auto waiting = [&] {
    return Target(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
        "wait_event_type = 'Lock'");
  };
  ApplierOptions options = Options();
  options.batch_bytes = 1;  // Each transaction is a batch.
  {
    RunningStream killed(pair_, options, std::nullopt);
    ASSERT_TRUE(WaitUntil([&] { return waiting() == "1"; }));
    killed.Kill();
  }
  std::thread release([&] {
    // The next one waits for what the first one's backend has in hand.
    EXPECT_TRUE(WaitUntil([&] { return waiting() == "2"; }));
    RunSql(holder, "COMMIT");
  });
  RunningStream next(pair_, options, SourceEnd());
  release.join();
  const absl::Status status = next.End(false);
  EXPECT_TRUE(status.ok()) << status;
  ExpectEqualContent(pair_);
}

TEST_F(ApplierRecovery, LargeTransactionPassesInParts) {
  MakeTable();
  ApplierOptions options = Options();
  options.batch_bytes = 256 << 10;
  pair_.RunOnSource(
      "BEGIN; INSERT INTO t SELECT i, 0, repeat(md5(i::text), 10) FROM generate_series(1, 60000) i; "
      "UPDATE t SET n = n + 1; COMMIT");
  pair_.RunOnSource("INSERT INTO log VALUES (1)");
  // Far less memory than the transaction has.
  RunningStream stream(pair_, options, SourceEnd(), false, 6 << 20);
  const absl::Status status = stream.End(false);
  EXPECT_TRUE(status.ok()) << status;
  ExpectEqualContent(pair_);
  EXPECT_EQ(CountersOf(stream.applier().counters(), "t"),
            (TableCounters{.inserts = 60000, .updates = 60000}));
}

TEST_F(ApplierRecovery, LargeTransactionLargerThanTheBudgetButNotThanABatch) {
  MakeTable();
  pair_.RunOnSource("INSERT INTO t SELECT i, 0, repeat(md5(i::text), 30) FROM generate_series(1, 20000) i");
  ApplierOptions options = Options();
  options.batch_bytes = 1 << 30;
  RunningStream stream(pair_, options, SourceEnd(), false, 4 << 20);
  const absl::Status status = stream.End(false);
  EXPECT_TRUE(status.ok()) << status;
  ExpectEqualContent(pair_);
}

TEST_F(ApplierRecovery, LargeTransactionUndoneByTheTargetIsAskedForAgain) {
  MakeTable();
  pair_.RunOnSource("INSERT INTO log VALUES (0)");
  pair_.RunOnSource("INSERT INTO t SELECT i, 0, repeat(md5(i::text), 10) FROM generate_series(1, 120000) i");
  ApplierOptions options = Options();
  options.batch_bytes = 64 << 10;
  RunningStream stream(pair_, options, std::nullopt, false, 6 << 20);
  for (int i = 0; i < 2; ++i) {
    // Not in the small one before it.
    ASSERT_TRUE(WaitUntil([&] {
      return TerminateBackends(
                 "backend_xid IS NOT NULL AND xact_start < clock_timestamp() - interval '50 ms'") > 0;
    }));
  }
  EXPECT_TRUE(AwaitEqual());
  EXPECT_TRUE(stream.End().ok());
  EXPECT_GT(stream.session().reconnects, 0U);
}

TEST_F(ApplierRecovery, StopInTheMiddleOfALargeTransaction) {
  MakeTable();
  pair_.RunOnSource("INSERT INTO t SELECT i, 0, repeat(md5(i::text), 10) FROM generate_series(1, 60000) i");
  ApplierOptions options = Options();
  options.batch_bytes = 64 << 10;
  {
    RunningStream stream(pair_, options, std::nullopt, false, 6 << 20);
    ASSERT_TRUE(WaitUntil([&] {
      return Target(
                 "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND application_name = "
                 "'applier_" +
                 pair_.name() + "'") == "1";
    }));
    const absl::Status status = stream.End();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(Target("SELECT count(*) FROM t"), "0");
  }
  ASSERT_TRUE(CatchUp().ok());
  ExpectEqualContent(pair_);
}

TEST_F(ApplierRecovery, SourceLostInTheMiddleOfALargeTransaction) {
  MakeTable();
  pair_.RunOnSource("INSERT INTO t SELECT i, 0, repeat(md5(i::text), 10) FROM generate_series(1, 60000) i");
  ApplierOptions options = Options();
  options.batch_bytes = 64 << 10;
  RunningStream stream(pair_, options, std::nullopt, false, 6 << 20);
  ASSERT_TRUE(WaitUntil([&] {
    return Target(
               "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND application_name = "
               "'applier_" +
               pair_.name() + "'") == "1";
  }));
  pair_.RunOnSource(
      "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'slot_" +
      pair_.name() + "'");
  EXPECT_TRUE(AwaitEqual());
  EXPECT_TRUE(stream.End().ok());
}

TEST_F(ApplierRecovery, CommitsThatTheTargetLostInACrashAreAskedForAgain) {
  MakeTable();
  pair_.RunOnTarget("ALTER SYSTEM SET wal_writer_delay = '10s'");
  pair_.RunOnTarget("SELECT pg_reload_conf()");
  ApplierOptions options = Options();
  options.fence_interval = absl::Hours(1);
  RunningStream stream(pair_, options, std::nullopt);
  ASSERT_TRUE(WaitUntil([&] { return stream.applier().progress().confirmed.valid(); }));
  const Lsn confirmed = stream.applier().progress().confirmed;
  pair_.RunOnSource("INSERT INTO log SELECT generate_series(1, 10)");
  ASSERT_TRUE(WaitUntil([&] { return stream.applier().progress().applied > confirmed; }));
  const Lsn applied = stream.applier().progress().applied;
  ASSERT_TRUE(TargetServer().Stop("immediate").ok());
  StartTargetAgain();
  EXPECT_LT(LanePosition(), applied) << "the crash lost nothing, so nothing was tested";
  EXPECT_LE(stream.applier().progress().confirmed, LanePosition());
  // The lane has nothing to do and does not know; the fence finds out.
  stream.applier().HurryConfirmation();
  EXPECT_TRUE(AwaitEqual());
  EXPECT_TRUE(stream.End().ok());
  EXPECT_GT(stream.session().reconnects, 0U);
  pair_.RunOnTarget("ALTER SYSTEM RESET wal_writer_delay");
  pair_.RunOnTarget("SELECT pg_reload_conf()");
}

TEST_F(ApplierRecovery, WaitsForATargetThatIsAwayAndGivesUpInTheEnd) {
  MakeTable();
  {
    RunningStream stream(pair_, Options(), std::nullopt);
    ASSERT_TRUE(stream.started().ok());
    ASSERT_TRUE(TargetServer().Stop("fast").ok());
    pair_.RunOnSource("INSERT INTO log VALUES (1)");
    ASSERT_TRUE(WaitUntil([&] { return stream.Count(ApplierEvent::Kind::kReconnecting) > 0; }));
    StartTargetAgain();
    EXPECT_TRUE(AwaitEqual());
    EXPECT_TRUE(stream.End().ok());
  }
  ApplierOptions options = Options();
  options.retry_for = absl::Seconds(1);
  RunningStream stream(pair_, options, std::nullopt);
  ASSERT_TRUE(TargetServer().Stop("fast").ok());
  pair_.RunOnSource("INSERT INTO log VALUES (2)");
  EXPECT_TRUE(WaitUntil([&] { return stream.ended(); }));
  EXPECT_EQ(stream.End(false).code(), absl::StatusCode::kUnavailable);
  StartTargetAgain();
}

TEST_F(ApplierRecovery, StopWhileTheTargetIsAway) {
  MakeTable();
  RunningStream stream(pair_, Options(), std::nullopt);
  ASSERT_TRUE(TargetServer().Stop("fast").ok());
  pair_.RunOnSource("INSERT INTO log VALUES (1)");
  ASSERT_TRUE(WaitUntil([&] { return stream.Count(ApplierEvent::Kind::kReconnecting) > 0; }));
  const absl::Time before = absl::Now();
  stream.End().IgnoreError();
  EXPECT_LT(absl::Now() - before, absl::Seconds(30));
  StartTargetAgain();
  ASSERT_TRUE(CatchUp().ok());
  ExpectEqualContent(pair_);
}

TEST_F(ApplierRecovery, DeadlockOnTheTargetIsRetried) {
  MakeTable();
  pair_.RunOnSource("INSERT INTO t VALUES (1), (2)");
  RunningStream stream(pair_, Options(), std::nullopt);
  ASSERT_TRUE(AwaitEqual());
  Connection other = MustConnect(pair_.target_conninfo());
  RunSql(other, "SET deadlock_timeout = '1min'; BEGIN; SELECT FROM t WHERE id = 2 FOR UPDATE");
  pair_.RunOnSource("BEGIN; UPDATE t SET n = 5 WHERE id = 1; UPDATE t SET n = 6 WHERE id = 2; COMMIT");
  ASSERT_TRUE(WaitUntil([&] {
    return Target(
               "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = "
               "'applier_" +
               pair_.name() + "'") == "1";
  }));
  RunSql(other, "SELECT FROM t WHERE id = 1 FOR UPDATE; COMMIT");
  EXPECT_TRUE(AwaitEqual());
  EXPECT_TRUE(stream.End().ok());
}

}  // namespace
}  // namespace walferry
