// The schema between databases whose sessions have settings of their own.
#include <thread>

#include "absl/synchronization/notification.h"
#include "apply/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Literals with backslashes, amounts, and bytes in each kind of definition.
constexpr char kSchema[] = R"sql(
create type e as enum ('a\', '); select (1 --');
create table t (id int primary key, v text default 'a\b' check (v <> 'a\nb'), m money default '12.34'::money check (m < '1000.50'::money),
  b bytea default '\x0027ff'::bytea, a text[] default '{NULL,x}'::text[], x xml default 'a<b/>c'::xml, e e default 'a\');
create domain price as money default '5.25'::money;
create view w as select 'c:\temp''' as p, '7.75'::money as m, null = null as n;
comment on table t is 'x\y''z';
create function f(m money default '3.30'::money) returns text language sql as $$ select 'plain \ body' $$;
create index t_v on t (v) where v <> 'x\y';
alter table t enable row level security; create policy po on t using (v <> 'p\q');
create rule r as on update to w do instead select 'r\s';
)sql";

constexpr char kDefinitions[] = R"sql(
select 'default', a.attname, pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
  where d.adrelid = 'public.t'::regclass
union all select 'check', conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'public.t'::regclass
union all select 'view', '', pg_get_viewdef('public.w'::regclass)
union all select 'label', '', enumlabel from pg_enum
union all select 'domain', '', typdefault from pg_type where typname = 'price'
union all select 'comment', '', obj_description('public.t'::regclass)
union all select 'function', '', pg_get_functiondef('public.f'::regproc)
union all select 'index', '', pg_get_indexdef('public.t_v'::regclass)
union all select 'policy', '', pg_get_expr(polqual, polrelid) from pg_policy
union all select 'rule', rulename, pg_get_ruledef(oid) from pg_rewrite where ev_class = 'public.w'::regclass
order by 1, 2, 3)sql";

class SchemaSettings : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(EnsureStateSchema(pair_.target()).ok());
    migration_.name = "m";
    migration_.phase = Phase::kSchema;
    ASSERT_TRUE(InsertMigration(pair_.target(), migration_).ok());
    options_.source = pair_.source_conninfo();
  }
  // For sessions that come later.
  static void SetInDatabase(Connection& connection, const std::vector<std::string>& settings) {
    for (const std::string& setting : settings) {
      RunSql(connection, "alter database " + QuoteIdentifier(connection.database()) + " set " + setting);
    }
  }
  static std::vector<std::string> Hostile() {
    return {"standard_conforming_strings = off", "quote_all_identifiers = on", "bytea_output = escape",
            "lc_monetary = 'de_DE.utf8'",        "array_nulls = off",          "xmloption = document",
            "transform_null_equals = on",        "DateStyle = 'German'",       "TimeZone = 'Asia/Kathmandu'",
            "check_function_bodies = on",        "backslash_quote = off"};
  }
  absl::StatusOr<SchemaDump> Dump() { return DumpSchema(options_, pair_.source().server_version(), stop_); }
  void CreateAll() {
    const absl::StatusOr<SchemaDump> dump = Dump();
    ASSERT_TRUE(dump.ok()) << dump.status();
    migration_.phase = Phase::kCopy;
    // A session of its own, since the pair's is older than the settings.
    Connection target = MustConnect(pair_.target_conninfo());
    absl::Status status = CreatePreData(target, migration_, *dump);
    ASSERT_TRUE(status.ok()) << status;
    status = CreateObjects(pair_.target_conninfo(), "m", ObjectStage::kTrigger, 2, stop_,
                           [](const ObjectProgress&) {});
    ASSERT_TRUE(status.ok()) << status;
  }

  DatabasePair pair_;
  MigrationRecord migration_;
  SchemaDumpOptions options_;
  StopSignal stop_;
};

TEST_F(SchemaSettings, DefinitionsOfAHostileSourceArriveUnchanged) {
  pair_.RunOnSource(kSchema);
  SetInDatabase(pair_.source(), Hostile());
  CreateAll();
  EXPECT_EQ(QueryText(pair_.target(), kDefinitions), QueryText(pair_.source(), kDefinitions));
}

