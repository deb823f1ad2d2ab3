// What a cutover leaves behind that was refused, failed or was killed: a migration that goes on, and that the
// next cutover completes.
#include <signal.h>

#include <memory>
#include <thread>

#include "absl/time/clock.h"
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kShop[] = R"sql(
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id serial PRIMARY KEY, parent int REFERENCES parent, a text);
CREATE TABLE log (id int, what text); ALTER TABLE log REPLICA IDENTITY FULL;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO public.log VALUES (new.id, tg_op); RETURN new; END';
CREATE TRIGGER note AFTER INSERT OR UPDATE ON child FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE child ENABLE ALWAYS TRIGGER note;
ALTER TABLE child ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON child USING (true);
CREATE MATERIALIZED VIEW z_first AS SELECT count(*) AS n FROM public.child;
CREATE MATERIALIZED VIEW a_second AS SELECT n + 100 AS n FROM public.z_first;
CREATE MATERIALIZED VIEW empty AS SELECT id FROM public.child WITH NO DATA;
INSERT INTO parent SELECT generate_series(1, 10);
INSERT INTO child (parent, a) SELECT i, 'c' || i FROM generate_series(1, 10) i)sql";

class CutoverFlow : public MigrationTest {
 protected:
  void SetUp() override { RunOnSource(kShop); }

  std::string Phase() const { return Status().at("phase"); }

  std::unique_ptr<Connection> Hold(const std::string& conninfo, const std::string& sql) {
    auto connection = std::make_unique<Connection>(MustConnect(conninfo));
    RunSql(*connection, "BEGIN; " + sql);
    return connection;
  }

  // Until a session of walferry waits for a lock on the target.
  // In the switch, not when the gate tries the objects.
  bool SwitchWaits(WalferryProcess& cutover, const std::string& statement) {
    return WaitUntil([&] { return cutover.err().find("marker at") != std::string::npos; }) &&
           TargetWaits(statement);
  }
  bool TargetWaits(const std::string& statement) {
    return WaitUntil([&] {
      return Target(
                 "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name LIKE 'walferry%' AND "
                 "datname = current_database() AND wait_event_type = 'Lock' AND query ILIKE '%" +
                 statement + "%'") == "t";
    });
  }

  // Nothing of the last stage stands on the target, and the stream goes on.
  void ExpectThatTheMigrationGoesOn() {
    EXPECT_EQ(Target("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"), "0");
    EXPECT_EQ(Target("SELECT count(*) FROM pg_policy"), "0");
    RunOnSource("INSERT INTO child (parent, a) VALUES (1, 'after the cutover that was not')");
    Migrate();
    ExpectEqualContent(pair_);
    EXPECT_EQ(Phase(), "follow");
  }

  void ExpectThatTheNextCutoverCompletes() {
    const WalferryRun cutover = Walferry("cutover", {"--json"});
    ASSERT_EQ(cutover.exit_code, 0) << cutover.err;
    EXPECT_THAT(json::parse(cutover.out).at("left_over"), IsEmpty());
    ExpectDone();
  }

  void ExpectDone() {
    EXPECT_EQ(Phase(), "done");
    ExpectEqualContent(pair_);
    ExpectSame("SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal");
    ExpectSame("SELECT polname FROM pg_policy");
    ExpectSame("SELECT conname, convalidated FROM pg_constraint WHERE contype = 'f'");
    ExpectSame("SELECT matviewname, ispopulated FROM pg_matviews ORDER BY 1");
    EXPECT_EQ(Target("SELECT n FROM a_second"),
              std::to_string(100 + std::stoi(Source("SELECT count(*) FROM child"))));
    EXPECT_EQ(Target("SELECT nextval('child_id_seq')"), Source("SELECT nextval('child_id_seq')"));
  }
};

TEST_F(CutoverFlow, MakesAllOfItAndTellsThePartsOfThePause) {
  Migrate();
  const WalferryRun cutover = Walferry("cutover", {"--json"});
  ASSERT_EQ(cutover.exit_code, 0) << cutover.err;
  const json report = json::parse(cutover.out);
  const json& parts = report.at("write_pause");
  double sum = 0;
  for (const char* part : {"drain_seconds", "proof_seconds", "objects_seconds", "sequences_seconds"}) {
    EXPECT_GT(parts.at(part), 0) << part;
    sum += parts.at(part).get<double>();
  }
  EXPECT_LE(sum, report.at("write_pause_seconds").get<double>() + 0.001);
  ExpectDone();
}

