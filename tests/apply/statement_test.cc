// Which statement a change becomes, without a server.
#include "apply/statement.h"

#include "apply/statement_cache.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/apply/hand_made_stream.h"

namespace walferry {
namespace {

using ::testing::HasSubstr;

TargetColumn Column(const std::string& name, Oid type_oid, const std::string& type) {
  TargetColumn column;
  column.name = name;
  column.sql_name = QuoteIdentifier(name);
  column.type_oid = type_oid;
  column.type_sql = column.compare_type_sql = QuoteName("pg_catalog", type);
  column.equals = "=";
  column.equal_is_identical = true;
  return column;
}

// Table s.t (id int4 key, a text, b text) on both sides.
class StatementTest : public ::testing::Test {
 protected:
  StatementTest() {
    relation_ = {.id = 1,
                 .schema = "s",
                 .name = "t",
                 .replica_identity = ReplicaIdentity::kDefault,
                 .columns = {{"id", 23, -1, true}, {"a", 25, -1, false}, {"b", 25, -1, false}}};
    target_.name = {"s", "t"};
    target_.sql_name = QuoteName("s", "t");
    target_.columns = {Column("id", 23, "int4"), Column("a", 25, "text"), Column("b", 25, "text")};
    target_.keys = {{.primary = true, .columns = {0}}};
  }

  // The SQL text, "-" where the row cannot be identified, or the error's text.
  std::string Plan(EventKind kind, OldTuple old_kind, const WrittenRow& old_row, const WrittenRow& new_row) {
    MappedTable table;
    table.relation = &relation_;
    table.name = target_.name;
    table.in_scope = true;
    table.target = target_;
    table.source = source_;
    if (absl::Status mapped = MapColumns(relation_, table); !mapped.ok())
      return std::string(MessageOf(mapped));
    const HandMadeTuple old_tuple(old_row);
    const HandMadeTuple new_tuple(new_row);
    Event event;
    event.kind = kind;
    event.old_kind = old_kind;
    event.old_tuple = old_tuple.view();
    event.new_tuple = new_tuple.view();
    RowStatement statement;
    RowPlanner planner;
    const absl::StatusOr<bool> planned = planner.Plan(table, event, statement);
    if (!planned.ok()) return std::string(MessageOf(planned.status()));
    parameters_ = static_cast<int>(statement.parameters.size());
    statement.MakeKey(key_);
    return *planned ? StatementSql(statement) : "-";
  }
  std::string Update(const WrittenRow& new_row) {
    return Plan(EventKind::kUpdate, OldTuple::kNone, {}, new_row);
  }

