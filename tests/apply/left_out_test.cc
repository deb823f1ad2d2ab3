// What goes with a table that was not chosen, and what cannot do without it.
#include "apply/left_out.h"

#include "apply/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class LeftOutOfDump : public ::testing::Test {
 protected:
  LeftOutOfDump() { pair_.RunOnSource("create table a (id int primary key)"); }

  LeftOut Find(const std::vector<TableName>& excluded) {
    // With an empty search_path, as all connections of walferry.
    absl::StatusOr<Connection> source =
        Connection::Open({.conninfo = pair_.source_conninfo(), .settings = {}});
    EXPECT_TRUE(source.ok()) << source.status();
    const absl::StatusOr<LeftOut> left_out = FindLeftOut(*source, excluded);
    EXPECT_TRUE(left_out.ok()) << left_out.status();
    return left_out.ok() ? *left_out : LeftOut();
  }
  // Of table a, made on the target in full.
  void MakeWithoutA() {
    options_.source = pair_.source_conninfo();
    options_.excluded_tables = {{"public", "a"}};
    const auto dump = DumpSchema(options_, pair_.source().server_version(), stop_);
    ASSERT_TRUE(dump.ok()) << dump.status();
    ASSERT_TRUE(EnsureStateSchema(pair_.target()).ok());
    MigrationRecord migration;
    migration.name = "m";
    ASSERT_TRUE(InsertMigration(pair_.target(), migration).ok());
    absl::Status status = CreatePreData(pair_.target(), migration, *dump);
    ASSERT_TRUE(status.ok()) << status;
    status = CreateObjects(pair_.target_conninfo(), "m", ObjectStage::kTrigger, 1, stop_, nullptr);
    ASSERT_TRUE(status.ok()) << status;
  }

  DatabasePair pair_;
  SchemaDumpOptions options_;
  StopSignal stop_;
};

TEST_F(LeftOutOfDump, CommentOnAForeignKeyGoesWithIt) {
  pair_.RunOnSource(
      "create table b (id int primary key, a int constraint bfk references a);"
      "comment on constraint bfk on b is 'hello'; comment on constraint b_pkey on b is 'stays'");
  MakeWithoutA();
  EXPECT_EQ(QueryText(pair_.target(),
                      "select conname, obj_description(oid) from pg_constraint where conrelid "
                      "= 'b'::regclass"),
            "b_pkey|stays");
}

TEST_F(LeftOutOfDump, RulesPoliciesTriggersAndFunctionsOfItGo) {
  pair_.RunOnSource(
      "create role only_here_" + pair_.name() +
      ";"
      "create table b (id int primary key);"
      "create rule r as on insert to b do also insert into a values (new.id);"
      "create policy p on b using (exists (select from a where a.id = b.id)); comment on policy p on b is "
      "'p';"
      "create policy q on b using (id > 0);"
      "create function f(a) returns int language sql as 'select 1'; comment on function f(a) is 'f';"
      "grant execute on function f(a) to only_here_" +
      pair_.name() +
      ";"
      "create function g(b) returns int language sql as 'select 1';"
      "create view over_f as select f(null::a);"
      "create function t() returns trigger language plpgsql as 'begin return new; end';"
      "create constraint trigger ct after insert on b from a for each row execute function t();"
      "create trigger own after insert on b for each row execute function t();"
      "create statistics s on id, (id + 1) from a; create sequence aseq owned by a.id;"
      "create policy pa on a using (true); create trigger ta after insert on a for each row execute function "
      "t();"
      "comment on table a is 'a'");
  const LeftOut left_out = Find({{"public", "a"}});
  EXPECT_THAT(left_out.names,
              ElementsAre("function public.f(public.a)", "policy p of public.b", "rule r of public.b",
                          "trigger ct of public.b", "view public.over_f"));
  EXPECT_THAT(left_out.needed, IsEmpty());
  MakeWithoutA();
  EXPECT_EQ(QueryText(pair_.target(), "select polname from pg_policy"), "q");
  EXPECT_EQ(QueryText(pair_.target(), "select tgname from pg_trigger where not tgisinternal"), "own");
  EXPECT_EQ(QueryText(pair_.target(),
                      "select string_agg(proname, ',' order by proname) from pg_proc where "
                      "pronamespace = 'public'::regnamespace"),
            "g,t");
  EXPECT_EQ(QueryText(pair_.target(),
                      "select count(*) from pg_class where relkind = 'S' and relnamespace = "
                      "'public'::regnamespace"),
            "0");
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from pg_statistic_ext"), "0");
  pair_.RunOnSource("drop owned by only_here_" + pair_.name() + "; drop role only_here_" + pair_.name());
}

TEST_F(LeftOutOfDump, TableThatNeedsOneWhichWasNotChosenIsNamed) {
  pair_.RunOnSource(
      "create sequence shared owned by a.id; create table b (id int default nextval('shared'), row a);"
      "create table c () inherits (a)");
  const LeftOut left_out = Find({{"public", "a"}});
  EXPECT_THAT(left_out.needed,
              ElementsAre("column row of table public.b", "default value for column id of table public.b",
                          "table public.c"));
  const absl::Status refused = CheckNothingNeeded(left_out);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(refused)), HasSubstr("column row of table public.b"));
}

TEST_F(LeftOutOfDump, PartitionedTableGoesWithItsLastPartition) {
  pair_.RunOnSource(
      "create table p (id int) partition by list (id); create table p1 partition of p for values in (1);"
      "create table p2 partition of p for values in (2)");
  EXPECT_THAT(Find({{"public", "p1"}}).relations, ElementsAre(TableName{"public", "p1"}));
  EXPECT_THAT(Find({{"public", "p1"}, {"public", "p2"}}).relations, Contains(TableName{"public", "p"}));
  EXPECT_THAT(Find({{"public", "a"}}).relations, Not(Contains(TableName{"public", "p"})));
  EXPECT_THAT(Find({}).relations, IsEmpty());
}

}  // namespace
}  // namespace walferry