// Seen to fail where triggers were made before the proof.
TEST_F(CutoverFlow, RefusedBecauseWritesGoOnItLeavesNoTrigger) {
  Migrate();
  std::atomic<bool> enough = false;
  std::thread application([&] {
    Connection connection = MustConnect(pair_.source_conninfo());
    while (!enough) RunSql(connection, "INSERT INTO child (parent, a) VALUES (2, 'more')");
  });
  const WalferryRun cutover = Walferry("cutover");
  enough = true;
  application.join();
  EXPECT_EQ(cutover.exit_code, 1) << cutover.err;
  EXPECT_THAT(cutover.err, HasSubstr("still takes writes"));
  ExpectThatTheMigrationGoesOn();
  ExpectThatTheNextCutoverCompletes();
}

TEST_F(CutoverFlow, ObjectThatCannotBeMadeLeavesNothingOfTheOthers) {
  const std::string role = name() + "_ghost";
  RunOnSource("CREATE ROLE " + role + "; CREATE POLICY theirs ON child TO " + role + " USING (true)");
  Migrate();
  const WalferryRun cutover = Walferry("cutover");
  EXPECT_EQ(cutover.exit_code, 1) << cutover.err;
  EXPECT_THAT(cutover.err, AllOf(HasSubstr("POLICY public.child theirs"), HasSubstr(role)));
  ExpectThatTheMigrationGoesOn();
  RunOnTarget("CREATE ROLE " + role);
  ExpectThatTheNextCutoverCompletes();
  RunOnTarget("DROP OWNED BY " + role + "; DROP ROLE " + role);
  RunOnSource("DROP OWNED BY " + role + "; DROP ROLE " + role);
}

TEST_F(CutoverFlow, KilledWhileItWaitsForAnOpenTransaction) {
  Migrate();
  auto writer = Hold(pair_.source_conninfo(), "INSERT INTO child (parent, a) VALUES (3, 'open')");
  WalferryProcess& cutover = Begin("cutover");
  ASSERT_TRUE(WaitUntil([&] { return cutover.err().find("waiting up to") != std::string::npos; }))
      << cutover.err();
  cutover.Kill();
  RunSql(*writer, "COMMIT");
  ExpectThatTheMigrationGoesOn();
  ExpectThatTheNextCutoverCompletes();
}

TEST_F(CutoverFlow, StoppedBeforeTheSwitchItSaysThatNothingWasSwitched) {
  Migrate();
  auto writer = Hold(pair_.source_conninfo(), "INSERT INTO child (parent, a) VALUES (3, 'open')");
  WalferryProcess& cutover = Begin("cutover");
  ASSERT_TRUE(WaitUntil([&] { return cutover.err().find("waiting up to") != std::string::npos; }))
      << cutover.err();
  cutover.Signal(SIGTERM);
  EXPECT_EQ(cutover.Wait(), 1);
  EXPECT_THAT(cutover.err(), HasSubstr("stopped before the switch"));
  RunSql(*writer, "COMMIT");
  ExpectThatTheMigrationGoesOn();
}

TEST_F(CutoverFlow, KilledBetweenTheMarkerAndTheProof) {
  Migrate();
  WalferryProcess& cutover = Begin("cutover");
  ASSERT_TRUE(WaitUntil([&] { return cutover.err().find("marker at") != std::string::npos; }))
      << cutover.err();
  cutover.Kill();
  ExpectThatTheMigrationGoesOn();
  ExpectThatTheNextCutoverCompletes();
}

TEST_F(CutoverFlow, KilledInTheMiddleOfTheSwitch) {
  Migrate();
  // Row security needs a stronger lock than the trigger before it.
  auto reader = Hold(pair_.target_conninfo(), "SELECT FROM child");
  WalferryProcess& cutover = Begin("cutover");
  ASSERT_TRUE(SwitchWaits(cutover, "row level security")) << cutover.err();
  cutover.Kill();
  reader.reset();
  ExpectThatTheMigrationGoesOn();
  ExpectThatTheNextCutoverCompletes();
}

