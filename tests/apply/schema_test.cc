#include "apply/schema.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "apply/dump_program.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kSchema[] = R"sql(
create extension hstore; create extension btree_gist;
create schema app; comment on schema app is 'the shop';
create type app.mood as enum ('a', 'b');
create domain app.positive as int check (value > 0);
create table app.p (id int primary key, m app.mood, t text, h hstore) partition by range (id);
create table app.p1 partition of app.p for values from (0) to (10);
create table app.p2 partition of app.p for values from (10) to (20);
create index p_t on app.p (t); comment on index app.p_t is 'by text';
create table app."C ""c" (id bigserial primary key, pid int references app.p (id), x app.positive unique,
  y int check (y > 0), "Q" int generated always as identity, ex int4range, exclude using gist (pid with =, ex with &&));
alter table app."C ""c" add constraint nv check (y > 1) not valid;
alter table app."C ""c" cluster on "C ""c_pkey";
create unique index ri on app."C ""c" ("Q"); alter table app."C ""c" replica identity using index ri;
create table f (a int, doubled int generated always as (a * 2) stored); alter table f replica identity full;
create statistics app.st on pid, y from app."C ""c";
create function app.f() returns trigger language plpgsql as $$begin
--
-- Name: fake; Type: TABLE; Schema: x; Owner: y
--
return new; end$$;
create trigger tr before insert on app."C ""c" for each row execute function app.f();
comment on trigger tr on app."C ""c" is 'it''s a trigger';
alter table app."C ""c" enable always trigger tr;
create trigger trp after insert on app.p for each row execute function app.f();
create rule ru as on delete to f do instead nothing;
alter table app."C ""c" enable row level security; create policy po on app."C ""c" using (y > 0);
create view app.v as select * from app."C ""c";
create view app.needs_key as select id, t, count(*) from app.p group by id;
create materialized view app.mv as select id, t from app.p; create index mvi on app.mv (id);
create materialized view app.a_second as select count(*) as n from app.mv;
create materialized view app.mv_needs_key as select id, t from app.p1 group by id;
create unique index mnk on app.mv_needs_key (id);
insert into app.p values (1, 'a', 'one'), (11, 'b', 'two');
)sql";

// What the catalogs say about the user's objects, as text to compare.
constexpr char kCatalogs[] = R"sql(
select 'relation', c.oid::regclass::text, c.relkind::text, c.relreplident::text || c.relrowsecurity::text from pg_class c
  join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('app', 'public') and c.relkind <> 'S'
union all select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid) || convalidated::text
  from pg_constraint where conrelid <> 0 and connamespace in (select oid from pg_namespace where nspname in ('app', 'public'))
union all select 'index', indexrelid::regclass::text, indisvalid::text || indisclustered::text || indisreplident::text,
  pg_get_indexdef(indexrelid) from pg_index where indrelid in
  (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('app', 'public'))
union all select 'trigger', tgrelid::regclass::text, tgname || tgenabled::text, pg_get_triggerdef(oid) from pg_trigger
  where not tgisinternal
union all select 'comment', objoid::text, '', description from (select 0 as objoid, description from pg_description d
  where d.objoid >= 16384 and not exists (select from pg_depend e where e.objid = d.objoid and e.deptype = 'e')
  and d.classoid <> 'pg_extension'::regclass and description not like 'walferry state%') c
union all select 'policy', polrelid::regclass::text, polname, '' from pg_policy
union all select 'rule', tablename, rulename, definition from pg_rules where schemaname in ('app', 'public')
union all select 'attached', inhrelid::regclass::text, inhparent::regclass::text, '' from pg_inherits
union all select 'statistics', stxname, pg_get_statisticsobjdef(oid), '' from pg_statistic_ext
order by 1, 2, 3, 4)sql";

