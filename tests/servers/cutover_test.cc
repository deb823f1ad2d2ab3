// From the target that follows to the target that is the database; what proves it, and what is left behind.
#include <signal.h>

#include <atomic>
#include <thread>

#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Cutover : public MigrationTest {
 protected:
  void SetUp() override {
    RunOnSource(
        "CREATE TABLE parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text);"
        "CREATE TABLE child (id serial PRIMARY KEY, parent int NOT NULL REFERENCES parent ON DELETE CASCADE, "
        "a text);"
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := upper(NEW.a); RETURN "
        "NEW; END $$;"
        "CREATE TRIGGER shout BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION shout();"
        "CREATE SEQUENCE lonely START 1000 INCREMENT 5;"
        "INSERT INTO parent (a) SELECT 'p' || i FROM generate_series(1, 100) i;"
        "INSERT INTO child (parent, a) SELECT i, 'c' || i FROM generate_series(1, 100) i");
  }
  std::string Phase() const { return Status().at("phase"); }
  // A `migrate` that follows.
  WalferryProcess& Follow() {
    WalferryProcess& migrate = Begin("migrate");
    EXPECT_TRUE(WaitUntil([&] {
      return !migrate.running() ||
             (Target("SELECT to_regclass('walferry.migration') IS NOT NULL") == "t" && Phase() == "follow");
    })) << migrate.err();
    EXPECT_TRUE(migrate.running()) << migrate.err();
    return migrate;
  }
};

TEST_F(Cutover, TakesOverFromTheRunningMigrateAndTheTargetGoesOnWhereTheSourceWas) {
  WalferryProcess& migrate = Follow();
  RunOnSource(
      "INSERT INTO parent (a) VALUES ('late'); INSERT INTO child (parent, a) VALUES (101, 'late'); SELECT "
      "nextval('lonely'), "
      "nextval('lonely'), nextval('child_id_seq')");
  const WalferryRun cutover = Walferry("cutover", {"--json"});
  ASSERT_EQ(cutover.exit_code, 0) << cutover.err;
  EXPECT_EQ(migrate.Wait(), 0) << migrate.err();
  const json report = json::parse(cutover.out);
  EXPECT_EQ(report.at("sequences_set"), 3);
  EXPECT_TRUE(report.at("sequences_missing").empty());
  EXPECT_GT(report.at("write_pause_seconds"), 0);
  EXPECT_EQ(Phase(), "done");
  ExpectEqualContent(pair_);

  EXPECT_EQ(Target("INSERT INTO parent (a) VALUES ('on the target') RETURNING id"), "102");
  EXPECT_EQ(Target("INSERT INTO child (parent, a) VALUES (102, 'new') RETURNING id, a"), "103|NEW");
  EXPECT_EQ(Target("SELECT nextval('lonely')"), "1010");
  EXPECT_EQ(Target("SELECT count(*) FROM pg_trigger WHERE tgenabled <> 'O'"), "0");
  EXPECT_EQ(SqlstateOf(pair_.target().Execute("INSERT INTO child (parent, a) VALUES (9999, 'x')").status()),
            "23503");
  RunOnTarget("DELETE FROM parent WHERE id = 102");
  EXPECT_EQ(Target("SELECT count(*) FROM child WHERE parent = 102"), "0");
}

TEST_F(Cutover, IsOverOnce) {
  Migrate();
  ASSERT_EQ(Walferry("cutover").exit_code, 0);
  for (const std::string command : {"cutover", "migrate", "stream"}) {
    const WalferryRun again = Walferry(command);
    EXPECT_EQ(again.exit_code, 1) << command;
    EXPECT_THAT(again.err, HasSubstr(name())) << command;
  }
}

TEST_F(Cutover, WritesThatGoOnAreNoticedAndTheTargetGoesOnFollowing) {
  Migrate();
  std::atomic<bool> enough = false;
  std::thread application([&] {
    Connection connection = MustConnect(pair_.source_conninfo());
    while (!enough) RunSql(connection, "INSERT INTO parent (a) VALUES ('more')");
  });
  const WalferryRun cutover = Walferry("cutover", {"--timeout", "20s"});
  enough = true;
  application.join();
  EXPECT_EQ(cutover.exit_code, 1) << cutover.err;
  EXPECT_THAT(cutover.err, HasSubstr("still takes writes"));
  EXPECT_EQ(Phase(), "follow");
  Migrate();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Walferry("cutover").exit_code, 0);
  EXPECT_EQ(Phase(), "done");
}

