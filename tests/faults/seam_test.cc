// Where the first copy ends and the stream begins: every transaction is in one of them, and in one only.
#include <vector>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "tests/faults/outcome.h"
#include "tests/support/server_pair.h"
#include "tests/support/walferry_process.h"

namespace walferry {
namespace {

// A source with a table "held" whose rows go into the target only after ReleaseCopy(), and two others.
class SeamTest : public testing::Test {
 protected:
  SeamTest() {
    pair_.RunOnSource(
        "create function gate() returns bool language plpgsql as "
        "$$ begin perform pg_advisory_xact_lock_shared(42); return true; end $$; "
        "create table held (id int primary key, n int default 0, check (gate())); insert into held values "
        "(1), (2); "
        "create table t (id int primary key, who text, n int default 0); "
        "insert into t select -g, 'old' from generate_series(1, 1000) g; "
        "create table log (what text)");
    // Held by a connection of its own, which the test's queries do not disturb.
    RunSql(holder_, "select pg_advisory_lock(42)");
  }

  void Start() {
    walferry_.emplace(std::vector<std::string>{"migrate", "--copy-jobs", "3", "--no-identity", "insert-only"},
                      EnvironmentOf(pair_));
  }
  void ReleaseCopy() { RunSql(holder_, "select pg_advisory_unlock(42)"); }

  void ExpectSoon(const std::string& what, const std::function<bool()>& condition) {
    ASSERT_TRUE(WaitUntil([&] { return condition() || !walferry_->running(); })) << what << "\n"
                                                                                 << walferry_->err();
    ASSERT_TRUE(walferry_->running()) << what << "\n" << walferry_->err();
  }
  // The copy of "held" waits, the other tables are copied.
  void ExpectInCopy() {
    ExpectSoon("the copy waits", [&] {
      return QueryText(holder_,
                       "select count(*) from pg_locks where locktype = 'advisory' and not granted") == "1" &&
             QueryText(holder_, "select count(*) from walferry.table_state where phase = 'copied'") == "2";
    });
  }
  void ExpectOnTarget(const std::string& who) {
    ExpectSoon(who + " arrives", [&] {
      return QueryText(pair_.target(), "select count(*) > 0 from t where who = " + QuoteLiteral(who)) == "t";
    });
  }
  void ExpectFollows() {
    pair_.RunOnSource("insert into t values (999999, 'follows')");
    ExpectOnTarget("follows");
  }
  // Everything that was begun on the source is ended.
  void ExpectNothingLost() {
    walferry_->Kill();
    ExpectCaughtUpAndEqual(pair_);
  }

  Connection Begin() {
    Connection connection = MustConnect(pair_.source_conninfo());
    RunSql(connection, "begin");
    return connection;
  }
  // Inserts, changes and deletes rows of both kinds of tables, each time others.
  void Write(Connection& connection, const std::string& who) {
    const int id = 10 * ++writes_;
    RunSql(connection,
           absl::StrFormat("insert into t select g, '%s' from generate_series(%d, %d) g; "
                           "update t set n = n + 1 where id in (%d, %d); delete from t where id in (%d, %d); "
                           "insert into held values (%d); update held set n = n + 1 where id = %d; "
                           "insert into log values ('%s'), ('%s')",
                           who, id, id + 4, id, -id, id + 1, -id - 1, id, id, who, who));
  }
  void WriteAtOnce(const std::string& who) { Write(pair_.source(), who); }