  Relation relation_;
  TargetTable target_;
  SourceNotes source_;
  int parameters_ = 0;
  std::string key_;
};

TEST_F(StatementTest, InsertNamesItsColumns) {
  EXPECT_EQ(Plan(EventKind::kInsert, OldTuple::kNone, {}, {TextColumn("1"), NullColumn(), TextColumn("x")}),
            "INSERT INTO \"s\".\"t\" (\"id\", \"a\", \"b\") OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3)");
  EXPECT_EQ(parameters_, 3);
}

TEST_F(StatementTest, NullAndBinaryShareTheShapeOfText) {
  Plan(EventKind::kInsert, OldTuple::kNone, {}, {TextColumn("1"), NullColumn(), TextColumn("x")});
  const std::string first = key_;
  Plan(EventKind::kInsert, OldTuple::kNone, {}, {BinaryColumn("0001"), TextColumn(""), NullColumn()});
  EXPECT_EQ(key_, first);
}

TEST_F(StatementTest, UpdateLeavesKeyAndUnchangedToastOut) {
  EXPECT_EQ(Update({TextColumn("1"), UnchangedToastColumn(), TextColumn("x")}),
            "UPDATE ONLY \"s\".\"t\" SET \"b\" = $1 WHERE \"id\" = $2::\"pg_catalog\".\"int4\"");
  EXPECT_EQ(Update({TextColumn("1"), UnchangedToastColumn(), UnchangedToastColumn()}),
            "SELECT 1 FROM ONLY \"s\".\"t\" WHERE \"id\" = $1::\"pg_catalog\".\"int4\"");
}

TEST_F(StatementTest, KeyUpdateFindsTheRowByItsOldKey) {
  EXPECT_EQ(Plan(EventKind::kUpdate, OldTuple::kKey, {TextColumn("1"), NullColumn(), NullColumn()},
                 {TextColumn("2"), TextColumn("x"), UnchangedToastColumn()}),
            "UPDATE ONLY \"s\".\"t\" SET \"id\" = $1, \"a\" = $2 WHERE \"id\" = $3::\"pg_catalog\".\"int4\"");
}

TEST_F(StatementTest, WithoutIdentityNothingIsGuessed) {
  relation_.replica_identity = ReplicaIdentity::kNothing;
  relation_.columns[0].is_key = false;
  EXPECT_EQ(Update({TextColumn("1"), TextColumn("x"), NullColumn()}), "-");
  relation_.replica_identity = ReplicaIdentity::kFull;
  target_.keys.clear();
  EXPECT_EQ(Update({TextColumn("1"), TextColumn("x"), NullColumn()}), "-");
}

TEST_F(StatementTest, FullIdentityWithoutAKeyMeansOneRow) {
  relation_.replica_identity = ReplicaIdentity::kFull;
  target_.keys.clear();
  target_.columns[2].equal_is_identical = false;
  EXPECT_EQ(Plan(EventKind::kDelete, OldTuple::kFull, {TextColumn("1"), NullColumn(), TextColumn("x")}, {}),
            "DELETE FROM ONLY \"s\".\"t\" WHERE ctid = (SELECT ctid FROM ONLY \"s\".\"t\" WHERE \"id\" = "
            "$1::\"pg_catalog\".\"int4\" AND \"a\" IS NOT DISTINCT FROM NULL AND \"b\" = "
            "$2::\"pg_catalog\".\"text\" AND (\"b\")::pg_catalog.text COLLATE pg_catalog.\"C\" = "
            "($2::\"pg_catalog\".\"text\")::pg_catalog.text COLLATE pg_catalog.\"C\" LIMIT 1)");
  EXPECT_EQ(parameters_, 2);
}

TEST_F(StatementTest, PartitionedTablesNeedTheLeafToo) {
  relation_.replica_identity = ReplicaIdentity::kFull;
  target_.keys.clear();
  target_.partitioned = true;
  EXPECT_THAT(
      Plan(EventKind::kDelete, OldTuple::kFull, {TextColumn("1"), NullColumn(), NullColumn()}, {}),
      HasSubstr("DELETE FROM \"s\".\"t\" WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM \"s\".\"t\""));
}

TEST_F(StatementTest, FullRowThatHoldsTheKeyAloneIsFoundByTheTargetsKey) {
  relation_.replica_identity = ReplicaIdentity::kFull;
  EXPECT_EQ(Plan(EventKind::kDelete, OldTuple::kFull, {TextColumn("1"), NullColumn(), NullColumn()}, {}),
            "DELETE FROM ONLY \"s\".\"t\" WHERE \"id\" = $1::\"pg_catalog\".\"int4\"");
  // No old row at all: the leaf's key did not change.
  EXPECT_EQ(Update({TextColumn("1"), TextColumn("x"), NullColumn()}),
            "UPDATE ONLY \"s\".\"t\" SET \"a\" = $1, \"b\" = $2 WHERE \"id\" = $3::\"pg_catalog\".\"int4\"");
}

TEST_F(StatementTest, TypesWithoutEqualityAreComparedAsText) {
  relation_.replica_identity = ReplicaIdentity::kFull;
  target_.keys.clear();
  target_.columns[1].equals.clear();
  EXPECT_THAT(Plan(EventKind::kDelete, OldTuple::kFull, {NullColumn(), TextColumn("{}"), NullColumn()}, {}),
              HasSubstr("\"id\" IS NOT DISTINCT FROM NULL AND (\"a\")::pg_catalog.text COLLATE"));
}

// Rows that are alike in the other columns are not the row that is meant.
TEST_F(StatementTest, OldRowThatLeavesAValueOutIdentifiesNothing) {
  relation_.replica_identity = ReplicaIdentity::kFull;
  target_.keys.clear();
  EXPECT_EQ(Plan(EventKind::kDelete, OldTuple::kFull,
                 {TextColumn("1"), TextColumn("x"), UnchangedToastColumn()}, {}),
            "-");
}

TEST_F(StatementTest, WhereNoKeyOfTheTargetDecidesTheTargetRefusesToChoose) {
  target_.keys.clear();
  EXPECT_EQ(Plan(EventKind::kDelete, OldTuple::kKey, {TextColumn("1"), NullColumn(), NullColumn()}, {}),
            "DELETE FROM ONLY \"s\".\"t\" WHERE ctid = (SELECT ctid FROM ONLY \"s\".\"t\" WHERE \"id\" = "
            "$1::\"pg_catalog\".\"int4\")");
  // A key of the target that is wider than the source's identity decides no more.
  target_.keys = {{.primary = true, .columns = {0, 1}}};
  EXPECT_THAT(Update({TextColumn("1"), TextColumn("x"), NullColumn()}),
              HasSubstr("WHERE ctid = (SELECT ctid"));
}

TEST_F(StatementTest, AllColumnsOfAnIdentityThatIsWiderThanTheTargetsKeyCount) {
  relation_.columns[1].is_key = true;
  EXPECT_EQ(Plan(EventKind::kDelete, OldTuple::kKey, {TextColumn("1"), TextColumn("x"), NullColumn()}, {}),
            "DELETE FROM ONLY \"s\".\"t\" WHERE \"id\" = $1::\"pg_catalog\".\"int4\" AND \"a\" = "
            "$2::\"pg_catalog\".\"text\"");
}

TEST_F(StatementTest, APartOfTheIdentityIsNoKey) {
  source_.unpublished_identity = "le";
  for (const bool id_is_a_key_of_the_target : {true, false}) {
    if (!id_is_a_key_of_the_target) target_.keys.clear();
    EXPECT_THAT(
        Plan(EventKind::kDelete, OldTuple::kKey, {TextColumn("1"), NullColumn(), NullColumn()}, {}),
        ::testing::AllOf(HasSubstr("a DELETE"), HasSubstr("s.t"), HasSubstr("column le of the table's"),
                         HasSubstr("ALTER TABLE \"s\".\"t\" REPLICA IDENTITY FULL")));
    EXPECT_THAT(Update({TextColumn("1"), TextColumn("x"), NullColumn()}),
                HasSubstr("does not say which row"));
    EXPECT_THAT(Plan(EventKind::kInsert, OldTuple::kNone, {}, {TextColumn("1"), NullColumn(), NullColumn()}),
                HasSubstr("INSERT INTO"));
  }
  relation_.replica_identity = ReplicaIdentity::kFull;
  EXPECT_THAT(Plan(EventKind::kDelete, OldTuple::kFull, {TextColumn("1"), NullColumn(), NullColumn()}, {}),
              HasSubstr("\"a\" IS NOT DISTINCT FROM NULL"));
}

TEST_F(StatementTest, AKeyThatTheTargetGeneratesDoesNotArrive) {
  relation_.columns[1].is_key = true;
  target_.columns[1].generated = true;
  source_.generated = {"a"};
  target_.keys = {{.primary = true, .columns = {0, 1}}};
  EXPECT_THAT(Update({TextColumn("1"), TextColumn("x"), NullColumn()}), HasSubstr("column a of the table's"));
  // What is left of it is a key of the target.
  target_.keys.push_back({.primary = false, .columns = {0}});
  EXPECT_EQ(Update({TextColumn("1"), TextColumn("x"), NullColumn()}),
            "UPDATE ONLY \"s\".\"t\" SET \"b\" = $1 WHERE \"id\" = $2::\"pg_catalog\".\"int4\"");
  target_.keys.pop_back();
  relation_.replica_identity = ReplicaIdentity::kFull;
  EXPECT_THAT(Plan(EventKind::kDelete, OldTuple::kFull, {TextColumn("1"), TextColumn("x"), NullColumn()}, {}),
              HasSubstr("WHERE \"id\" = $1::\"pg_catalog\".\"int4\" AND \"b\" IS NOT DISTINCT"));
}

TEST_F(StatementTest, IdentityAlwaysIsReplacedOnlyWhenItMayChange) {
  target_.columns[0].identity_always = true;
  EXPECT_THAT(Update({TextColumn("1"), TextColumn("x"), NullColumn()}), HasSubstr("UPDATE ONLY"));
  EXPECT_EQ(
      Plan(EventKind::kUpdate, OldTuple::kKey, {TextColumn("1"), NullColumn(), NullColumn()},
           {TextColumn("2"), TextColumn("x"), UnchangedToastColumn()}),
      "WITH old_row AS (DELETE FROM ONLY \"s\".\"t\" WHERE \"id\" = $3::\"pg_catalog\".\"int4\" RETURNING *) "
      "INSERT "
      "INTO \"s\".\"t\" (\"id\", \"a\", \"b\") OVERRIDING SYSTEM VALUE SELECT $1::\"pg_catalog\".\"int4\", "
      "$2::\"pg_catalog\".\"text\", old_row.\"b\" FROM old_row");
  // A key that came along but is the same (its value is large, and so logged).
  EXPECT_THAT(Plan(EventKind::kUpdate, OldTuple::kKey, {TextColumn("1"), NullColumn(), NullColumn()},
                   {TextColumn("1"), TextColumn("x"), NullColumn()}),
              HasSubstr("UPDATE ONLY \"s\".\"t\" SET \"a\" = $1, \"b\" = $2 WHERE"));
}

TEST_F(StatementTest, ColumnThatOnlyTheTargetGeneratesIsRefused) {
  target_.columns[2].generated = true;
  EXPECT_EQ(
      Plan(EventKind::kInsert, OldTuple::kNone, {}, {TextColumn("1"), NullColumn(), TextColumn("x")}),
      "column b of table s.t is published by the source, but the target generates it: run there ALTER TABLE "
      "\"s\".\"t\" ALTER COLUMN \"b\" DROP EXPRESSION;");
}

TEST_F(StatementTest, ColumnsThatBothSidesGenerateAreLeftOut) {
  target_.columns[2].generated = true;
  source_.generated = {"b"};
  EXPECT_THAT(Plan(EventKind::kInsert, OldTuple::kNone, {}, {TextColumn("1"), NullColumn(), TextColumn("x")}),
              HasSubstr("(\"id\", \"a\") OVERRIDING"));
}

TEST_F(StatementTest, RowOfAnotherShapeIsAnError) {
  EXPECT_THAT(Update({TextColumn("1")}), HasSubstr("has 1 columns, its relation message has 3"));
}

TEST_F(StatementTest, TruncateNamesAllTablesAndNeverCascades) {
  MappedTable a;
  MappedTable b;
  a.target = target_;
  b.target = target_;
  b.target.partitioned = true;
  EXPECT_EQ(TruncateSql({&a, &b}, true, false), "TRUNCATE ONLY \"s\".\"t\", \"s\".\"t\" RESTART IDENTITY");
  EXPECT_EQ(TruncateSql({&a}, false, false), "TRUNCATE ONLY \"s\".\"t\" CONTINUE IDENTITY");
  EXPECT_EQ(TruncateSql({&a}, false, true),
            "DO 'BEGIN TRUNCATE ONLY \"s\".\"t\" CONTINUE IDENTITY; EXCEPTION WHEN feature_not_supported "
            "THEN DELETE FROM ONLY \"s\".\"t\"; END'");
}

TEST(StatementCache, LeastRecentlyUsedGoesFirst) {
  StatementCache cache(2);
  EXPECT_TRUE(cache.Get("a").is_new);
  const std::string a = *cache.Get("a").name;
  const std::string b = *cache.Get("b").name;
  EXPECT_FALSE(cache.Get("a").is_new);
  const StatementCache::Use c = cache.Get("c");
  EXPECT_TRUE(c.is_new);
  EXPECT_EQ(c.evicted, b);
  EXPECT_FALSE(cache.Get("a").is_new);
  EXPECT_TRUE(cache.Get("b").is_new);
  cache.Clear();
  const StatementCache::Use again = cache.Get("a");
  EXPECT_TRUE(again.is_new);
  EXPECT_NE(*again.name, a) << "a name that may still be prepared";
}

}  // namespace
}  // namespace walferry