class Schema : public ::testing::Test {
 protected:
  void SetUp() override {
    pair_.RunOnSource(kSchema);
    ASSERT_TRUE(EnsureStateSchema(pair_.target()).ok());
    migration_.name = "m";
    migration_.phase = Phase::kSchema;
    ASSERT_TRUE(InsertMigration(pair_.target(), migration_).ok());
    options_.source = pair_.source_conninfo();
  }
  absl::StatusOr<SchemaDump> Dump() { return DumpSchema(options_, pair_.source().server_version(), stop_); }
  absl::Status Create(const SchemaDump& dump) {
    migration_.phase = Phase::kCopy;
    return CreatePreData(pair_.target(), migration_, dump);
  }
  static std::string PreDataOf(const SchemaDump& dump) {
    std::string sql;
    for (const SchemaObject& object : dump.pre_data) sql += object.sql;
    return sql;
  }
  absl::Status CreateUpTo(ObjectStage last) {
    return CreateObjects(pair_.target_conninfo(), "m", last, 3, stop_,
                         [this](const ObjectProgress& progress) { shown_.push_back(progress); });
  }
  DatabasePair pair_;
  MigrationRecord migration_;
  SchemaDumpOptions options_;
  StopSignal stop_;
  std::vector<ObjectProgress> shown_;
};

TEST_F(Schema, ArrivesInFullStageByStage) {
  const SchemaDump dump = Dump().value();
  const absl::Status created = Create(dump);
  ASSERT_TRUE(created.ok()) << created;
  EXPECT_EQ(LoadMigration(pair_.target(), "m").value()->phase, Phase::kCopy);
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from pg_index where indrelid = 'app.p1'::regclass"),
            "0");
  pair_.RunOnTarget("insert into app.p values (1, 'a', 'one'), (11, 'b', 'two')");

  absl::Status status = CreateUpTo(ObjectStage::kAttach);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from pg_constraint where contype = 'f'"), "0");
  EXPECT_EQ(
      QueryText(pair_.target(), "select indisvalid from pg_index where indexrelid = 'app.p_pkey'::regclass"),
      "t");
  status = CreateUpTo(ObjectStage::kForeignKey);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from pg_trigger where not tgisinternal"), "0");
  status = CreateUpTo(ObjectStage::kTrigger);
  ASSERT_TRUE(status.ok()) << status;

  EXPECT_EQ(QueryText(pair_.target(), kCatalogs), QueryText(pair_.source(), kCatalogs));
  EXPECT_EQ(QueryText(pair_.target(), "select id, t from app.mv order by id"), "1|one\n11|two");
  EXPECT_EQ(QueryText(pair_.target(), "select n from app.a_second"), "2");
  EXPECT_EQ(QueryText(pair_.target(), "select id, t from app.mv_needs_key"), "1|one");
  EXPECT_EQ(shown_.size(), dump.post_data.size());
  EXPECT_EQ(shown_.back().done, shown_.back().total);
  std::vector<std::int64_t> attached;
  for (const ObjectProgress& progress : shown_) {
    if (progress.object.stage == ObjectStage::kAttach) attached.push_back(progress.object.id);
  }
  EXPECT_GE(attached.size(), 4U);
  EXPECT_TRUE(std::is_sorted(attached.begin(), attached.end())) << "a server loses its way in a tree else";
}

TEST_F(Schema, PreDataIsAllOrNothing) {
  SchemaDump dump = Dump().value();
  dump.pre_data.back().sql += "select 1 / 0;";
  EXPECT_FALSE(Create(dump).ok());
  EXPECT_EQ(LoadMigration(pair_.target(), "m").value()->phase, Phase::kSchema);
  EXPECT_THAT(LoadObjects(pair_.target(), "m").value(), IsEmpty());
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from pg_namespace where nspname = 'app'"), "0");
  ASSERT_TRUE(Create(Dump().value()).ok());
}

