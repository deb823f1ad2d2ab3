// Tables that are renamed on the source under way, where the target may keep the name for as long as one
// likes.
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using RenamedTable = MigrationTest;

TEST_F(RenamedTable, GoesOnUnderItsOldNameUntilTheTargetFollows) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'); CREATE SCHEMA s");
  Migrate();
  RunOnSource(
      "ALTER TABLE t RENAME TO t_new; ALTER TABLE t_new SET SCHEMA s; INSERT INTO s.t_new VALUES (2, 'b')");
  Migrate();
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "2");
  EXPECT_EQ(Walferry("verify").exit_code, 0);
  RunOnTarget(
      "ALTER TABLE \"public\".\"t\" RENAME TO \"t_new\"; CREATE SCHEMA IF NOT EXISTS s; "
      "ALTER TABLE \"public\".\"t_new\" SET SCHEMA \"s\"");
  RunOnSource("UPDATE s.t_new SET v = 'c' WHERE id = 1");
  Migrate();
  ExpectEqualContent(pair_);
}

// Seen to fail: no run could go on from lanes that a crash had left at different positions.
TEST_F(RenamedTable, IsDealtAsBeforeACrash) {
  RunOnSource(
      "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 60) i");
  Migrate();
  RunOnSource("ALTER TABLE t RENAME TO young");
  WalferryProcess& migrate = Begin("migrate", {"--lanes", "2"});
  RunOnSource("UPDATE young SET n = 1");
  ASSERT_TRUE(TargetComesTo("SELECT min(n) FROM t", "1"));
  Connection holder = MustConnect(pair_.target_conninfo());
  RunSql(holder, "BEGIN; SELECT FROM t WHERE id = 1 FOR UPDATE");
  const auto apart = [&] {
    RunOnSource("UPDATE young SET n = n + 1");
    return Target("SELECT count(DISTINCT position) FROM walferry.lane") == "2";
  };
  // The lane that does not have the row goes on.
  ASSERT_TRUE(WaitUntil(apart)) << migrate.err();
  migrate.Kill();
  ASSERT_TRUE(WaitUntil([&] {
    return Target(
               "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = "
               "current_database() AND application_name LIKE 'walferry %'") == "0";
  }));
  RunSql(holder, "COMMIT");
  EXPECT_EQ(Target("SELECT count(DISTINCT position) FROM walferry.lane"), "2");
  Migrate();
  EXPECT_EQ(Source("SELECT string_agg(n::text, ',' ORDER BY id) FROM young"),
            Target("SELECT string_agg(n::text, ',' ORDER BY id) FROM t"));
}

// What the cutover makes is about the tables as they are called by then.
TEST_F(RenamedTable, IsCutOverWithItsTriggersAndForeignKeys) {
  RunOnSource(
      "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES "
      "parent);"
      "CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';"
      "CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION tf(); CREATE INDEX t_p ON t (p)");
  Migrate();
  RunOnSource("ALTER TABLE t RENAME TO u; ALTER TABLE parent RENAME TO t");
  RunOnTarget("ALTER TABLE t RENAME TO u; ALTER TABLE parent RENAME TO t");
  const WalferryRun cutover = Walferry("cutover");
  EXPECT_EQ(cutover.exit_code, 0) << cutover.err;
  ExpectSame("SELECT tgname FROM pg_trigger WHERE tgrelid = 'u'::regclass AND NOT tgisinternal");
  ExpectSame("SELECT conname FROM pg_constraint WHERE conrelid = 'u'::regclass ORDER BY 1");
}

TEST_F(RenamedTable, AndTheOneThatHasItsNameNow) {
  RunOnSource(
      "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text);"
      "INSERT INTO a VALUES (1, 'a'); INSERT INTO b VALUES (1, 'b')");
  Migrate();
  const char* const kSwap = "ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b";
  RunOnSource(kSwap);
  RunOnSource("INSERT INTO a VALUES (2, 'of b'); UPDATE b SET v = 'of a'");
  Migrate();
  EXPECT_EQ(Target("SELECT v FROM a"), "of a");
  EXPECT_EQ(Target("SELECT string_agg(v, ' ' ORDER BY id) FROM b"), "b of b");
  RunOnTarget(kSwap);
  RunOnSource("INSERT INTO b VALUES (3, 'again of a')");
  Migrate();
  ExpectEqualContent(pair_);
}

}  // namespace
}  // namespace walferry
