// Tables that are copied whole: frozen where that harms nobody, and several in one transaction.
#include <thread>

#include "apply/table_copy.h"
#include "gmock/gmock.h"
#include "tests/apply/copy_fixture.h"

namespace walferry {
namespace {

class TableFreeze : public CopyFixture {
 protected:
  void SetUp() override {
    CopyFixture::SetUp();
    pair_.RunOnBoth("create table t (id int, body text)");
    pair_.RunOnSource("insert into t select i, repeat(md5(i::text), 30) from generate_series(1, 12000) i");
    AddTablesToState({{"public", "t"}});
    options_.jobs = 1;
    TakeSnapshot();
  }
  // Frozen pages are marked in the visibility map.
  std::string IsFrozen() {
    return QueryText(pair_.target(),
                     "select pg_relation_size('t', 'vm') > 0 and (select count(*) from t) > 0");
  }
};

TEST_F(TableFreeze, EmptyTableIsFilledWithFrozenRows) {
  ASSERT_TRUE(Copy().ok());
  ExpectEqualContent(pair_);
  EXPECT_EQ(IsFrozen(), "t");
}

TEST_F(TableFreeze, TableOfAnInterruptedCopyIsEmptiedAndFrozen) {
  pair_.RunOnTarget("insert into t values (-1, 'a row of a run that was killed')");
  ASSERT_TRUE(BeginTableCopy(pair_.target(), "m", {"public", "t"}, Lsn{7}).ok());
  ASSERT_TRUE(Copy().ok());
  ExpectEqualContent(pair_);
  EXPECT_EQ(IsFrozen(), "t");
}

TEST_F(TableFreeze, RowsThatAreNotOursAreKept) {
  pair_.RunOnTarget("insert into t values (-1, 'mine')");
  ASSERT_TRUE(Copy().ok());
  EXPECT_EQ(QueryText(pair_.target(), "select count(*), min(id) from t"), "12001|-1");
  EXPECT_EQ(IsFrozen(), "f");
}

TEST_F(TableFreeze, TableThatIsReadOnTheTargetIsNotWaitedFor) {
  Connection reader = MustConnect(pair_.target_conninfo());
  RunSql(reader, "begin");
  EXPECT_EQ(QueryText(reader, "select count(*) from t"), "0");
  ASSERT_TRUE(Copy().ok());
  EXPECT_EQ(QueryText(reader, "select count(*) from t"), "12000");
  EXPECT_EQ(IsFrozen(), "f");
}

TEST_F(TableFreeze, TableThatOthersReferToIsCopiedUnfrozen) {
  pair_.RunOnTarget("alter table t add primary key (id); create table child (id int references t)");
  ASSERT_TRUE(Copy().ok());
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from t"), "12000");
  EXPECT_EQ(IsFrozen(), "f");
}

TEST_F(TableFreeze, SmallTablesGoTogetherAndSurviveLostConnections) {
  std::vector<TableName> tables;
  for (int i = 0; i < 120; ++i) {
    const std::string name = absl::StrFormat("small_%d", i);
    pair_.RunOnBoth("create table " + name + " (id int primary key)");
    pair_.RunOnSource(absl::StrFormat("insert into %s select generate_series(1, %d)", name, i));
    tables.push_back({"public", name});
  }
  pair_.RunOnTarget("insert into small_7 values (1000); insert into small_8 values (1000)");
  AddTablesToState(tables);
  ASSERT_TRUE(BeginTableCopy(pair_.target(), "m", {"public", "small_7"}, Lsn{7}).ok());
  pair_.RunOnTarget(
      "create sequence calls; create function at_end() returns trigger language plpgsql as $$ begin "
      "if nextval('public.calls') = 1 then perform pg_terminate_backend(pg_backend_pid()); end if; "
      "return null; end $$; create constraint trigger at_end after update on walferry.table_state "
      "deferrable initially deferred for each row when (new.table_name = 'small_60') "
      "execute function at_end(); alter table walferry.table_state enable always trigger at_end");
  TakeSnapshot();
  const absl::Status copied = Copy();
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_EQ(QueryText(pair_.target(), "select last_value from calls"), "2");
  EXPECT_EQ(QueryText(pair_.target(), "delete from small_8 where id = 1000 returning id"), "1000");
  ExpectEqualContent(pair_);
  EXPECT_EQ(progress_.tables_done, 121);
  EXPECT_EQ(progress_.rows_copied, 12000 + 119 * 120 / 2);
  EXPECT_EQ(Record("small_119").rows, 119);
  EXPECT_EQ(progress_.bytes_expected_done, progress_.bytes_expected);
}

TEST_F(TableFreeze, RewrittenTableIsNamedAndItsCompanionsWait) {
  pair_.RunOnBoth("create table a (id int); create table b (id int)");
  pair_.RunOnSource("insert into a values (1); insert into b values (1)");
  AddTablesToState({{"public", "a"}, {"public", "b"}});
  TakeSnapshot();
  pair_.RunOnSource("truncate b");
  const absl::Status status = Copy();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(MessageOf(status)), ::testing::HasSubstr("table public.b was rewritten"));
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from a"), "0");
  TakeSnapshot();
  ASSERT_TRUE(Copy().ok());
  ExpectEqualContent(pair_);
}

}  // namespace
}  // namespace walferry