TEST_F(Schema, PreDataOfManyObjectsGoesOnWhereItStopped) {
  SchemaDump dump = Dump().value();
  const SchemaObject last = dump.pre_data.back();
  dump.pre_data.back().sql += "select 1 / 0;";
  migration_.phase = Phase::kCopy;
  EXPECT_FALSE(CreatePreData(pair_.target(), migration_, dump, 2).ok());
  EXPECT_EQ(LoadMigration(pair_.target(), "m").value()->phase, Phase::kSchema);
  PreDataState state = LoadPreData(pair_.target(), "m").value();
  EXPECT_TRUE(state.recorded);
  ASSERT_GE(state.missing.size(), 1U);
  EXPECT_LE(state.missing.size(), 2U);
  state.missing.back().sql = last.sql;
  const absl::Status finished = FinishPreData(pair_.target(), migration_, state.missing, 2);
  ASSERT_TRUE(finished.ok()) << finished;
  EXPECT_EQ(LoadMigration(pair_.target(), "m").value()->phase, Phase::kCopy);
  EXPECT_FALSE(LoadPreData(pair_.target(), "m").value().recorded);
  const absl::Status status = CreateUpTo(ObjectStage::kTrigger);
  ASSERT_TRUE(status.ok()) << status;
  pair_.RunOnTarget("insert into app.p values (1, 'a', 'one'), (11, 'b', 'two')");
  EXPECT_EQ(QueryText(pair_.target(), kCatalogs), QueryText(pair_.source(), kCatalogs));
}

TEST_F(Schema, ObjectsThatFailedAreCreatedByALaterRunAndTheOthersNotAgain) {
  ASSERT_TRUE(Create(Dump().value()).ok());
  pair_.RunOnTarget("insert into app.p1 values (1), (1)");
  const absl::Status failed = CreateUpTo(ObjectStage::kTrigger);
  EXPECT_EQ(SqlstateOf(failed), "23505") << failed;
  EXPECT_THAT(std::string(MessageOf(failed)), HasSubstr("CONSTRAINT app.p1 p1_pkey"));
  const std::size_t created = shown_.size();
  pair_.RunOnTarget("truncate app.p");
  const absl::Status status = CreateUpTo(ObjectStage::kTrigger);
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<SchemaObject> objects = LoadObjects(pair_.target(), "m").value();
  EXPECT_THAT(objects, Each(Field(&SchemaObject::done, true)));
  // Not always all: what the failure interrupted at its COMMIT is done, and shown by neither run.
  EXPECT_LE(shown_.size(), objects.size());
  EXPECT_GT(shown_.size(), created);
  EXPECT_EQ(QueryText(pair_.target(), kCatalogs), QueryText(pair_.source(), kCatalogs));
}

TEST_F(Schema, ForeignKeysAreCheckedAgainstTheRows) {
  ASSERT_TRUE(Create(Dump().value()).ok());
  pair_.RunOnTarget("insert into app.\"C \"\"c\" (pid) values (5)");
  ASSERT_TRUE(CreateUpTo(ObjectStage::kAttach).ok());
  const absl::Status status = CreateUpTo(ObjectStage::kForeignKey);
  EXPECT_EQ(SqlstateOf(status), "23503") << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("FK CONSTRAINT app.C \"c C \"c_pid_fkey"));
}

TEST_F(Schema, LostConnectionWhileCreatingIsTriedAgain) {
  ASSERT_TRUE(Create(Dump().value()).ok());
  Connection holder = MustConnect(pair_.target_conninfo());
  RunSql(holder, "begin; lock table app.p1 in row exclusive mode");
  absl::Status status;
  std::thread creation([&] { status = CreateUpTo(ObjectStage::kTrigger); });
  EXPECT_TRUE(WaitUntil([&] {
    const auto ended = pair_.target().Execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and "
        "application_name = 'walferry' and wait_event_type = 'Lock'");
    return ended.ok() && ended->rows() > 0;
  }));
  RunSql(holder, "commit");
  creation.join();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(QueryText(pair_.target(), kCatalogs), QueryText(pair_.source(), kCatalogs));
}

TEST_F(Schema, ExcludedTablesTakeTheirDependentsWithThem) {
  options_.excluded_tables = {{"app", "p"}, {"app", "p1"}, {"app", "p2"}};
  const SchemaDump dump = Dump().value();
  EXPECT_THAT(dump.left_out, ElementsAre("foreign key C \"c_pid_fkey of app.C \"c", "view app.a_second",
                                         "view app.mv", "view app.mv_needs_key", "view app.needs_key"));
  ASSERT_TRUE(Create(dump).ok());
  const absl::Status status = CreateUpTo(ObjectStage::kTrigger);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(
      QueryText(pair_.target(),
                "select string_agg(relname, ',' order by relname) from pg_class where relkind in "
                "('r', 'p', 'v', 'm') and relnamespace in ('app'::regnamespace, 'public'::regnamespace)"),
      "C \"c,f,v");
}