TEST_F(Cutover, DryRunChangesNothing) {
  const WalferryRun early = Walferry("cutover", {"--dry-run"});
  EXPECT_EQ(early.exit_code, 1);
  EXPECT_THAT(early.err, HasSubstr("there is no migration"));
  EXPECT_EQ(Target("SELECT to_regnamespace('walferry')"), "NULL");

  WalferryProcess& migrate = Follow();
  const WalferryRun dry = Walferry("cutover", {"--dry-run"});
  EXPECT_EQ(dry.exit_code, 0) << dry.err;
  RunOnSource("INSERT INTO parent (a) VALUES ('after')");
  EXPECT_TRUE(TargetComesTo("SELECT count(*) FROM parent", "101"));
  EXPECT_EQ(Target("SELECT count(*) FROM pg_trigger WHERE tgname = 'shout'"), "0");
  EXPECT_EQ(Phase(), "follow");
  migrate.Signal(SIGTERM);
  EXPECT_EQ(migrate.Wait(), 0) << migrate.err();
}

TEST_F(Cutover, CleanupShowsWhatItDropsAndLeavesNothingOnEitherSide) {
  WalferryProcess& migrate = Follow();
  EXPECT_EQ(Walferry("cleanup", {"--yes"}).exit_code, 1);  // While it runs.
  migrate.Signal(SIGTERM);
  EXPECT_EQ(migrate.Wait(), 0);
  const WalferryRun shown = Walferry("cleanup");
  EXPECT_THAT(shown.out, AllOf(HasSubstr("drop slot " + name()), HasSubstr("drop publication " + name())));
  EXPECT_EQ(Source("SELECT count(*) FROM pg_publication"), "1");

  EXPECT_EQ(Walferry("cleanup", {"--yes"}).exit_code, 0);
  EXPECT_EQ(Source("SELECT count(*) FROM pg_publication"), "0");
  EXPECT_EQ(Source("SELECT count(*) FROM pg_replication_slots"), "0");
  EXPECT_EQ(Source("SELECT to_regnamespace('walferry')"), "NULL");
  EXPECT_EQ(Target("SELECT to_regnamespace('walferry')"), "NULL");
  EXPECT_EQ(Target("SELECT count(*) FROM pg_replication_origin"), "0");
  EXPECT_EQ(Target("SELECT count(*) FROM parent"), "100");  // What was moved stays.
}

TEST_F(Cutover, CleanupKeepsTheSlotAndPublicationOfTheUser) {
  RunOnTarget("CREATE TABLE parent (id int PRIMARY KEY, a text)");
  Publish("FOR TABLE parent");
  Stream();
  EXPECT_EQ(Walferry("cleanup", {"--yes"}).exit_code, 0);
  EXPECT_EQ(Source("SELECT pubname FROM pg_publication"), "p");
  EXPECT_EQ(Source("SELECT slot_name FROM pg_replication_slots"), slot());
  EXPECT_EQ(Target("SELECT to_regnamespace('walferry')"), "NULL");
}

class Verified : public Cutover {
 protected:
  // The verdict of `verify --json`, which has to end with this code.
  json Verify(int exit_code, std::vector<std::string> extra = {}) {
    extra.push_back("--json");
    const WalferryRun run = Walferry("verify", extra);
    EXPECT_EQ(run.exit_code, exit_code) << run.err;
    return json::parse(run.out, nullptr, /*allow_exceptions=*/false);
  }
  static json TableOf(const json& verdict, const std::string& name) {
    for (const json& table : verdict.at("tables")) {
      if (table.at("name") == name) return table;
    }
    return {};
  }
};

TEST_F(Verified, EqualSidesAreEqualAlsoWhileTheStreamRuns) {
  Follow();
  RunOnSource("UPDATE child SET a = 'changed' WHERE id < 50; DELETE FROM child WHERE id > 90");
  const json verdict = Verify(0);
  EXPECT_TRUE(verdict.at("ok").get<bool>());
  EXPECT_EQ(verdict.at("tables").size(), 2U);
  EXPECT_EQ(TableOf(verdict, "public.child").at("rows_target"), 90);
}

