#include "tools/column_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace walferry {
namespace {

using ::testing::HasSubstr;

SourceColumn Column(int attnum, const std::string& name, const std::string& version = "1") {
  SourceColumn column;
  column.attnum = attnum;
  column.target_attnum = attnum;
  column.name = name;
  column.type = "text";
  column.type_oid = 25;
  column.version = version;
  return column;
}

SourceRelation Table(std::vector<SourceColumn> columns) {
  SourceRelation relation;
  relation.filenode = 1;
  relation.columns = std::move(columns);
  return relation;
}

class ColumnChangesTest : public ::testing::Test {
 protected:
  ColumnChanges Compare() { return CompareColumns(recorded_, source_, target_); }

  SourceRelation recorded_ = Table({Column(1, "a"), Column(2, "b")});
  SourceRelation source_ = recorded_;
  SourceRelation target_ = recorded_;
};

TEST_F(ColumnChangesTest, NothingChanged) {
  const ColumnChanges changes = Compare();
  EXPECT_TRUE(changes.aligned);
  EXPECT_EQ(changes.needs_copy, "");
  EXPECT_EQ(changes.Statements("t"), "");
  EXPECT_EQ(changes.columns, recorded_.columns);
}

TEST_F(ColumnChangesTest, NamesThatAreExchangedNeedAThirdOne) {
  source_.columns[0].name = "b";
  source_.columns[1].name = "a";
  const ColumnChanges changes = Compare();
  EXPECT_FALSE(changes.aligned);
  EXPECT_EQ(
      changes.Statements("t"),
      "ALTER TABLE t RENAME COLUMN \"a\" TO walferry_renamed_1; ALTER TABLE t RENAME COLUMN \"b\" TO "
      "walferry_renamed_2; ALTER TABLE t RENAME COLUMN walferry_renamed_1 TO \"b\"; ALTER TABLE t RENAME "
      "COLUMN walferry_renamed_2 TO \"a\";");
}

TEST_F(ColumnChangesTest, MissingValueIsTheDefaultThatFillsRows) {
  source_.columns.push_back(Column(3, "c"));
  source_.columns[2].missing_value = "it's";
  source_.columns[2].default_expression = "'other'::text";
  source_.columns[2].not_null = true;
  EXPECT_EQ(Compare().Statements("t"), "ALTER TABLE t ADD COLUMN \"c\" text DEFAULT 'it''s'::text NOT NULL;");
  source_.columns[2].default_expression = "'it''s'::text";
  EXPECT_EQ(Compare().Statements("t"), "ALTER TABLE t ADD COLUMN \"c\" text DEFAULT 'it''s'::text NOT NULL;");
  target_.columns.push_back(source_.columns[2]);
  EXPECT_EQ(Compare().needs_copy, "");
  target_.columns[2].missing_value.reset();
  EXPECT_THAT(Compare().needs_copy, HasSubstr("added with values"));
}

TEST_F(ColumnChangesTest, RewriteThatTouchedAColumnNeedsACopyAndOthersDoNot) {
  source_.filenode = 2;
  EXPECT_EQ(Compare().needs_copy, "");  // VACUUM FULL, TRUNCATE
  source_.columns[1].version = "9";
  EXPECT_THAT(Compare().needs_copy, HasSubstr("rewritten"));
  recorded_.columns[1].missing_value = "stored by VACUUM FULL";
  EXPECT_EQ(Compare().needs_copy, "");
}

TEST_F(ColumnChangesTest, DroppedAndAddedUnderTheSameNameIsAnotherColumn) {
  source_.columns[1].attnum = 3;
  const ColumnChanges changes = Compare();
  EXPECT_EQ(changes.Statements("t"), "");
  EXPECT_THAT(changes.needs_copy, HasSubstr("dropped and added anew"));
}

TEST_F(ColumnChangesTest, DroppedColumnIsNamedUntilTheTargetHasDroppedItAndKeepsNothingFromBeingApplied) {
  source_.columns.pop_back();
  const ColumnChanges changes = Compare();
  EXPECT_TRUE(changes.aligned);
  EXPECT_EQ(changes.Statements("t"), "ALTER TABLE t DROP COLUMN \"b\";");
  recorded_.earlier_columns = {recorded_.columns};
  recorded_.columns = changes.columns;
  EXPECT_EQ(Compare().Statements("t"), "ALTER TABLE t DROP COLUMN \"b\";");
  target_.columns.pop_back();
  EXPECT_EQ(Compare().Statements("t"), "");
}

TEST_F(ColumnChangesTest, DroppedColumnThatTheTargetInsistsOnHasToGoFirst) {
  source_.columns.pop_back();
  target_.columns[1].not_null = true;
  EXPECT_FALSE(Compare().aligned);
  target_.columns[1].default_expression = "'x'::text";
  EXPECT_TRUE(Compare().aligned);
}

TEST_F(ColumnChangesTest, NameOfADroppedColumnThatAnotherOneTookIsFreeOnTheTargetFirst) {
  for (SourceRelation* const side : {&recorded_, &source_, &target_}) side->columns.push_back(Column(3, "c"));
  source_.columns.erase(source_.columns.begin() + 1);
  source_.columns[1].name = "b";
  ColumnChanges changes = Compare();
  EXPECT_FALSE(changes.aligned);
  EXPECT_EQ(changes.Statements("t"),
            "ALTER TABLE t DROP COLUMN \"b\"; ALTER TABLE t RENAME COLUMN \"c\" TO \"b\";");
  target_.columns = source_.columns;
  changes = Compare();
  EXPECT_TRUE(changes.aligned);
  EXPECT_EQ(changes.Statements("t"), "");
  EXPECT_EQ(changes.needs_copy, "");
}

TEST_F(ColumnChangesTest, NameOfADroppedColumnThatOneOfAnotherTypeTookIsFreeOnTheTargetFirst) {
  source_.columns[1].attnum = 3;
  source_.columns[1].type = "integer";
  source_.columns[1].type_oid = 23;
  const ColumnChanges changes = Compare();
  EXPECT_FALSE(changes.aligned);
  EXPECT_EQ(changes.Statements("t"),
            "ALTER TABLE t DROP COLUMN \"b\"; ALTER TABLE t ADD COLUMN \"b\" integer;");
}

TEST_F(ColumnChangesTest, NameThatARenamedColumnLeftBehindIsNotTheAddedOnes) {
  source_.columns[1].name = "x";
  source_.columns.push_back(Column(3, "b"));
  EXPECT_EQ(Compare().Statements("t"),
            "ALTER TABLE t RENAME COLUMN \"b\" TO \"x\"; ALTER TABLE t ADD COLUMN \"b\" text;");
}

// Rows of the stream may be of either.
TEST_F(ColumnChangesTest, ShapeThatLooksLikeAnEarlierOneNeedsACopy) {
  recorded_.earlier_columns = {{Column(1, "a"), Column(3, "c")}};
  source_.columns = {Column(1, "a"), Column(2, "c")};
  target_.columns = source_.columns;
  EXPECT_THAT(Compare().needs_copy, HasSubstr("had before"));
}

TEST_F(ColumnChangesTest, AnotherTypeNeedsACopyUnlessItIsKnownToKeepTheValues) {
  const auto become = [&](Oid before, const std::string& from, Oid now, const std::string& to) {
    recorded_.columns[1].type_oid = before;
    recorded_.columns[1].type = from;
    target_.columns[1] = source_.columns[1] = recorded_.columns[1];
    source_.columns[1].type_oid = now;
    source_.columns[1].type = to;
    EXPECT_FALSE(Compare().aligned);
    return Compare().needs_copy;
  };
  EXPECT_EQ(become(1043, "character varying(5)", 1043, "character varying(9)"), "");
  EXPECT_EQ(become(1043, "character varying(5)", 25, "text"), "");
  EXPECT_EQ(become(1700, "numeric(4,2)", 1700, "numeric(9,2)"), "");
  EXPECT_EQ(become(1114, "timestamp(3) without time zone", 1114, "timestamp without time zone"), "");
  EXPECT_EQ(become(650, "cidr", 869, "inet"), "");
  EXPECT_THAT(become(1114, "timestamp without time zone", 1184, "timestamp with time zone"),
              HasSubstr("changed from"));
  EXPECT_THAT(become(1184, "timestamp with time zone", 1114, "timestamp without time zone"),
              HasSubstr("changed from"));
  EXPECT_THAT(become(23, "integer", 26, "oid"), HasSubstr("changed from"));
  source_.filenode = 2;
  EXPECT_THAT(become(1700, "numeric(4,2)", 1700, "numeric(9,1)"), HasSubstr("changed from"));
}

TEST_F(ColumnChangesTest, DefaultThatCameAfterTheColumnFillsNothing) {
  source_.columns.push_back(Column(3, "c"));
  source_.columns[2].default_expression = "'5'::text";
  EXPECT_EQ(Compare().Statements("t"), "ALTER TABLE t ADD COLUMN \"c\" text;");
  target_.columns.push_back(Column(3, "c"));
  EXPECT_EQ(Compare().needs_copy, "");
  EXPECT_EQ(Compare().Statements("t"), "ALTER TABLE t ALTER COLUMN \"c\" SET DEFAULT '5'::text;");
  target_.columns[2].default_expression = "'5'::text";
  EXPECT_THAT(Compare().needs_copy, HasSubstr("added with values"));
}

TEST_F(ColumnChangesTest, DefaultStaysDifferentUntilTheTargetHasItAndKeepsNothingFromBeingApplied) {
  source_.columns[1].default_expression = "'x'::text";
  ColumnChanges changes = Compare();
  EXPECT_TRUE(changes.aligned);
  EXPECT_EQ(changes.Statements("t"), "ALTER TABLE t ALTER COLUMN \"b\" SET DEFAULT 'x'::text;");
  recorded_.columns = changes.columns;
  EXPECT_NE(Compare().Statements("t"), "");
  target_.columns[1].default_expression = "'x'::text";
  EXPECT_EQ(Compare().Statements("t"), "");
}

TEST_F(ColumnChangesTest, IdentityStaysDifferentUntilTheTargetHasIt) {
  for (SourceRelation* const side : {&recorded_, &source_, &target_}) side->columns[1].not_null = true;
  source_.columns[1].identity = "a";
  source_.columns[1].sequence = "public.t_b_seq";
  ColumnChanges changes = Compare();
  EXPECT_TRUE(changes.aligned);
  EXPECT_EQ(changes.Statements("t"),
            "ALTER TABLE t ALTER COLUMN \"b\" ADD GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME "
            "public.t_b_seq);");
  recorded_.columns = changes.columns;
  EXPECT_NE(Compare().Statements("t"), "");
  target_.columns[1].identity = "d";
  EXPECT_EQ(Compare().Statements("t"), "ALTER TABLE t ALTER COLUMN \"b\" SET GENERATED ALWAYS;");
  target_.columns[1].identity = "a";
  changes = Compare();
  EXPECT_EQ(changes.Statements("t"), "");
  recorded_.columns = changes.columns;
  source_.columns[1].identity = "";
  EXPECT_EQ(Compare().Statements("t"), "ALTER TABLE t ALTER COLUMN \"b\" DROP IDENTITY;");
}

TEST_F(ColumnChangesTest, SerialThatBecameAnIdentityLeavesItsSequence) {
  recorded_.columns[1].default_expression = "nextval('public.t_b_seq'::regclass)";
  recorded_.columns[1].sequence = "public.t_b_seq";
  target_ = recorded_;
  source_.columns[1].identity = "d";
  source_.columns[1].sequence = "public.t_b_seq";
  source_.columns[1].not_null = true;
  EXPECT_EQ(Compare().Statements("t"),
            "ALTER TABLE t ALTER COLUMN \"b\" DROP DEFAULT; DROP SEQUENCE IF EXISTS public.t_b_seq; ALTER "
            "TABLE t ALTER COLUMN \"b\" SET NOT NULL, ALTER COLUMN \"b\" ADD GENERATED BY DEFAULT AS "
            "IDENTITY (SEQUENCE NAME public.t_b_seq);");
}

TEST_F(ColumnChangesTest, SequenceOfADefaultIsMadeBeforeIt) {
  source_.columns[1].default_expression = "nextval('public.\"It''s\"'::regclass)";
  EXPECT_EQ(Compare().Statements("t"),
            "CREATE SEQUENCE IF NOT EXISTS public.\"It's\"; ALTER TABLE t ALTER COLUMN \"b\" SET DEFAULT "
            "nextval('public.\"It''s\"'::regclass);");
  source_.columns[1].sequence = "public.\"It's\"";
  EXPECT_THAT(Compare().Statements("t"),
              ::testing::EndsWith(" ALTER SEQUENCE public.\"It's\" OWNED BY t.\"b\";"));
}

}  // namespace
}  // namespace walferry
