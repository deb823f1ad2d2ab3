// What the cutover will make last is tried after the copy; only what was chosen is touched; cleanup gets past
// event triggers.
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class LastStage : public MigrationTest {
 protected:
  LastStage() { RunOnSource("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x')"); }
  std::string MigrateAndTell(std::vector<std::string> extra = {}) const {
    extra.insert(extra.end(), {"--until", "caught-up"});
    const WalferryRun run = Walferry("migrate", extra);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return run.err;
  }
};

TEST_F(LastStage, WhatCannotBeMadeIsToldRightAfterTheCopy) {
  RunOnSource(
      "CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';"
      "CREATE TRIGGER fine AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION tf();"
      "CREATE POLICY p ON t USING (true);");
  const std::string role = name() + "_late";
  RunOnSource("CREATE ROLE " + role + "; CREATE POLICY q ON t TO " + role + " USING (true)");
  RunOnTarget("CREATE ROLE " + role);
  const WalferryRun first = Walferry("migrate", {"--until", "caught-up"});
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.err, Not(HasSubstr("cannot be made")));
  EXPECT_EQ(Target("SELECT count(*) FROM pg_policy"), "0");
  EXPECT_EQ(Target("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"), "0");
  EXPECT_EQ(Walferry("cleanup", {"--yes"}).exit_code, 0);
  RunOnTarget("DROP TABLE t; DROP FUNCTION tf; DROP ROLE " + role);

  const WalferryRun told = Walferry("migrate", {"--until", "caught-up"});
  EXPECT_EQ(told.exit_code, 0) << told.err;
  EXPECT_THAT(told.err, AllOf(HasSubstr("POLICY public.t q cannot be made"),
                              HasSubstr("CREATE ROLE \"" + role + "\"")));
  const WalferryRun refused = Walferry("cutover");
  EXPECT_EQ(refused.exit_code, 1) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("CREATE ROLE \"" + role + "\""));
  RunOnTarget("CREATE ROLE " + role);
  EXPECT_EQ(Walferry("cutover").exit_code, 0);
  RunOnSource("DROP OWNED BY " + role + "; DROP ROLE " + role);
  RunOnTarget("DROP OWNED BY " + role + "; DROP ROLE " + role);
}

// A right that only the last stage needs: the target's user may not create event triggers.
TEST_F(LastStage, EventTriggerOfAPlainUserIsTold) {
  const std::string user = name() + "_mig";
  RunOnSource(
      "CREATE FUNCTION quiet() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
      "CREATE EVENT TRIGGER later ON ddl_command_end EXECUTE FUNCTION quiet()");
  RunOnTarget("CREATE ROLE " + user + " LOGIN; GRANT CREATE ON DATABASE " + name() + " TO " + user +
              "; GRANT CREATE ON SCHEMA public TO " + user);
  const WalferryRun run =
      RunWalferry({"migrate", "--source", pair_.source_conninfo(), "--target",
                   pair_.target_conninfo() + " user=" + user, "--name", name(), "--until", "caught-up"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, AllOf(HasSubstr("EVENT TRIGGER later cannot be made"), HasSubstr("superuser")));
  EXPECT_EQ(Walferry("cleanup", {"--yes"}).exit_code, 0);
  RunOnTarget("DROP OWNED BY " + user + "; DROP ROLE " + user);
}

TEST_F(LastStage, OnlyWhatWasChosenIsTouched) {
  RunOnSource(
      "CREATE TABLE out (id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY); CREATE SEQUENCE lone; "
      "CREATE UNLOGGED TABLE u (id int);"
      "CREATE TABLE b (id int PRIMARY KEY, o int CONSTRAINT bfk REFERENCES out);"
      "COMMENT ON CONSTRAINT bfk ON b IS 'gone'; COMMENT ON TABLE out IS 'gone'; COMMENT ON TABLE b IS "
      "'stays';"
      "CREATE POLICY po ON out USING (true); GRANT SELECT ON out TO PUBLIC;"
      "CREATE VIEW reads AS SELECT * FROM lone");
  const std::string said = MigrateAndTell({"--exclude-tables", "public.out,public.lone,public.u"});
  EXPECT_THAT(said, HasSubstr("foreign key bfk of public.b"));
  EXPECT_EQ(Target("SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relkind IN "
                   "('r', 'S', 'v') AND relnamespace = 'public'::regnamespace"),
            "b,t");
  EXPECT_EQ(Target("SELECT obj_description('b'::regclass, 'pg_class')"), "stays");
}

TEST_F(LastStage, PartitionedTableOutsideTheChoiceStaysAway) {
  RunOnSource(
      "CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
      "CREATE TABLE empty (id int) PARTITION BY LIST (id)");
  MigrateAndTell({"--tables", "public.t"});
  EXPECT_EQ(Target("SELECT string_agg(relname, ',') FROM pg_class WHERE relkind IN ('r', 'p') AND "
                   "relnamespace = 'public'::regnamespace"),
            "t");
}

TEST_F(LastStage, ChoiceThatCannotStandAloneChangesNothing) {
  RunOnSource("CREATE TABLE b (id int PRIMARY KEY, t t)");
  const WalferryRun refused = Walferry("migrate", {"--exclude-tables", "public.t"});
  EXPECT_EQ(refused.exit_code, 3) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("column t of table public.b"));
  EXPECT_EQ(Source("SELECT count(*) FROM pg_publication"), "0");
  EXPECT_EQ(Target("SELECT to_regnamespace('walferry')"), "NULL");
}

