#include "apply/content_hash.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Content : public ::testing::Test {
 protected:
  // Whether both sides hash alike, by either hash function.
  bool Equal(const std::string& table) {
    const TableName name{"public", table};
    const auto columns = ReadComparableColumns(pair_.source(), pair_.target(), name, name).value().both;
    const auto equal = [&](bool portable) {
      return HashTable(pair_.source(), name, columns, portable).value() ==
             HashTable(pair_.target(), name, columns, portable).value();
    };
    EXPECT_EQ(equal(false), equal(true)) << table;
    return equal(false);
  }
  std::vector<std::string> Differences(const std::string& table, int limit = 100) {
    const TableName name{"public", table};
    const auto columns = ReadComparableColumns(pair_.source(), pair_.target(), name, name).value().both;
    std::vector<std::string> texts;
    const auto found = FindDifferences(pair_.source(), pair_.target(), name, columns, limit).value();
    for (const RowDifference& row : found) {
      texts.push_back(row.key + " " + row.kind);
    }
    return texts;
  }
  DatabasePair pair_;
};

TEST_F(Content, OrderOfRowsAndColumnsDoesNotMatter) {
  pair_.RunOnSource(
      "create table t (id int primary key, a text, j jsonb, f float8, e int[]); insert into t select i, "
      "'x' || i, '{\"b\":1,\"a\":2}', i / 3.0, array[i, null] from generate_series(1, 1000) i");
  pair_.RunOnTarget(
      "create table t (e int[], f float8, j jsonb, a text, id int primary key); insert into t select "
      "array[i, null], i / 3.0, '{\"a\":2,\"b\":1}', 'x' || i, i from generate_series(1000, 1, -1) i");
  EXPECT_TRUE(Equal("t"));
  EXPECT_THAT(Differences("t"), IsEmpty());
}

TEST_F(Content, EveryKindOfDifferenceIsSeen) {
  pair_.RunOnBoth(
      "create table t (id int primary key, a text); insert into t values (1, ''), (2, 'x'), (3, null)");
  EXPECT_TRUE(Equal("t"));
  for (const char* change : {"update t set a = null where id = 1", "update t set a = 'X' where id = 2",
                             "delete from t where id = 3", "insert into t values (4, 'y')"}) {
    pair_.RunOnTarget(std::string("begin; ") + change);
    EXPECT_FALSE(Equal("t")) << change;
    pair_.RunOnTarget("rollback");
  }
}

TEST_F(Content, RowsSwappedBetweenColumnsDiffer) {
  pair_.RunOnBoth("create table t (a text, b text)");
  pair_.RunOnSource("insert into t values ('1', '2')");
  pair_.RunOnTarget("insert into t values ('2', '1')");
  EXPECT_FALSE(Equal("t"));
  EXPECT_THAT(Differences("t"), IsEmpty()) << "without a key rows have no name";
}

TEST_F(Content, EmptyTablesAndTablesWithoutColumnsHaveAHash) {
  pair_.RunOnBoth("create table t (a int); create table n ()");
  EXPECT_TRUE(Equal("t"));
  EXPECT_EQ(HashTable(pair_.source(), {"public", "t"}, {"a"}, false)->hash, "0");
  pair_.RunOnBoth("insert into n select from generate_series(1, 3)");
  EXPECT_TRUE(Equal("n"));
  pair_.RunOnTarget("insert into n default values");
  EXPECT_FALSE(Equal("n"));
}

TEST_F(Content, InheritingTablesAreLeftOutAndPartitionsAreNot) {
  pair_.RunOnBoth(
      "create table t (a int); create table c () inherits (t); create table p (a int) partition by range "
      "(a); "
      "create table p1 partition of p for values from (0) to (10)");
  pair_.RunOnSource("insert into c values (1); insert into p values (1)");
  EXPECT_TRUE(Equal("t"));
  EXPECT_FALSE(Equal("c"));
  EXPECT_FALSE(Equal("p"));
}

TEST_F(Content, ColumnsOfOneSideAreNamedAndThoseThatBothGenerateLeftOut) {
  pair_.RunOnSource(
      "create table t (id int primary key, g int generated always as (id * 2) stored, h int generated always "
      "as (id) "
      "stored, lost int); insert into t values (1)");
  pair_.RunOnTarget(
      "create table t (id int primary key, g int, h int generated always as (id + 1) stored, extra int "
      "default 3); "
      "insert into t values (1, 5)");
  const TableName name = {"public", "t"};
  const ComparableColumns columns = ReadComparableColumns(pair_.source(), pair_.target(), name, name).value();
  EXPECT_THAT(columns.both, ElementsAre("id", "g"));
  EXPECT_THAT(columns.source_only, ElementsAre("lost"));
  EXPECT_THAT(columns.target_only, ElementsAre("extra"));
  EXPECT_FALSE(Equal("t"));
  pair_.RunOnTarget("update t set g = 2");
  EXPECT_TRUE(Equal("t"));
  const TableName no = {"public", "no"};
  EXPECT_FALSE(ReadComparableColumns(pair_.source(), pair_.target(), name, no).value().on_target);
}

TEST_F(Content, DifferencesAreFoundByKey) {
  pair_.RunOnBoth(
      "create table t (\"K k\" text, n int, v int, primary key (n, \"K k\")); insert into t select 'k' || i, "
      "i, 0 from generate_series(1, 20000) i");
  pair_.RunOnTarget(
      "update t set v = 1 where n = 77; delete from t where n = 78; insert into t values ('a b', 0, 1)");
  EXPECT_THAT(Differences("t"), ElementsAre("(n, K k)=(0,\"a b\") extra", "(n, K k)=(77,k77) different",
                                            "(n, K k)=(78,k78) missing"));
}

TEST_F(Content, NoMoreDifferencesThanAskedFor) {
  pair_.RunOnBoth("create table t (id int primary key)");
  pair_.RunOnTarget("insert into t select generate_series(1, 300000)");
  EXPECT_THAT(Differences("t", 5), SizeIs(5));
  EXPECT_THAT(Differences("t", 0), IsEmpty());
}

}  // namespace
}  // namespace walferry
