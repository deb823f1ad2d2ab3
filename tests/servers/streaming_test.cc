// Transactions that are so large that the source sends them while they are in progress.
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

class Streamed : public MigrationTest {
 protected:
  void SetUp() override {
    RunOnBoth(
        "CREATE TABLE t (id int PRIMARY KEY, a text, c int, d int); CREATE TABLE small (id int PRIMARY KEY)");
    RunOnSource("ALTER TABLE t DROP c, DROP d");
    // Holds for the walsender, too.
    RunOnSource("ALTER DATABASE " + name() + " SET logical_decoding_work_mem = '64kB'");
    Publish();
    RunOnSource("INSERT INTO t VALUES (1, 'before'), (2, 'before')");
  }
  std::vector<std::string> StreamingArguments() const {
    std::vector<std::string> arguments = SlotArguments();
    arguments.insert(arguments.end(), {"--streaming", "on"});
    return arguments;
  }
  // Rows [from, to], far beyond what the source keeps in memory.
  static std::string Insert(int from, int to) {
    return "INSERT INTO t SELECT i, repeat(md5(i::text), 10) FROM generate_series(" + std::to_string(from) +
           ", " + std::to_string(to) + ") i;";
  }
  void ExpectStreamed() {
    EXPECT_TRUE(WaitUntil([&] {
      return Source("SELECT stream_txns > 0 FROM pg_stat_replication_slots WHERE slot_name = '" + slot() +
                    "'") == "t";
    })) << "the source did not stream";
  }
  void ExpectSameRows() {
    ExpectSame("SELECT count(*), sum(id), md5(string_agg(id || a, ',' ORDER BY id)) FROM t");
  }
};

TEST_F(Streamed, TransactionIsAppliedAtItsCommitAndOthersMeanwhile) {
  Begin("stream", StreamingArguments());
  Connection open = MustConnect(pair_.source_conninfo());
  RunSql(open, "BEGIN");
  RunSql(open,
         Insert(3, 2000) + "UPDATE t SET a = a || '+' WHERE id % 2 = 0; DELETE FROM t WHERE id % 3 = 0");
  RunOnSource("INSERT INTO small VALUES (1)");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM small", "1"));
  ExpectStreamed();
  RunSql(open, Insert(5000, 6000));
  RunOnSource("INSERT INTO small VALUES (2)");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM small", "2"));
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "2");
  RunSql(open, "COMMIT");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM t", Source("SELECT count(*) FROM t")));
  ExpectSameRows();
}

TEST_F(Streamed, SeveralAtOnceAndOneThatIsRolledBack) {
  Begin("stream", StreamingArguments());
  Connection first = MustConnect(pair_.source_conninfo());
  Connection second = MustConnect(pair_.source_conninfo());
  Connection rolled_back = MustConnect(pair_.source_conninfo());
  for (Connection* connection : {&first, &second, &rolled_back}) RunSql(*connection, "BEGIN");
  for (int part = 0; part < 3; ++part) {
    RunSql(first, Insert(10000 + part * 1000, 10800 + part * 1000));
    RunSql(second, Insert(20000 + part * 1000, 20800 + part * 1000));
    RunSql(rolled_back, Insert(30000 + part * 1000, 30800 + part * 1000));
  }
  RunSql(second, "COMMIT");
  RunSql(rolled_back, "ROLLBACK");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM t", "2405"));
  EXPECT_EQ(Target("SELECT count(*) FROM t WHERE id BETWEEN 10000 AND 19999"), "0");
  RunSql(first, "COMMIT");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM t", "4808"));
  ExpectSameRows();
  ExpectStreamed();
}

TEST_F(Streamed, KilledWhileATransactionIsInProgress) {
  Connection open = MustConnect(pair_.source_conninfo());
  WalferryProcess& stream = Begin("stream", StreamingArguments());
  RunSql(open, "BEGIN");
  RunSql(open, Insert(3, 2000));
  ExpectStreamed();
  stream.Kill();
  RunSql(open, Insert(3000, 4000));
  RunSql(open, "COMMIT");
  Stream({"--streaming", "on"});
  ExpectSameRows();
}