TEST_F(Schema, OwnersAndGrantsAreKeptOrLeftOut) {
  const std::string role = pair_.name() + "_owner";
  RunSql(pair_.source(),
         "create role " + role + "; alter table f owner to " + role + "; grant select on app.p to " + role);
  const SchemaDump kept = Dump().value();
  EXPECT_THAT(PreDataOf(kept), HasSubstr("ALTER TABLE public.f OWNER TO " + role));
  EXPECT_THAT(PreDataOf(kept), HasSubstr("TO " + role));
  options_.keep_owners = false;
  EXPECT_THAT(PreDataOf(Dump().value()), Not(HasSubstr(role)));
  RunSql(pair_.source(), "drop owned by " + role + "; drop role " + role);
}

TEST_F(Schema, DumpIsOfTheSnapshot) {
  Connection exporter = MustConnect(pair_.source_conninfo());
  RunSql(exporter, "begin isolation level repeatable read");
  options_.snapshot = QueryText(exporter, "select pg_export_snapshot()");
  pair_.RunOnSource("create table later (a int)");
  EXPECT_THAT(PreDataOf(Dump().value()), Not(HasSubstr("later")));
  RunSql(exporter, "commit");
  EXPECT_FALSE(Dump().ok());
}

TEST_F(Schema, EventTriggersOfTheTargetStayOutOfIt) {
  pair_.RunOnTarget(
      "create function public.no() returns event_trigger language plpgsql as $$ begin raise 'no'; end $$; "
      "create event trigger no on ddl_command_end execute function public.no()");
  const absl::Status created = Create(Dump().value());
  EXPECT_TRUE(created.ok()) << created;
  const absl::Status status = CreateUpTo(ObjectStage::kTrigger);
  EXPECT_TRUE(status.ok()) << status;
  pair_.RunOnTarget(
      "set session_replication_role = replica; drop event trigger no; reset session_replication_role");
}

TEST_F(Schema, AnalyzeCoversLeavesAndRoots) {
  ASSERT_TRUE(Create(Dump().value()).ok());
  pair_.RunOnTarget("insert into app.p values (1, 'a', 'one'), (11, 'b', 'two'); insert into f values (1)");
  ASSERT_TRUE(
      AnalyzeTables(pair_.target_conninfo(), {{"app", "p1"}, {"app", "p2"}, {"public", "f"}}, 2, stop_).ok());
  EXPECT_EQ(QueryText(pair_.target(),
                      "select string_agg(distinct tablename, ',' order by tablename) from pg_stats where "
                      "schemaname in ('app', 'public')"),
            "f,p,p1,p2");
}

// pg_dump locks tables in an order of its own.
TEST_F(Schema, DeadlockOfTheDumpWithTheApplicationIsTriedAgain) {
  pair_.RunOnSource("create table dumped_first (a int); create table dumped_last (a int)");
  Connection application = MustConnect(pair_.source_conninfo());
  RunSql(application, "set deadlock_timeout = '1h'; begin; lock table dumped_last in access exclusive mode");
  const int server_version = pair_.source().server_version();
  absl::Status status;
  absl::Mutex mutex;
  std::string text;
  options_.lock_retry.waiting = [&](const std::string& why) {
    const absl::MutexLock lock(&mutex);
    text = why;
  };
  const auto told = [&] {
    const absl::MutexLock lock(&mutex);
    return text;
  };
  std::thread dump([&] { status = DumpSchema(options_, server_version, stop_).status(); });
  EXPECT_TRUE(WaitUntil(
      [&] { return QueryText(pair_.source(), "select count(*) from pg_locks where not granted") == "1"; }));
  RunSql(application, "lock table dumped_first in access exclusive mode");
  EXPECT_TRUE(WaitUntil([&] { return !told().empty(); }));
  RunSql(application, "commit");
  dump.join();
  EXPECT_TRUE(status.ok()) << status;
}