TEST_F(CutoverFlow, KilledAfterTheSwitchTheNextOneDoesWhatIsLeft) {
  Migrate();
  ASSERT_EQ(Walferry("cutover", {"--dry-run"}).exit_code, 0);
  RunOnTarget("REFRESH MATERIALIZED VIEW z_first; REFRESH MATERIALIZED VIEW a_second");
  auto reader = Hold(pair_.target_conninfo(), "SELECT FROM z_first");
  WalferryProcess& cutover = Begin("cutover");
  ASSERT_TRUE(TargetWaits("refresh materialized view")) << cutover.err();
  cutover.Kill();
  reader.reset();
  EXPECT_EQ(Phase(), "done");
  ASSERT_EQ(Walferry("cutover").exit_code, 0);
  ExpectDone();
  const WalferryRun again = Walferry("cutover");
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr("was cut over already"));
}

// The session of the switch is ended while its COMMIT waits for a standby that is not there: it is committed.
TEST_F(CutoverFlow, CommitWhoseAnswerIsLostIsReadBack) {
  Migrate();
  auto reader = Hold(pair_.target_conninfo(), "SELECT FROM child");
  WalferryProcess& cutover = Begin("cutover", {"--json"});
  ASSERT_TRUE(SwitchWaits(cutover, "row level security")) << cutover.err();
  RunOnTarget("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
  RunOnTarget("SELECT pg_reload_conf()");
  RunSql(*reader, "SET LOCAL synchronous_commit = local; COMMIT");
  EXPECT_TRUE(WaitUntil([&] {
    return Target(
               "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity WHERE wait_event = "
               "'SyncRep' AND datname = current_database()") == "t";
  })) << cutover.err();
  RunOnTarget("ALTER SYSTEM RESET synchronous_standby_names");
  RunOnTarget("SELECT pg_reload_conf()");
  EXPECT_EQ(cutover.Wait(), 0) << cutover.err();
  ExpectDone();
}

// Seen to fail where a refused cutover had marked the view as done.
TEST_F(CutoverFlow, ViewsAreRefreshedAgainInTheOrderOfTheirDependencies) {
  Migrate();
  RunOnSource("BEGIN; INSERT INTO child (parent, a) VALUES (4, 'prepared'); PREPARE TRANSACTION '" + name() +
              "'");
  EXPECT_EQ(Walferry("cutover", {"--timeout", "1s"}).exit_code, 1);
  RunOnTarget(
      "REFRESH MATERIALIZED VIEW z_first; UPDATE walferry.schema_object SET done = true WHERE kind = "
      "'MATERIALIZED VIEW DATA'");
  RunOnSource("COMMIT PREPARED '" + name() + "'");
  Migrate();
  ExpectThatTheNextCutoverCompletes();
}

TEST_F(CutoverFlow, ViewThatCannotBeRefreshedIsLeftOverAndTheCutoverDone) {
  RunOnSource(
      "CREATE FUNCTION half() RETURNS int LANGUAGE plpgsql AS 'BEGIN IF current_database() IS NOT NULL AND "
      "(SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = ''walferry'') > 0 THEN RAISE ''no such "
      "luck''; "
      "END IF; RETURN 1; END'; CREATE MATERIALIZED VIEW luck AS SELECT public.half() AS n");
  Migrate();
  const WalferryRun cutover = Walferry("cutover", {"--json"});
  ASSERT_EQ(cutover.exit_code, 0) << cutover.err;
  const json left = json::parse(cutover.out).at("left_over");
  ASSERT_EQ(left.size(), 1U) << left;
  EXPECT_EQ(left[0].at("command"), R"(REFRESH MATERIALIZED VIEW "public"."luck";)");
  EXPECT_THAT(cutover.err, HasSubstr("no such luck"));
  EXPECT_EQ(Phase(), "done");
}

TEST_F(CutoverFlow, ObjectsThatAreMissingAreMadeAgainAndThoseThatAreThereAreNoError) {
  Migrate();
  RunOnTarget(
      "DROP MATERIALIZED VIEW a_second, z_first, empty; ALTER TABLE child DROP CONSTRAINT child_parent_fkey, "
      "DROP "
      "CONSTRAINT child_pkey; CREATE POLICY mine ON child USING (true);"
      "CREATE MATERIALIZED VIEW z_first AS SELECT count(*) AS n FROM public.child;"
      "CREATE MATERIALIZED VIEW a_second AS SELECT n + 100 AS n FROM public.z_first;"
      "CREATE MATERIALIZED VIEW empty AS SELECT id FROM public.child WITH NO DATA");
  ExpectThatTheNextCutoverCompletes();
  ExpectSame("SELECT conname FROM pg_constraint WHERE conrelid = 'child'::regclass ORDER BY 1");
}

// Seen to fail: status, migrate and the dry run said cleanup, which made what was left undoable.
TEST_F(CutoverFlow, WhatAKilledCutoverLeftOverIsNamedUntilItIsDone) {
  RunOnSource(
      "CREATE FUNCTION slow() RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_sleep(3); RETURN "
      "1; "
      "END'; CREATE MATERIALIZED VIEW a_slow AS SELECT count(*) AS n, slow() FROM public.log");
  Migrate();
  WalferryProcess& cutover = Begin("cutover");
  ASSERT_TRUE(WaitUntil([&] { return cutover.err().find("switched:") != std::string::npos; }));
  cutover.Kill();
  const json verdict = Status().at("verdict");
  EXPECT_EQ(verdict.at("reasons")[0].at("kind"), "left-over") << verdict;
  EXPECT_EQ(verdict.at("reasons")[0].at("command"), "walferry cutover again");
  for (const std::string command : {"migrate", "cleanup"}) {
    const WalferryRun run = Walferry(
        command, command == "cleanup" ? std::vector<std::string>{"--yes"} : std::vector<std::string>{});
    EXPECT_EQ(run.exit_code, 1) << command;
    EXPECT_THAT(run.err,
                AllOf(HasSubstr("public.a_slow is not refreshed"), HasSubstr("walferry cutover again")));
  }
  EXPECT_THAT(Walferry("cutover", {"--dry-run"}).err, HasSubstr("walferry cutover again"));
  const WalferryRun again = Walferry("cutover", {"--json"});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_TRUE(json::parse(again.out).at("write_pause_seconds").is_null());
  EXPECT_THAT(json::parse(again.out).at("left_over"), IsEmpty());
  ExpectSame("SELECT * FROM a_slow");
  EXPECT_THAT(Walferry("cutover").err, HasSubstr("walferry cleanup"));
  EXPECT_EQ(Walferry("cleanup", {"--yes"}).exit_code, 0);
}

TEST_F(CutoverFlow, EventTriggerThatRefusesDdlComesLast) {
  RunOnSource(
      "CREATE FUNCTION no_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF tg_tag NOT LIKE "
      "'%PUBLICATION' AND tg_tag NOT LIKE 'CREATE TABLE%' THEN RAISE 'no ddl'; END IF; END $$;"
      "CREATE EVENT TRIGGER no_ddl ON ddl_command_start EXECUTE FUNCTION no_ddl();"
      "ALTER EVENT TRIGGER no_ddl ENABLE ALWAYS");
  Migrate();
  const WalferryRun cutover = Walferry("cutover", {"--json"});
  ASSERT_EQ(cutover.exit_code, 0) << cutover.err;
  EXPECT_THAT(json::parse(cutover.out).at("left_over"), IsEmpty());
  EXPECT_EQ(Target("SELECT evtenabled FROM pg_event_trigger"), "A");
  ExpectDone();
  RunOnTarget("DROP EVENT TRIGGER no_ddl");
  RunOnSource("DROP EVENT TRIGGER no_ddl");
}

// The role of the target may not set session_replication_role, so that a trigger or a foreign key would stop
// the stream.
class CutoverOfPlainRole : public CutoverFlow {
 protected:
  void SetUp() override {
    role_ = name() + "_plain";
    RunOnSource(
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id serial PRIMARY KEY, parent int "
        "REFERENCES parent); INSERT INTO parent VALUES (1)");
    RunOnTarget("CREATE ROLE " + role_ + " LOGIN; GRANT CREATE ON DATABASE " + name() + " TO " + role_ +
                "; GRANT CREATE ON SCHEMA public TO " + role_);
  }
  void TearDown() override { RunOnTarget("DROP OWNED BY " + role_ + "; DROP ROLE " + role_); }
  WalferryRun RunAsRole(const std::string& command, const std::vector<std::string>& extra = {}) {
    std::vector<std::string> arguments = Arguments(command, extra);
    for (std::string& argument : arguments) {
      if (argument == pair_.target_conninfo()) argument += " user=" + role_;
    }
    return RunWalferry(arguments);
  }
  std::string role_;
};

TEST_F(CutoverOfPlainRole, RefusedItLeavesNoForeignKeyAndGoesOn) {
  ASSERT_EQ(RunAsRole("migrate", {"--until", "caught-up"}).exit_code, 0);
  std::atomic<bool> enough = false;
  std::thread application([&] {
    Connection connection = MustConnect(pair_.source_conninfo());
    // So seldom that the drain to the marker meets none.
    while (!enough) {
      RunSql(connection, "INSERT INTO child (parent) VALUES (1)");
      absl::SleepFor(absl::Milliseconds(400));
    }
  });
  EXPECT_EQ(RunAsRole("cutover").exit_code, 1);
  enough = true;
  application.join();
  EXPECT_EQ(Target("SELECT count(*) FROM pg_constraint WHERE contype = 'f'"), "0");
  const WalferryRun migrate = RunAsRole("migrate", {"--until", "caught-up"});
  EXPECT_EQ(migrate.exit_code, 0) << migrate.err;
  const WalferryRun cutover = RunAsRole("cutover");
  EXPECT_EQ(cutover.exit_code, 0) << cutover.err;
  EXPECT_EQ(Target("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated"), "1");
  ExpectEqualContent(pair_);
}

// The owner of the target's tables is no superuser, and is under row security itself (FORCE).
TEST_F(CutoverOfPlainRole, ForcedRowSecurityGivesNoPartOfTheRows) {
  RunOnSource(
      "ALTER TABLE child ENABLE ROW LEVEL SECURITY; ALTER TABLE child FORCE ROW LEVEL SECURITY;"
      "CREATE POLICY none ON child USING (false); INSERT INTO child (parent) VALUES (1), (1);"
      "CREATE MATERIALIZED VIEW n AS SELECT count(*) FROM public.child; CREATE TABLE z (id int PRIMARY KEY)");
  ASSERT_EQ(RunAsRole("migrate", {"--until", "caught-up"}).exit_code, 0);
  const WalferryRun cutover = RunAsRole("cutover", {"--json"});
  ASSERT_EQ(cutover.exit_code, 0) << cutover.err;
  const json left = json::parse(cutover.out).at("left_over");
  ASSERT_FALSE(left.empty());
  EXPECT_THAT(left[0].at("text").get<std::string>(), HasSubstr("or a superuser"));
  Connection owner = MustConnect(pair_.target_conninfo() + " user=" + role_);
  for (const json& leftover : left) RunSql(owner, leftover.at("command").get<std::string>());
  ExpectSame("SELECT * FROM n");
  ExpectSame("SELECT relforcerowsecurity FROM pg_class WHERE relname = 'child'");
  ExpectSame("SELECT conname, convalidated FROM pg_constraint WHERE contype = 'f'");
  // The other tables are compared all the same.
  const WalferryRun verify = RunAsRole("verify");
  EXPECT_EQ(verify.exit_code, 5) << verify.out;
  EXPECT_THAT(verify.err, HasSubstr("table public.child could not be compared"));
  EXPECT_THAT(verify.out, AllOf(HasSubstr("equal      public.parent"), HasSubstr("equal      public.z")));
  EXPECT_EQ(RunAsRole("cleanup", {"--yes"}).exit_code, 1);
  EXPECT_EQ(RunAsRole("cleanup", {"--yes", "--accept", "left-over"}).exit_code, 0);
}

// A slot whose restart position lies far back, because of a transaction of another database.
TEST_F(CutoverFlow, ProofDoesNotDecodeFromTheRestartPosition) {
  Migrate();
  Connection elsewhere = MustConnect(SourceServer().Conninfo("postgres"));
  RunSql(elsewhere, "CREATE TABLE " + name() + " (a int)");
  RunSql(elsewhere, "BEGIN; INSERT INTO " + name() + " VALUES (1)");
  RunOnSource(
      "CREATE TABLE noise (a text); INSERT INTO noise SELECT repeat('x', 200) FROM generate_series(1, "
      "400000)");
  const WalferryRun cutover = Walferry("cutover", {"--json", "--accept", "new-tables"});
  ASSERT_EQ(cutover.exit_code, 0) << cutover.err;
  EXPECT_LT(json::parse(cutover.out).at("write_pause_seconds"), 3) << cutover.err;
  RunSql(elsewhere, "ROLLBACK");
  RunSql(elsewhere, "DROP TABLE " + name());
}

}  // namespace
}  // namespace walferry
