// TRUNCATE of the source on the target.
#include <atomic>
#include <thread>

#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Truncate : public MigrationTest {};

TEST_F(Truncate, OneAndSeveralTablesWithTheirRowsBeforeAndAfter) {
  RunOnBoth(
      "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int "
      "PRIMARY KEY)");
  Publish();
  RunOnSource("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1)");
  RunOnSource("BEGIN; INSERT INTO a VALUES (2); TRUNCATE a; INSERT INTO a VALUES (3); COMMIT");
  RunOnSource("TRUNCATE b, c; INSERT INTO c VALUES (4)");
  RunOnSource("BEGIN; TRUNCATE a, c; ROLLBACK");
  Stream();
  EXPECT_EQ(Target("SELECT id FROM a"), "3");
  EXPECT_EQ(Target("SELECT count(*) FROM b"), "0");
  EXPECT_EQ(Target("SELECT id FROM c"), "4");
  EXPECT_EQ(TableStatus("public.c").at("truncates"), 1);
}

TEST_F(Truncate, RestartsIdentitiesOnlyWhereTheSourceDid) {
  RunOnBoth(
      "CREATE TABLE restarted (id serial PRIMARY KEY, a int); CREATE TABLE kept (id serial PRIMARY KEY, a "
      "int)");
  RunOnTarget("ALTER SEQUENCE restarted_id_seq RESTART 101; ALTER SEQUENCE kept_id_seq RESTART 101");
  Publish();
  RunOnSource("TRUNCATE restarted RESTART IDENTITY; TRUNCATE kept");
  Stream();
  EXPECT_EQ(Target("SELECT nextval('restarted_id_seq')"), "1");
  EXPECT_EQ(Target("SELECT nextval('kept_id_seq')"), "101");
}

TEST_F(Truncate, CascadeTakesThePublishedTablesOfTheSourceAlone) {
  RunOnBoth(
      "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, parent int "
      "REFERENCES parent);"
      "CREATE TABLE unpublished (id int PRIMARY KEY)");
  RunOnTarget("INSERT INTO unpublished VALUES (1)");
  Publish("FOR TABLE parent, child");
  RunOnSource(
      "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1); INSERT INTO unpublished VALUES (2)");
  RunOnSource("TRUNCATE parent, unpublished CASCADE; INSERT INTO parent VALUES (2)");
  Stream();
  EXPECT_EQ(Target("SELECT id FROM parent"), "2");
  EXPECT_EQ(Target("SELECT count(*) FROM child"), "0");
  EXPECT_EQ(Target("SELECT id FROM unpublished"), "1");
}

TEST_F(Truncate, TableThatOthersOfTheTargetReferToStopsTheStream) {
  RunOnBoth("CREATE TABLE parent (id int PRIMARY KEY)");
  RunOnTarget("CREATE TABLE own (id int PRIMARY KEY, parent int REFERENCES parent)");
  Publish();
  RunOnSource("INSERT INTO parent VALUES (1)");
  RunOnSource("TRUNCATE parent; INSERT INTO parent VALUES (2)");
  EXPECT_THAT(RefusalOf("stream"), AllOf(HasSubstr("parent"), HasSubstr("foreign key")));
  EXPECT_EQ(Target("SELECT id FROM parent"), "1");
  RunOnTarget("DROP TABLE own");
  Stream();
  EXPECT_EQ(Target("SELECT id FROM parent"), "2");
}

// A table that the application empties and fills again all the time, in transactions that wrote elsewhere
// before, so that making a slot waits for them.
TEST_F(Truncate, TableThatIsTruncatedAllTheTimeIsCopied) {
  RunOnSource(
      "CREATE TABLE hot (id int PRIMARY KEY); CREATE TABLE log (n int PRIMARY KEY); INSERT INTO hot VALUES "
      "(0); "
      "CREATE TABLE large (id int PRIMARY KEY, body text); "
      "INSERT INTO large SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 30000) i");
  std::atomic<bool> end = false;
  std::thread application([&] {
    Connection connection = MustConnect(pair_.source_conninfo());
    for (int i = 1; !end; ++i) {
      RunSql(connection, absl::StrFormat("BEGIN; INSERT INTO log VALUES (%d); TRUNCATE hot; "
                                         "INSERT INTO hot VALUES (%d); COMMIT; SELECT pg_sleep(0.05)",
                                         i, i));
    }
  });
  const WalferryRun run = Walferry("migrate", {"--until", "caught-up", "--copy-jobs", "1"});
  end = true;
  application.join();
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("hot was rewritten"));
  Migrate();
  ExpectSame("SELECT * FROM hot");
  ExpectSame("SELECT count(*) FROM log");
}

TEST_F(Truncate, TableThatIsTruncatedOnceWhileOthersAreCopiedIsCopiedOnce) {
  RunOnBoth("CREATE TABLE once (id int PRIMARY KEY); CREATE TABLE large (id int PRIMARY KEY, body text)");
  RunOnSource(
      "INSERT INTO once VALUES (0); "
      "INSERT INTO large SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 30000) i");
  RunOnTarget("BEGIN; LOCK TABLE large IN SHARE MODE");
  WalferryProcess& run = Begin("migrate", {"--schema", "none", "--until", "caught-up", "--copy-jobs", "1"});
  ASSERT_TRUE(
      TargetComesTo("SELECT count(*) FROM pg_locks WHERE relation = 'large'::regclass AND NOT granted", "1"));
  RunOnSource("TRUNCATE once; INSERT INTO once VALUES (1)");
  RunOnTarget("COMMIT");
  ASSERT_EQ(run.Wait(absl::Seconds(60)), 0) << run.err();
  EXPECT_THAT(run.err(), HasSubstr("once was rewritten"));
  ExpectSame("SELECT * FROM once");
  ExpectSame("SELECT count(*) FROM large");
}

// Commits of the source wait for walferry as for any synchronous standby.
class SynchronousStandby : public MigrationTest {
 protected:
  void SetStandby(const std::string& names) {
    Connection connection = MustConnect(SourceServer().Conninfo("postgres"));
    for (const std::string& statement : {std::string("SET synchronous_commit = local"),
                                         "ALTER SYSTEM SET synchronous_standby_names = '" + names + "'",
                                         std::string("SELECT pg_reload_conf()")}) {
      RunSql(connection, statement);
    }
    EXPECT_TRUE(WaitUntil([&] { return QueryText(connection, "SHOW synchronous_standby_names") == names; }));
    // Commits wait from when the checkpointer has read the setting, too (SyncRepUpdateSyncStandbysDefined).
    RunSql(connection, "CHECKPOINT");
  }
  ~SynchronousStandby() override { SetStandby(""); }
};

TEST_F(SynchronousStandby, CommitsReturnWhenTheyAreOnTheTarget) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY)");
  Publish();
  Begin("stream", SlotArguments());
  RunOnSource("INSERT INTO t VALUES (1)");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM t", "1"));
  SetStandby("\"walferry " + name() + "\"");
  RunOnSource("SET statement_timeout = '30s'");
  for (int i = 2; i <= 4; ++i) {
    RunOnSource("SET synchronous_commit = remote_apply; INSERT INTO t VALUES (" + std::to_string(i) + ")");
    EXPECT_EQ(Target("SELECT max(id) FROM t"), std::to_string(i));
  }
  RunOnSource("TRUNCATE t");
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "0");
}

}  // namespace
}  // namespace walferry
