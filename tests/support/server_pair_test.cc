#include "tests/support/server_pair.h"

#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"
#include "tests/support/walferry_process.h"

namespace walferry {
namespace {

TEST(DatabasePair, GivesEachTestItsOwnDatabases) {
  std::string first_name;
  {
    DatabasePair pair;
    first_name = pair.name();
    pair.RunOnBoth("create table t (id int primary key, a text)");
    pair.RunOnSource("insert into t values (1, null), (2, 'b')");
    pair.RunOnTarget("insert into t values (2, 'b'), (1, null)");
    EXPECT_EQ(QueryText(pair.source(), "select * from t order by id"), "1|NULL\n2|b");
    ExpectEqualContent(pair);
    pair.RunOnSource("select pg_create_logical_replication_slot('left_behind', 'pgoutput')");
  }
  DatabasePair pair;
  EXPECT_NE(pair.name(), first_name);
  EXPECT_EQ(QueryText(pair.source(), "select to_regclass('t')"), "NULL");
  EXPECT_EQ(QueryText(pair.source(), "select count(*) from pg_replication_slots"), "0");
  EXPECT_EQ(QueryText(pair.source(), "select count(*) from pg_database where datname like 'test\\_%'"), "1");
}

TEST(DatabasePair, SeesARowThatDiffers) {
  DatabasePair pair;
  pair.RunOnBoth("create table t (id int primary key, a text)");
  pair.RunOnSource("insert into t values (1, null)");
  pair.RunOnTarget("insert into t values (1, '')");
  EXPECT_NE(TableContents(pair.source()), TableContents(pair.target()));
  static DatabasePair* shown = &pair;
  EXPECT_NONFATAL_FAILURE(ExpectEqualContent(*shown), "public.t differs");
}

TEST(DatabasePair, ConnectsAgainAfterTheServerWasRestarted) {
  DatabasePair pair;
  pair.RunOnTarget("create table t as select 42 as a");
  ASSERT_TRUE(TargetServer().Stop("fast").ok());
  EXPECT_FALSE(pair.target().Execute("select 1").ok());
  ASSERT_TRUE(TargetServer().StartAgain().ok());
  EXPECT_EQ(QueryText(pair.target(), "select a from t"), "42");
}

TEST(WalferryProcess, GivesOutputAndExitCode) {
  const WalferryRun run = RunWalferry({"version"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.out.find("walferry"), std::string::npos);
  EXPECT_EQ(RunWalferry({"no-such-command"}).exit_code, 2);
}

}  // namespace
}  // namespace walferry