TEST_F(LastStage, CleanupGetsPastAnEventTriggerOfTheTarget) {
  MigrateAndTell();
  RunOnTarget(
      "CREATE FUNCTION nod() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no ddl'; END$$;"
      "CREATE EVENT TRIGGER aaa ON ddl_command_start EXECUTE FUNCTION nod();"
      "ALTER EVENT TRIGGER aaa ENABLE ALWAYS");
  const WalferryRun cleanup = Walferry("cleanup", {"--yes"});
  EXPECT_EQ(cleanup.exit_code, 0) << cleanup.err;
  EXPECT_EQ(Target("SELECT to_regnamespace('walferry')"), "NULL");
  EXPECT_EQ(Target("SELECT evtenabled FROM pg_event_trigger"), "A");
  EXPECT_EQ(Source("SELECT count(*) FROM pg_publication"), "0");
  RunOnTarget("ALTER EVENT TRIGGER aaa DISABLE");
}

TEST_F(LastStage, EventTriggersOfTheTargetAreNotInTheWayUnlessAlways) {
  RunOnTarget(
      "CREATE FUNCTION nod() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no ddl'; END$$;"
      "CREATE EVENT TRIGGER aaa ON ddl_command_start EXECUTE FUNCTION nod()");
  MigrateAndTell();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Walferry("cleanup", {"--yes"}).exit_code, 0);
  RunOnTarget("ALTER EVENT TRIGGER aaa DISABLE; DROP TABLE t; ALTER EVENT TRIGGER aaa ENABLE ALWAYS");
  const std::string refused = RefusalOf("migrate");
  EXPECT_THAT(refused,
              AllOf(HasSubstr("no ddl"), HasSubstr("event triggers of the target"), HasSubstr("(\"aaa\")")));
  EXPECT_EQ(Source("SELECT count(*) FROM pg_publication"), "0");
  EXPECT_EQ(Target("SELECT to_regnamespace('walferry')"), "NULL");
  RunOnTarget("ALTER EVENT TRIGGER aaa DISABLE");
}

// Those of the source are its own: named, and the cleanup goes on once they let it pass.
TEST_F(LastStage, CleanupDoesNotTouchEventTriggersOfTheSource) {
  MigrateAndTell();
  RunOnSource(
      "CREATE FUNCTION nod() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no ddl'; END$$;"
      "CREATE EVENT TRIGGER aaa ON ddl_command_start EXECUTE FUNCTION nod()");
  const WalferryRun refused = Walferry("cleanup", {"--yes"});
  EXPECT_EQ(refused.exit_code, 1) << refused.err;
  EXPECT_THAT(refused.err,
              AllOf(HasSubstr("no ddl"), HasSubstr("event triggers of the source"), HasSubstr("(\"aaa\")")));
  EXPECT_EQ(Source("SELECT evtenabled FROM pg_event_trigger"), "O");
  RunOnSource("ALTER EVENT TRIGGER aaa DISABLE");
  EXPECT_EQ(Walferry("cleanup", {"--yes"}).exit_code, 0);
  EXPECT_EQ(Source("SELECT count(*) FROM pg_publication"), "0");
}

}  // namespace
}  // namespace walferry