TEST_F(Streamed, SavepointsThatAreReleased) {
  RunOnSource("BEGIN;" + Insert(3, 500) + "SAVEPOINT s1;" + Insert(501, 1000) +
              "SAVEPOINT s2; UPDATE t SET a = 's2' WHERE id < "
              "20; RELEASE s2; SAVEPOINT s3; DELETE FROM t WHERE id % 7 = 0;" +
              Insert(2000, 2500) + "COMMIT");
  Stream({"--streaming", "on"});
  ExpectSameRows();
  ExpectStreamed();
}

TEST_F(Streamed, SavepointsThatAreRolledBackInAndOutOfOrder) {
  RunOnSource("BEGIN;" + Insert(3, 500) + "SAVEPOINT s1;" + Insert(501, 1000) + "SAVEPOINT s2;" +
              Insert(1001, 1500) + "ROLLBACK TO s1;" + Insert(1501, 2000) + "COMMIT");
  // s2 is released into s1, and goes with it.
  RunOnSource("BEGIN; SAVEPOINT s1;" + Insert(3001, 3500) + "SAVEPOINT s2;" + Insert(3501, 4000) +
              "RELEASE s2; SAVEPOINT s3;" + Insert(4001, 4500) + "ROLLBACK TO s1;" + Insert(4501, 5000) +
              "SAVEPOINT s4; DELETE FROM t WHERE id = 4501; COMMIT");
  RunOnSource("BEGIN;" + Insert(6001, 6500) + "SAVEPOINT s1;" + Insert(6501, 7000) + "ROLLBACK");
  Stream({"--streaming", "on"});
  ExpectSameRows();
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "1499");
  ExpectStreamed();
}

TEST_F(Streamed, ColumnsAddedInsideTheTransaction) {
  RunOnSource("BEGIN;" + Insert(3, 500) +
              "ALTER TABLE t ADD c int; INSERT INTO t SELECT i, 'c', -i FROM generate_series(501, "
              "1000) i; ALTER TABLE t ADD d int; INSERT INTO t SELECT i, 'd', -i, 2 * i FROM "
              "generate_series(1001, 1500) i; COMMIT");
  RunOnSource("INSERT INTO t VALUES (2001, 'after', 1, 2)");
  Stream({"--streaming", "on"});
  ExpectSame("SELECT count(*), sum(id), sum(c), sum(d), count(c), count(d) FROM t");
  EXPECT_EQ(Target("SELECT c, d FROM t WHERE id = 2001"), "1|2");
  ExpectStreamed();
}

TEST_F(Streamed, ColumnsAddedInsideARolledBackSavepoint) {
  RunOnSource("BEGIN;" + Insert(3, 500) +
              "SAVEPOINT s1; ALTER TABLE t ADD c int; INSERT INTO t SELECT i, 'c', -i FROM "
              "generate_series(501, 1500) i; ROLLBACK TO s1;" +
              Insert(2001, 2500) + "COMMIT");
  RunOnSource("INSERT INTO t VALUES (3001, 'after')");
  Stream({"--streaming", "on"});
  ExpectSameRows();
  EXPECT_EQ(Target("SELECT count(c) FROM t"), "0");
  ExpectStreamed();
}

TEST_F(Streamed, TruncationInsideTheTransaction) {
  RunOnSource("INSERT INTO small VALUES (1)");
  RunOnSource("BEGIN;" + Insert(3, 1000) + "TRUNCATE t, small;" + Insert(2001, 3000) + "COMMIT");
  Stream({"--streaming", "on"});
  ExpectSameRows();
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "1000");
  EXPECT_EQ(Target("SELECT count(*) FROM small"), "0");
  ExpectStreamed();
}

TEST_F(Streamed, SmallMemoryAndNoStreamingGiveTheSame) {
  RunOnSource("BEGIN;" + Insert(3, 3000) + "COMMIT");
  RunOnSource("BEGIN; UPDATE t SET a = a || 'x'; COMMIT");
  Stream({"--streaming", "off", "--batch-bytes", "64kB"});
  ExpectSameRows();
  EXPECT_EQ(Source("SELECT coalesce(sum(stream_txns), 0) FROM pg_stat_replication_slots WHERE slot_name = '" +
                   slot() + "'"),
            "0");
}

}  // namespace
}  // namespace walferry