// pg_dump looks at the catalogs of two moments: of the snapshot, and of its own.
TEST_F(Schema, WhatIsGoneSinceTheSnapshotIsAborted) {
  for (const std::string change :
       {"alter table f rename to g", "drop view app.v", "drop materialized view app.mv_needs_key",
        "alter table app.\"C \"\"c\" drop constraint \"C \"\"c_x_key\"", "alter schema app rename to shop"}) {
    SCOPED_TRACE(change);
    Connection exporter = MustConnect(pair_.source_conninfo());
    RunSql(exporter, "begin isolation level repeatable read");
    options_.snapshot = QueryText(exporter, "select pg_export_snapshot()");
    pair_.RunOnSource(change);
    const absl::Status status = Dump().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
  }
  options_.snapshot.clear();
  EXPECT_TRUE(Dump().ok());

  options_.only_tables = {{"shop", "p1"}, {"public", "f"}};
  const absl::Status status = DumpPartitions(options_, pair_.source().server_version(), stop_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
}

TEST(DumpProgram, ErrorIsThatOfTheProgram) {
  const StopSignal stop;
  const absl::Status status =
      RunForOutput({"sh", "-c", "echo one; echo bad thing >&2; exit 3"}, {}, stop).status();
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("exit code 3: bad thing"));
  EXPECT_EQ(RunForOutput({"sh", "-c", "echo $A"}, {{"A", "b"}}, stop).value(), "b\n");
}

TEST(DumpProgram, StopEndsIt) {
  StopSignal stop;
  stop.Request();
  EXPECT_EQ(RunForOutput({"sleep", "600"}, {}, stop).status().code(), absl::StatusCode::kCancelled);
}

TEST(DumpProgram, VersionThatIsNotThereIsNamedWithItsPackage) {
  EXPECT_TRUE(FindDumpProgram(150000).ok());
  const absl::Status status = FindDumpProgram(990000).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("postgresql-client-99"));
}

// Programs that say a version, in directories of their own.
class OtherDumpPrograms : public ::testing::Test {
 protected:
  OtherDumpPrograms() : path_(std::getenv("PATH")) {
    char directory[] = "/tmp/walferry-programs-XXXXXX";
    root_ = mkdtemp(directory);
  }
  ~OtherDumpPrograms() override {
    setenv("PATH", path_.c_str(), 1);
    std::filesystem::remove_all(root_);
  }
  std::string Make(const std::string& name, const std::string& says) const {
    const std::filesystem::path program = root_ + "/" + name;
    std::filesystem::create_directories(program.parent_path());
    std::ofstream(program) << "#!/bin/sh\necho '" << says << "'\n";
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    return program.string();
  }
  void PutIntoPath(const std::string& directories) const {
    setenv("PATH", (directories + ":" + path_).c_str(), 1);
  }

  std::string path_;
  std::string root_;
};

TEST_F(OtherDumpPrograms, LowestFittingOfAllDirectoriesOfThePathIsTaken) {
  Make("old/pg_dump", "pg_dump (PostgreSQL) 9.6.24");
  Make("newest/pg_dump", "pg_dump (PostgreSQL) 99.1");
  const std::string fitting = Make("newer/pg_dump", "pg_dump (PostgreSQL) 97beta1");
  PutIntoPath(root_ + "/old:" + root_ + "/newest:" + root_ + "/newer");
  EXPECT_EQ(FindDumpProgram(960000).value(), fitting);
}

TEST_F(OtherDumpPrograms, DirectoryThatPgConfigNamesIsLookedAt) {
  const std::string fitting = Make("elsewhere/pg_dump", "pg_dump (PostgreSQL) 96.2");
  Make("bin/pg_config", root_ + "/elsewhere");
  PutIntoPath(root_ + "/bin");
  EXPECT_EQ(FindDumpProgram(960000).value(), fitting);
}

}  // namespace
}  // namespace walferry