TEST_F(SchemaSettings, DefinitionsArriveUnchangedOnAHostileTarget) {
  pair_.RunOnSource(kSchema);
  SetInDatabase(pair_.target(), Hostile());
  CreateAll();
  EXPECT_EQ(QueryText(pair_.target(), kDefinitions), QueryText(pair_.source(), kDefinitions));
}

TEST_F(SchemaSettings, OptionsOfTheConninfoReachTheDump) {
  pair_.RunOnSource(kSchema);
  options_.source += R"( options='-c standard_conforming_strings=off -c application_name=it\\ is')";
  CreateAll();
  EXPECT_EQ(QueryText(pair_.target(), kDefinitions), QueryText(pair_.source(), kDefinitions));
}

TEST_F(SchemaSettings, MaterializedViewsAreFilledAsTheDatabaseFillsThem) {
  pair_.RunOnSource(
      "create table t (id int primary key, ts timestamptz, m money); "
      "create materialized view mv as select date_trunc('day', ts)::date::text as day, m::text as amount "
      "from t");
  SetInDatabase(pair_.target(), Hostile());
  const absl::StatusOr<SchemaDump> dump = Dump();
  ASSERT_TRUE(dump.ok()) << dump.status();
  ASSERT_TRUE(CreatePreData(pair_.target(), migration_, *dump).ok());
  pair_.RunOnTarget("insert into t values (1, '2024-01-31 20:00+00', 12.34::numeric::money)");
  ASSERT_TRUE(
      CreateObjects(pair_.target_conninfo(), "m", ObjectStage::kTrigger, 1, stop_, [](const ObjectProgress&) {
      }).ok());
  const std::string filled = QueryText(pair_.target(), "select * from mv");
  EXPECT_THAT(filled, AllOf(HasSubstr("01.02.2024"), HasSubstr("12,34")));
}

TEST_F(SchemaSettings, TablesHaveTheAccessMethodThatTheyHadWhateverTheDatabaseSays) {
  pair_.RunOnSource(
      "create access method other type table handler heap_tableam_handler; create table a (i int); "
      "create table b (i int) using other; create table c (i int); "
      "create table d (id int primary key, v text); "
      "create materialized view e using other as select id, v from d group by id; "
      "create materialized view g as select id, v from d group by id");
  pair_.RunOnTarget("create access method third type table handler heap_tableam_handler");
  SetInDatabase(pair_.target(), {"default_table_access_method = third"});
  CreateAll();
  constexpr char kMethods[] =
      "select relname, amname from pg_class c join pg_am a on a.oid = c.relam "
      "where relnamespace = 'public'::regnamespace and relkind in ('r', 'm') order by 1";
  EXPECT_EQ(QueryText(pair_.target(), kMethods), "a|heap\nb|other\nc|heap\nd|heap\ne|other\ng|heap");
}

TEST_F(SchemaSettings, TheDumpDoesNotWaitForALockWithoutEnd) {
  pair_.RunOnSource("create table t (a int); create table u (a int)");
  Connection application = MustConnect(pair_.source_conninfo());
  RunSql(application, "set application_name = 'shop'; begin; lock table u in access exclusive mode");
  std::string why;
  absl::Notification told;
  options_.lock_retry.waiting = [&](const std::string& text) {
    why = text;
    told.Notify();
  };
  std::thread release([&] {
    told.WaitForNotification();
    RunSql(application, "commit");
  });
  const absl::StatusOr<SchemaDump> dump = Dump();
  release.join();
  EXPECT_TRUE(dump.ok()) << dump.status();
  EXPECT_THAT(why, AllOf(HasSubstr("table public.u is locked"), HasSubstr("application shop")));

  RunSql(application, "begin; lock table u in access exclusive mode");
  options_.lock_retry = {.retry_for = absl::ZeroDuration()};
  const absl::Status status = Dump().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("table public.u is locked"));
}

}  // namespace
}  // namespace walferry
