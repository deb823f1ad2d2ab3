#include "apply/table_copy.h"

#include <atomic>
#include <thread>

#include "absl/synchronization/notification.h"
#include "apply/copy_plan.h"
#include "gmock/gmock.h"
#include "tests/apply/copy_fixture.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class TableCopy : public CopyFixture {
 protected:
  // How the table would be copied as things are.
  absl::StatusOr<TableCopyPlan> Plan(const std::string& table) {
    TakeSnapshot();
    TableRecord record;
    record.table = {"public", table};
    WF_ASSIGN_OR_RETURN(std::vector<TableCopyPlan> plans,
                        PlanCopy(pair_.source(), pair_.target(), {record}, options_));
    return plans.at(0);
  }
};

constexpr char kKinds[] = R"sql(
create schema "Mixed Case";
create type mood as enum ('sad', 'ok', 'it''s');
create type pair as (a int, b text);
create domain positive as int check (value > 0);
create domain more_positive as positive check (value > 1);
create table "Mixed Case"."T ""x""" ("Id" bigint primary key, "sp ace" text, "select" numeric);
create table parted (id int, region text, primary key (id, region)) partition by list (region);
create table parted_a partition of parted for values in ('a');
create table parted_b partition of parted for values in ('b');
create table parent (id int primary key, note text);
create table child (extra int) inherits (parent);
create table gen (id int generated always as identity primary key, a int, twice int generated always as (a * 2) stored);
create table nothing ();
create table types (id int primary key, m mood, ms mood[], p pair, d positive, dd more_positive, ints int[],
  texts text[][], r int4range, nr numrange, j jsonb, b bytea, f float8, f4 float4, n numeric(30,10), ts timestamptz,
  i interval, u uuid, ip inet, bits varbit, c "char", nm name, t text);
create table binary_types (id bigint primary key, m mood, dd more_positive, ints int[], r int4range, j jsonb, b bytea,
  f float8, n numeric, ts timestamptz, i interval, u uuid, t varchar(100));
create table big (id int primary key, body text);
)sql";

constexpr char kRows[] = R"sql(
insert into "Mixed Case"."T ""x""" select i, case when i % 3 = 0 then null when i % 3 = 1 then '' else E'\\N\t\n\\.' end, i / 7.0
  from generate_series(1, 100) i;
insert into parted select i, case when i % 2 = 0 then 'a' else 'b' end from generate_series(1, 1000) i;
insert into parent select i, 'p' || i from generate_series(1, 10) i;
insert into child select i, 'c' || i, i from generate_series(11, 15) i;
insert into gen (a) select i from generate_series(1, 50) i;
insert into nothing select from generate_series(1, 7);
insert into types values (1, 'it''s', '{sad,ok,NULL}', '(1,"x,y")', 1, 2, '{1,NULL,3}', '{{a,"b c"},{NULL,"\""}}',
  '[1,5)', '(,3.5]', '{"a": [1, null, "é"]}', '\x00ff', 'NaN', '-Infinity', 'NaN', '2024-02-29 12:00:00.123456+03',
  '1 year -2 days 03:04:05.6', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '192.168.0.1/24', B'10101', 'x', 'name', 'üñî'),
  (2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
insert into binary_types select i, 'ok', i + 1, array[i, null], int4range(i, i + 5), jsonb_build_object('k', i),
  decode(lpad(to_hex(i), 8, '0'), 'hex'), i / 3.0, i / 9.0, '2000-01-01 UTC'::timestamptz + i * interval '1 day',
  i * interval '1 month', md5(i::text)::uuid, repeat('ä', i % 50) from generate_series(1, 2000) i;
insert into big select i, (select string_agg(md5(i || 'x' || k), '') from generate_series(1, 1000 * (i % 5)) k)
  from generate_series(1, 200) i;
)sql";