  DatabasePair pair_;
  Connection holder_ = MustConnect(pair_.target_conninfo());
  std::optional<WalferryProcess> walferry_;
  int writes_ = 0;
};

TEST_F(SeamTest, CommitsBeforeDuringAndAfterTheCopyArriveOnce) {
  WriteAtOnce("before");
  Start();
  ExpectInCopy();
  WriteAtOnce("during");
  Connection across = Begin();
  Write(across, "begun during");
  WriteAtOnce("during again");
  ReleaseCopy();
  ExpectFollows();
  WriteAtOnce("after");
  Write(across, "still open");
  RunSql(across, "commit");
  ExpectOnTarget("still open");
  ExpectNothingLost();
}

// The server makes a slot consistent in three steps, each of which ends when the transactions that ran at its
// beginning have ended: one that begins in the last step is open across the slot's position.
TEST_F(SeamTest, TransactionsOpenAcrossTheSlotsCreationArriveWhole) {
  Connection first = Begin();
  Write(first, "first");
  Start();
  const auto waits_for = [&](Connection& connection) {
    return QueryText(pair_.source(),
                     absl::StrFormat("select count(*) from pg_locks where locktype = 'transactionid' "
                                     "and not granted and transactionid::text = '%s'",
                                     QueryText(connection, "select pg_current_xact_id()::xid"))) != "0";
  };
  ExpectSoon("waits for the first", [&] { return waits_for(first); });
  Connection second = Begin();
  Write(second, "second");
  Write(first, "first again");
  RunSql(first, "commit");
  ExpectSoon("waits for the second", [&] { return waits_for(second); });
  Connection third = Begin();
  Write(third, "third");
  RunSql(second, "commit");
  Connection fourth = Begin();
  Write(fourth, "fourth");
  // Of which of the two it waits is up to the moment at which the server looked.
  if (WaitUntil([&] { return waits_for(third); }, absl::Seconds(3))) RunSql(third, "commit");
  if (WaitUntil([&] { return waits_for(fourth); }, absl::Seconds(3))) {
    Connection fifth = Begin();
    Write(fifth, "fifth");
    RunSql(fourth, "commit");
    ExpectInCopy();
    Write(fifth, "fifth again");
    RunSql(fifth, "commit");
  } else {
    ExpectInCopy();
    Write(fourth, "fourth again");
    RunSql(fourth, "commit");
  }
  if (QueryText(third, "select pg_current_xact_id_if_assigned() is null") == "f") RunSql(third, "commit");
  ReleaseCopy();
  ExpectFollows();
  ExpectNothingLost();
}

TEST_F(SeamTest, LongTransactionWithSubtransactionsArrivesWithoutWhatWasRolledBack) {
  pair_.RunOnSource("alter database " + QuoteIdentifier(pair_.name()) +
                    " set logical_decoding_work_mem = '64kB'");
  Start();
  ExpectInCopy();
  Connection across = Begin();
  for (int i = 1; i <= 30; ++i) {
    RunSql(across, absl::StrFormat("savepoint s%d", i));
    Write(across, absl::StrFormat("part %d", i));
    RunSql(across, absl::StrFormat("insert into t select g, repeat('x', 100) from generate_series(%d, %d) g",
                                   i * 10000, i * 10000 + 999));
    if (i % 3 == 0) RunSql(across, absl::StrFormat("rollback to s%d", i));
    if (i % 5 == 3) RunSql(across, absl::StrFormat("release s%d", i));
    // Some of what goes back is in a subtransaction that was released.
    if (i == 7 || i == 14 || i == 21) RunSql(across, absl::StrFormat("rollback to s%d", i - 2));
    if (i == 15) {
      ReleaseCopy();
      ExpectFollows();
    }
  }
  RunSql(across, "commit");
  ExpectOnTarget("part 28");
  ExpectNothingLost();
}

TEST_F(SeamTest, PreparedTransactionsArriveWhenTheyAreCommitted) {
  Connection connection = MustConnect(pair_.source_conninfo());
  const auto prepare = [&](const std::string& who) {
    RunSql(connection, "begin");
    Write(connection, who);
    RunSql(connection, "prepare transaction '" + who + "'");
  };
  // The slot waits for it, as for any that runs.
  prepare("before the slot");
  Start();
  ExpectSoon("makes the slot", [&] {
    return QueryText(pair_.source(), "select count(*) from pg_replication_slots where active") == "1";
  });
  RunSql(connection, "commit prepared 'before the slot'");
  ExpectInCopy();
  prepare("in the copy");
  prepare("never");
  ReleaseCopy();
  ExpectFollows();
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from t where who = 'in the copy'"), "0");
  walferry_->Kill();
  RunSql(connection, "commit prepared 'in the copy'");
  RunSql(connection, "rollback prepared 'never'");
  ExpectNothingLost();
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from t where who = 'in the copy'"), "4");
}

// The rows of a COPY on the source have one position in its WAL.
TEST_F(SeamTest, RowsOfOneCopyOnTheSourceAllArrive) {
  const auto copy = [&](const std::string& who) {
    std::string rows;
    for (int i = 0; i < 20000; ++i) rows += who + std::to_string(i) + "\n";
    ASSERT_TRUE(pair_.source().BeginCopyIn("copy log from stdin").ok());
    ASSERT_TRUE(pair_.source().WriteCopyData(rows).ok());
    EXPECT_EQ(*pair_.source().EndCopyIn(), 20000);
  };
  copy("before ");
  Start();
  ExpectInCopy();
  copy("during ");
  ReleaseCopy();
  ExpectFollows();
  copy("after ");
  ExpectNothingLost();
  EXPECT_EQ(QueryText(pair_.target(), "select count(distinct what) from log"), "60000");
}

// What began before another transaction and commits after it lies before that one's position in the WAL.
TEST_F(SeamTest, TransactionBegunBeforeTheLastAppliedOneArrivesAfterARestart) {
  Start();
  ExpectInCopy();
  Connection first = Begin();
  Write(first, "begun before");
  WriteAtOnce("committed before");
  ReleaseCopy();
  ExpectOnTarget("committed before");
  const std::string end = QueryText(pair_.source(), "select pg_current_wal_lsn()");
  ExpectSoon("is confirmed", [&] {
    return QueryText(pair_.target(), "select confirmed >= '" + end + "' from walferry.migration") == "t";
  });
  walferry_->Kill();
  RunSql(first, "commit");
  ExpectNothingLost();
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from t where who = 'begun before'"), "4");
}

// After a restart the rest is copied under a later snapshot: each table has a position of its own.
TEST_F(SeamTest, TablesCopiedAtDifferentPositionsTakeEachChangeOnce) {
  Start();
  ExpectInCopy();
  WriteAtOnce("between the copies");
  Connection across = Begin();
  Write(across, "open across the second snapshot");
  walferry_->Kill();
  WriteAtOnce("while nobody looked");
  RunSql(across, "commit");
  ReleaseCopy();
  Start();
  ExpectFollows();
  EXPECT_EQ(QueryText(pair_.target(), "select count(distinct position) from walferry.table_state"), "2");
  ExpectNothingLost();
}

}  // namespace
}  // namespace walferry
