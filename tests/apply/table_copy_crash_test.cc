// Copies that are interrupted.
#include <thread>

#include "apply/table_copy.h"
#include "gmock/gmock.h"
#include "tests/apply/copy_fixture.h"

namespace walferry {
namespace {

using ::testing::HasSubstr;

class TableCopyCrash : public CopyFixture {
 protected:
  void SetUp() override {
    CopyFixture::SetUp();
    pair_.RunOnBoth("create table t (id int primary key, body text)");
    pair_.RunOnSource("insert into t select i, md5(i::text) from generate_series(1, 50000) i");
    AddTablesToState({{"public", "t"}});
    TakeSnapshot();
    options_.range_bytes = 512 << 10;
  }

  // A transaction on the target that makes COPY into the table wait, until ended.
  Connection HoldTable() {
    Connection holder = MustConnect(pair_.target_conninfo());
    RunSql(holder, "begin");
    RunSql(holder, "lock table t in share mode");
    return holder;
  }

  // Ends backends of workers on a side that do what `condition` says; returns how many.
  static int Terminate(Connection& connection, const std::string& condition) {
    const absl::StatusOr<Result> ended = connection.Execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'walferry' and "
        "datname = current_database() and " +
        condition);
    return ended.ok() ? ended->rows() : 0;
  }
};

TEST_F(TableCopyCrash, BackendsOfBothSidesMayEndInTheMiddleOfRanges) {
  std::atomic<bool> end = false;
  int ended = 0;
  std::thread killer([&] {
    Connection source = MustConnect(pair_.source_conninfo());
    Connection target = MustConnect(pair_.target_conninfo());
    while (!end) {
      ended += Terminate(target, "query like 'COPY %' and state = 'active'");
      ended += Terminate(source, "query like 'COPY %' and state = 'active'");
      absl::SleepFor(absl::Milliseconds(50));
      if (ended > 12) return;
    }
  });
  const absl::Status copied = Copy();
  end = true;
  killer.join();
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_GT(ended, 0);
  ExpectEqualContent(pair_);
  EXPECT_EQ(Record("t").rows, 50000);
  EXPECT_EQ(progress_.rows_copied, 50000);
  EXPECT_EQ(progress_.bytes_copied, Record("t").bytes);
}

// Calls `what` in a trigger as a range is marked done, with the number of the call.
std::string AtEndOfRange(const std::string& what) {
  return "create sequence calls; create function at_end() returns trigger language plpgsql as $$ begin " +
         what +
         " return null; end $$; create constraint trigger at_end after update on walferry.table_state "
         "deferrable "
         "initially deferred for each row when (new.ranges <> old.ranges) execute function at_end(); "
         "alter table walferry.table_state enable always trigger at_end";
}

TEST_F(TableCopyCrash, RangeWhoseCommitFailedIsRepeated) {
  pair_.RunOnTarget(AtEndOfRange(
      "if nextval('public.calls') <= 2 then perform pg_terminate_backend(pg_backend_pid()); end if;"));
  const absl::Status copied = Copy();
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_GT(QueryText(pair_.target(), "select last_value from calls"), "2");
  ExpectEqualContent(pair_);
}

TEST_F(TableCopyCrash, CommitWhoseAnswerIsLostIsNotRepeated) {
  // A commit that waits for a standby, which never comes, is done already; its backend is ended before it
  // answers.
  pair_.RunOnTarget(
      AtEndOfRange("if nextval('public.calls') = 1 then set local synchronous_commit = on; end if;"));
  Connection target = MustConnect(pair_.target_conninfo());
  RunSql(target, "alter system set synchronous_standby_names = 'nobody'");
  RunSql(target, "select pg_reload_conf()");
  absl::Status copied;
  std::thread copy([&] { copied = Copy(); });
  EXPECT_TRUE(WaitUntil([&] { return Terminate(target, "wait_event = 'SyncRep'") == 1; }));
  RunSql(target, "alter system reset synchronous_standby_names");
  RunSql(target, "select pg_reload_conf()");
  copy.join();
  ASSERT_TRUE(copied.ok()) << copied;
  ExpectEqualContent(pair_);
  EXPECT_EQ(Record("t").rows, 50000);
  EXPECT_EQ(progress_.rows_copied, 50000);
  EXPECT_EQ(progress_.bytes_copied, Record("t").bytes);
}

TEST_F(TableCopyCrash, TableThatWasBeingCopiedIsEmptiedFirst) {
  pair_.RunOnTarget("insert into t values (1, 'half'), (-5, 'a row of a run that was killed')");
  ASSERT_TRUE(BeginTableCopy(pair_.target(), "m", {"public", "t"}, Lsn{7}).ok());
  ASSERT_TRUE(Copy().ok());
  ExpectEqualContent(pair_);
  EXPECT_EQ(Record("t").position, options_.position);
}

TEST_F(TableCopyCrash, TableThatOthersReferToIsEmptiedByDelete) {
  pair_.RunOnTarget("create table child (id int references t); insert into t values (-5, 'x')");
  ASSERT_TRUE(BeginTableCopy(pair_.target(), "m", {"public", "t"}, Lsn{7}).ok());
  ASSERT_TRUE(Copy().ok());
  EXPECT_EQ(QueryText(pair_.target(), "select count(*), min(id) from t"), "50000|1");
}

TEST_F(TableCopyCrash, StopEndsTheCopyAndALaterRunFinishesIt) {
  absl::Status stopped;
  {
    Connection holder = HoldTable();
    std::thread copy([&] { stopped = Copy(); });
    EXPECT_TRUE(WaitUntil([&] {
      return QueryText(holder,
                       "select count(*) > 0 from pg_locks where not granted and relation = 't'::regclass") ==
             "t";
    }));
    stop_.Request();
    copy.join();
  }
  EXPECT_EQ(stopped.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Record("t").phase, TablePhase::kCopying);
  const StopSignal go_on;
  TakeSnapshot();
  const std::vector<TableRecord> tables = LoadTables(pair_.target(), "m").value();
  ASSERT_TRUE(CopyTables(options_, tables, progress_, go_on, nullptr).ok());
  ExpectEqualContent(pair_);
}

TEST_F(TableCopyCrash, TargetThatForgetsCommitsInACrashIsCopiedAgain) {
  // The state as a crash would leave it that lost the newest asynchronous commits: found out at the end of
  // the pass.
  bool forgot = false;
  options_.source = pair_.source_conninfo();
  options_.target = pair_.target_conninfo();
  options_.migration = "m";
  const absl::Status copied = CopyTables(
      options_, LoadTables(pair_.target(), "m").value(), progress_, stop_, [&](const TableRecord&) {
        if (std::exchange(forgot, true)) return;
        Connection target = MustConnect(pair_.target_conninfo());
        RunSql(target,
               "begin; delete from t where id > 40000; update walferry.table_state set phase = 'copying', "
               "ranges = ranges[1:1]; commit");
      });
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_TRUE(forgot);
  ExpectEqualContent(pair_);
}

TEST_F(TableCopyCrash, LostSnapshotIsSaidAndDoneTablesStayDone) {
  pair_.RunOnBoth("create table a (id int)");
  pair_.RunOnSource("insert into a values (1)");
  AddTablesToState({{"public", "a"}});
  TableRecord done = Record("t");
  done.phase = TablePhase::kCopied;
  ASSERT_TRUE(UpdateTable(pair_.target(), "m", done).ok());
  RunSql(exporter_, "commit");
  const absl::Status status = Copy();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("under a new one; tables that are done stay done"));
  RunSql(exporter_, "begin");
  TakeSnapshot();
  ASSERT_TRUE(Copy().ok());
  EXPECT_EQ(QueryText(pair_.target(), "select (select count(*) from a), (select count(*) from t)"), "1|0");
}

TEST_F(TableCopyCrash, TableThatIsRewrittenUnderTheSnapshotIsNotCopied) {
  for (const char* rewrite : {"vacuum full t", "alter table t alter id type bigint", "truncate t"}) {
    TakeSnapshot();
    pair_.RunOnSource(rewrite);
    const absl::Status status = Copy();
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << rewrite;
    EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("table public.t was rewritten")) << rewrite;
  }
}

TEST_F(TableCopyCrash, SecondWriterOfTheSameTableFails) {
  absl::Status second;
  {
    Connection holder = HoldTable();
    std::thread copy([&] { second = Copy(); });
    EXPECT_TRUE(WaitUntil([&] {
      return QueryText(holder,
                       "select count(*) > 0 from pg_locks where not granted and relation = 't'::regclass") ==
             "t";
    }));
    Connection other = MustConnect(pair_.target_conninfo());
    ASSERT_TRUE(BeginTableCopy(other, "m", {"public", "t"}, Lsn{9999}).ok());
    RunSql(holder, "commit");
    copy.join();
  }
  EXPECT_EQ(second.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(MessageOf(second)), HasSubstr("another walferry copies table public.t"));
}

}  // namespace
}  // namespace walferry