std::vector<TableName> Tables() {
  std::vector<TableName> tables = {{"Mixed Case", "T \"x\""}};
  for (const char* name :
       {"parted_a", "parted_b", "parent", "child", "gen", "nothing", "types", "binary_types", "big"}) {
    tables.push_back({"public", name});
  }
  return tables;
}

TEST_F(TableCopy, TablesOfAllKindsArriveInFull) {
  pair_.RunOnBoth(kKinds);
  pair_.RunOnSource(kRows);
  AddTablesToState(Tables());
  TakeSnapshot();
  options_.range_bytes = 32 << 10;
  const absl::Status copied = Copy();
  ASSERT_TRUE(copied.ok()) << copied;
  ExpectEqualContent(pair_);
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from nothing"), "7");
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from only parent"), "10");
  const auto found = LoadTables(pair_.target(), "m").value();
  for (const TableRecord& record : found) {
    EXPECT_EQ(record.phase, TablePhase::kCopied) << record.table.ToString();
    EXPECT_EQ(record.position, options_.position);
  }
  EXPECT_EQ(Record("big").rows, 200);
  EXPECT_GT(Record("big").bytes, 1'000'000);
  EXPECT_EQ(Record("nothing").rows, 7);
  EXPECT_EQ(done_.size(), Tables().size());
  EXPECT_EQ(progress_.tables_done, progress_.tables_total);
  EXPECT_EQ(progress_.rows_copied, 100 + 1000 + 15 + 50 + 7 + 2 + 2000 + 200);
  EXPECT_LE(progress_.bytes_expected_done, progress_.bytes_expected);
  EXPECT_GT(progress_.bytes_expected_done, progress_.bytes_expected / 2);
  std::int64_t bytes = 0;
  for (const TableRecord& record : found) bytes += record.bytes;
  EXPECT_EQ(progress_.bytes_copied, bytes);
}

TEST_F(TableCopy, TextAndBinaryFormatsBringTheSame) {
  pair_.RunOnBoth("create table t (id int primary key, a text, b bytea, n numeric)");
  pair_.RunOnSource(
      "insert into t select i, repeat('\\x' || i, i % 9), int4send(i), i / 3.0 from generate_series(1, 500) "
      "i");
  AddTablesToState({{"public", "t"}});
  for (const CopyFormat format : {CopyFormat::kText, CopyFormat::kBinary}) {
    TableRecord again = Record("t");
    again.phase = TablePhase::kCopying;
    ASSERT_TRUE(UpdateTable(pair_.target(), "m", again).ok());
    options_.format = format;
    TakeSnapshot();
    ASSERT_TRUE(Copy().ok());
    ExpectEqualContent(pair_);
  }
}

TEST_F(TableCopy, PartitionedTableIsCopiedThroughItsRoot) {
  pair_.RunOnBoth(kKinds);
  pair_.RunOnSource(kRows);
  AddTablesToState({{"public", "parted"}});
  TakeSnapshot();
  ASSERT_TRUE(Copy().ok());
  EXPECT_EQ(QueryText(pair_.target(), "select count(*), count(distinct id) from parted"), "1000|1000");
  EXPECT_EQ(Record("parted").rows, 1000);
}

TEST_F(TableCopy, CopyIsOfTheSnapshotWhileTheSourceIsWritten) {
  pair_.RunOnBoth("create table t (id int primary key, v int)");
  pair_.RunOnSource("insert into t select i, 0 from generate_series(1, 20000) i");
  AddTablesToState({{"public", "t"}});
  TakeSnapshot();
  std::atomic<bool> end = false;
  std::atomic<int> writes = 0;
  std::thread writer([&] {
    Connection connection = MustConnect(pair_.source_conninfo());
    for (int i = 0; !end; ++i) {
      RunSql(connection, absl::StrFormat("update t set v = v + 1 where id = %d", i * 7919 % 20000 + 1));
      RunSql(connection, absl::StrFormat("delete from t where id = %d", i * 104729 % 20000 + 1));
      RunSql(connection, absl::StrFormat("insert into t values (%d, 1)", 30000 + i));
      ++writes;
    }
  });
  EXPECT_TRUE(WaitUntil([&] { return writes > 50; }));
  options_.range_bytes = 16 << 10;
  const absl::Status copied = Copy();
  end = true;
  writer.join();
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_EQ(QueryText(pair_.target(), "select count(*), min(id), max(id), max(v) from t"), "20000|1|20000|0");
}