TEST_F(Verified, RowsChangedByHandAreNamedByTheirKeys) {
  Migrate();
  RunOnTarget(
      "UPDATE parent SET a = 'other' WHERE id = 7; DELETE FROM child WHERE id = 11; INSERT INTO child VALUES "
      "(5000, 1, 'own')");
  const json verdict = Verify(4);
  EXPECT_FALSE(verdict.at("ok").get<bool>());
  const json parent = TableOf(verdict, "public.parent");
  EXPECT_FALSE(parent.at("equal").get<bool>());
  ASSERT_EQ(parent.at("differences").size(), 1U) << parent.dump();
  EXPECT_THAT(parent.at("differences")[0].at("key").dump(), HasSubstr("7"));
  const json child = TableOf(verdict, "public.child");
  std::vector<std::string> kinds;
  std::string keys;
  for (const json& difference : child.at("differences")) {
    kinds.push_back(difference.at("kind"));
    keys += difference.at("key").dump();
  }
  EXPECT_THAT(kinds, ::testing::UnorderedElementsAre("missing", "extra")) << child.dump();
  EXPECT_THAT(keys, AllOf(HasSubstr("11"), HasSubstr("5000")));
}

TEST_F(Verified, ServerThatIsAwayIsNoVerdict) {
  EXPECT_EQ(RunWalferry({"verify", "--source", pair_.source_conninfo(), "--target",
                         "host=127.0.0.1 port=1 dbname=x", "--retry-for", "1s"})
                .exit_code,
            5);
}

class Chosen : public Verified {
 protected:
  void SetUp() override {
    RunOnSource(
        "CREATE SCHEMA s; CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE "
        "TABLE s.a (id int "
        "PRIMARY KEY); CREATE TABLE s.c (id int PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO b VALUES "
        "(1); INSERT INTO "
        "s.a VALUES (1); INSERT INTO s.c VALUES (1)");
  }
  std::string TablesOf(Connection& connection) {
    return QueryText(connection,
                     "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('public', "
                     "'s') ORDER BY 1");
  }
};

TEST_F(Chosen, TablesHoldForPublicationCopyStreamAndVerify) {
  const std::vector<std::string> choice = {"--tables", "public.*,s.a", "--exclude-tables", "public.b"};
  Migrate(choice);
  EXPECT_EQ(Source("SELECT schemaname || '.' || tablename FROM pg_publication_tables ORDER BY 1"),
            "public.a\ns.a");
  EXPECT_EQ(TablesOf(pair_.target()), "public.a\ns.a");
  RunOnSource(
      "INSERT INTO a VALUES (2); INSERT INTO b VALUES (2); INSERT INTO s.a VALUES (2); INSERT INTO s.c "
      "VALUES (2)");
  Migrate(choice);
  EXPECT_EQ(Target("SELECT id FROM a ORDER BY id"), "1\n2");
  EXPECT_EQ(Target("SELECT id FROM s.a ORDER BY id"), "1\n2");
  const json verdict = Verify(0, choice);
  std::vector<std::string> names;
  for (const json& table : verdict.at("tables")) names.push_back(table.at("name"));
  EXPECT_THAT(names, ElementsAre("public.a", "s.a"));
}

TEST_F(Chosen, TablesHoldForCopyAlone) {
  const WalferryRun copy = Walferry("copy", {"--exclude-tables", "s.*"});
  ASSERT_EQ(copy.exit_code, 0) << copy.err;
  EXPECT_EQ(TablesOf(pair_.target()), "public.a\npublic.b");
  EXPECT_EQ(Target("SELECT id FROM b"), "1");
  EXPECT_EQ(Source("SELECT count(*) FROM pg_replication_slots"), "0");
  EXPECT_EQ(Target("SELECT to_regnamespace('walferry')"), "NULL");
}

TEST_F(Chosen, TablesHoldForAStreamOfAWiderPublication) {
  RunOnTarget("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)");
  Publish();
  RunOnSource("INSERT INTO a VALUES (2); INSERT INTO b VALUES (2); INSERT INTO s.c VALUES (2)");
  Stream({"--tables", "public.a"});
  EXPECT_EQ(Target("SELECT id FROM a"), "2");
  EXPECT_EQ(Target("SELECT count(*) FROM b"), "0");
}

TEST_F(Chosen, PatternThatMatchesNothingIsRefused) {
  const WalferryRun run = Walferry("migrate", {"--tables", "public.typo"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, HasSubstr("public.typo"));
}

}  // namespace
}  // namespace walferry