TEST_F(TableCopy, BinaryIsChosenWhereTheBytesMeanTheSame) {
  pair_.RunOnBoth(kKinds);
  pair_.RunOnBoth("create table oids (a regclass, b oid); create table odd (a aclitem[])");
  EXPECT_TRUE(Plan("binary_types")->binary);
  EXPECT_FALSE(Plan("types")->binary) << "composites and arrays of enums carry object ids";
  EXPECT_FALSE(Plan("oids")->binary);
  EXPECT_FALSE(Plan("odd")->binary) << "aclitem has no binary format";
  pair_.RunOnTarget("alter table binary_types alter t type text");
  EXPECT_FALSE(Plan("binary_types")->binary) << "varchar and text travel alike, but are two types";
  options_.format = CopyFormat::kText;
  EXPECT_FALSE(Plan("big")->binary);
  options_.format = CopyFormat::kBinary;
  EXPECT_TRUE(Plan("big")->binary);
  const absl::Status refused = Plan("oids").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(refused)), HasSubstr("in column a"));
}

TEST_F(TableCopy, SmallerSourceTypeIsWidenedByText) {
  pair_.RunOnSource("create table t (id int, f real); insert into t values (1, 0.1), (2, null)");
  pair_.RunOnTarget("create table t (id bigint, f numeric)");
  AddTablesToState({{"public", "t"}});
  TakeSnapshot();
  ASSERT_TRUE(Copy().ok());
  EXPECT_EQ(QueryText(pair_.target(), "select id, f from t order by id"), "1|0.1\n2|NULL");
}

TEST_F(TableCopy, ColumnsAreMatchedByNameAndExtraOnesTakeTheirDefault) {
  pair_.RunOnSource(
      "create table t (a int, gone int, b text); alter table t drop gone; insert into t values (1, 'x')");
  pair_.RunOnTarget("create table t (b text, extra int default 7, a int)");
  AddTablesToState({{"public", "t"}});
  TakeSnapshot();
  ASSERT_TRUE(Copy().ok());
  EXPECT_EQ(QueryText(pair_.target(), "select a, b, extra from t"), "1|x|7");
}

TEST_F(TableCopy, MissingColumnsAndTablesAreNamedBeforeAnythingIsCopied) {
  pair_.RunOnBoth("create table fine (a int)");
  pair_.RunOnSource("insert into fine values (1); create table t (a int, \"B b\" numeric(10,2), c text)");
  pair_.RunOnTarget("create table t (a int)");
  AddTablesToState({{"public", "fine"}, {"public", "t"}});
  TakeSnapshot();
  absl::Status status = Copy();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(
      std::string(MessageOf(status)),
      HasSubstr("ALTER TABLE \"public\".\"t\" ADD COLUMN \"B b\" numeric(10,2), ADD COLUMN \"c\" text;"));
  pair_.RunOnTarget("drop table t");
  status = Copy();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("missing on the target: public.t"));
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from fine"), "0");
}

TEST_F(TableCopy, TriggersAndForeignKeysOfTheTargetStaySilent) {
  pair_.RunOnBoth("create table a (id int primary key); create table b (id int primary key, a int)");
  pair_.RunOnSource("insert into b values (1, 1)");
  pair_.RunOnTarget(
      "alter table b add foreign key (a) references a; create function f() returns trigger language plpgsql "
      "as "
      "'begin new.id := 99; return new; end'; create trigger t before insert on b for each row execute "
      "function f()");
  AddTablesToState({{"public", "a"}, {"public", "b"}});
  TakeSnapshot();
  ASSERT_TRUE(Copy().ok());
  EXPECT_EQ(QueryText(pair_.target(), "select * from b"), "1|1");
}

TEST_F(TableCopy, TablesWhoseChecksReadOthersComeAfterThem) {
  // In a transaction of their own, in one with others, and in each other's way.
  pair_.RunOnBoth(R"(
create table zdict (v text primary key);
create function listed(text) returns bool language sql stable as 'select exists (select from public.zdict where v = $1)';
create table data (v text check (public.listed(v)));
create function counted() returns bool language sql stable as 'select count(*) > 0 from public.data';
create table after_data (id int check (public.counted())))");
  pair_.RunOnSource(
      "insert into zdict values ('a'); insert into data values ('a'); insert into after_data values (1)");
  options_.jobs = 1;
  AddTablesToState({{"public", "after_data"}, {"public", "data"}, {"public", "zdict"}});
  TakeSnapshot();
  const absl::Status copied = Copy();
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_EQ(QueryText(pair_.target(), "select v from data join after_data on true"), "a");
}

TEST_F(TableCopy, TableThatACheckAlwaysRefusesIsNamedAndTheOthersAreThere) {
  pair_.RunOnBoth("create table other (id int); create table refused (id int)");
  pair_.RunOnSource("insert into refused values (1); insert into other values (1)");
  pair_.RunOnTarget("alter table refused add check (id > 1)");
  AddTablesToState({{"public", "other"}, {"public", "refused"}});
  TakeSnapshot();
  const absl::Status copied = Copy();
  EXPECT_EQ(SqlstateOf(copied), "23514") << copied;
  EXPECT_THAT(std::string(MessageOf(copied)), HasSubstr("copying public.refused"));
  EXPECT_EQ(Record("other").phase, TablePhase::kCopied);
  EXPECT_EQ(Record("refused").phase, TablePhase::kWaiting);
}

TEST_F(TableCopy, LockedTableOfTheSourceIsTriedAgainAndItsHolderToldOnce) {
  pair_.RunOnBoth("create table t (id int)");
  pair_.RunOnSource("insert into t values (1)");
  AddTablesToState({{"public", "t"}});
  TakeSnapshot();
  Connection application = MustConnect(pair_.source_conninfo());
  RunSql(application, "set application_name = 'shop'; begin; lock table t in access exclusive mode");
  std::vector<std::string> told;
  absl::Notification waiting;
  options_.waiting = [&](const std::string& text) {
    told.push_back(text);
    if (told.size() == 1) waiting.Notify();
  };
  std::thread release([&] {
    waiting.WaitForNotification();
    RunSql(application, "commit");
  });
  const absl::Status copied = Copy();
  release.join();
  EXPECT_TRUE(copied.ok()) << copied;
  ASSERT_EQ(told.size(), 1U);
  EXPECT_THAT(told[0], AllOf(HasSubstr("table public.t is locked"), HasSubstr("application shop")));
  ExpectEqualContent(pair_);
}

TEST_F(TableCopy, CopyWithoutStateRecordsNothing) {
  pair_.RunOnBoth("create table t (id int)");
  pair_.RunOnSource("insert into t select generate_series(1, 10000)");
  AddTablesToState({{"public", "t"}});
  TakeSnapshot();
  options_.source = pair_.source_conninfo();
  options_.target = pair_.target_conninfo();
  options_.range_bytes = 64 << 10;
  TableRecord record;
  record.table = {"public", "t"};
  ASSERT_TRUE(CopyTables(options_, {record}, progress_, stop_, nullptr).ok());
  ExpectEqualContent(pair_);
  EXPECT_EQ(Record("t").phase, TablePhase::kWaiting);
}

}  // namespace
}  // namespace walferry
