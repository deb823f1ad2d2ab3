#include "apply/sequence.h"

#include <algorithm>

#include "gtest/gtest.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

constexpr char kSequences[] =
    "create sequence plain; create sequence \"My \"\"Seq\"; create sequence down increment -1; "
    "create sequence unused; create sequence round maxvalue 10 cycle; create table t (id serial, i int "
    "generated always "
    "as identity); create schema walferry; create sequence walferry.own";

std::vector<TableName> NamesOfAll(Connection& source) {
  std::vector<TableName> names;
  const std::vector<SequenceInfo> sequences = ListSequences(source).value();
  for (const SequenceInfo& sequence : sequences) names.push_back(sequence.name);
  return names;
}

std::vector<SequenceValue> ReadAll(Connection& source) {
  return ReadSequences(source, NamesOfAll(source)).value();
}

class Sequence : public ::testing::Test {
 protected:
  void SetUp() override {
    pair_.RunOnBoth(kSequences);
    pair_.RunOnSource(
        "select setval('plain', 41), setval('\"My \"\"Seq\"', 7, false), setval('down', -9), "
        "setval('round', 3), nextval('t_id_seq'), nextval('t_i_seq'), nextval('t_i_seq')");
  }
  SequenceReport Set() { return SetSequences(pair_.target(), ReadAll(pair_.source())).value(); }
  std::string Target(const std::string& name) {
    return QueryText(pair_.target(), "select last_value, is_called from " + name);
  }
  DatabasePair pair_;
};

TEST_F(Sequence, ValuesAreThoseOfTheSource) {
  const SequenceReport report = Set();
  EXPECT_TRUE(report.missing.empty());
  EXPECT_EQ(report.set, 6);
  EXPECT_EQ(Target("plain"), "41|t");
  EXPECT_EQ(Target("\"My \"\"Seq\""), "7|f");
  EXPECT_EQ(Target("down"), "-9|t");
  EXPECT_EQ(Target("unused"), "1|f");
  EXPECT_EQ(Target("t_id_seq"), "1|t");
  EXPECT_EQ(Target("t_i_seq"), "2|t");
  EXPECT_EQ(Set().set, 0);
}

TEST_F(Sequence, NoneIsMovedBack) {
  pair_.RunOnTarget(
      "select setval('plain', 50), setval('down', -20), setval('t_i_seq', 2), setval('round', 9)");
  Set();
  EXPECT_EQ(Target("plain"), "50|t");
  EXPECT_EQ(Target("down"), "-20|t");
  EXPECT_EQ(Target("t_i_seq"), "2|t");
  EXPECT_EQ(Target("round"), "3|t") << "where values come around there is no back";
}

TEST_F(Sequence, OneThatWasSetBeforeItsStartComes) {
  pair_.RunOnBoth(
      "create sequence low start 1000; create sequence high increment -1 minvalue -9 maxvalue 9 start -5;"
      "create sequence used start 1000");
  pair_.RunOnSource("select setval('low', 5), setval('high', 3, false), setval('used', 5)");
  pair_.RunOnTarget("select nextval('used')");
  Set();
  EXPECT_EQ(Target("low"), "5|t");
  EXPECT_EQ(Target("high"), "3|f");
  EXPECT_EQ(Target("used"), "1000|t") << "a value was taken from it there";
}

TEST_F(Sequence, OnesThatAreMissingAreNamed) {
  pair_.RunOnTarget("drop sequence plain, unused");
  SequenceReport report = Set();
  std::sort(report.missing.begin(), report.missing.end());
  EXPECT_EQ(report.missing, (std::vector<TableName>{{"public", "plain"}, {"public", "unused"}}));
  EXPECT_EQ(Target("down"), "-9|t");
}

TEST_F(Sequence, StateOfWalferryIsNotRead) {
  const std::vector<SequenceValue> values = ReadAll(pair_.source());
  for (const SequenceValue& value : values) EXPECT_NE(value.sequence.schema, "walferry");
}

TEST_F(Sequence, TablesThatOwnOrUseOneAreNamed) {
  pair_.RunOnSource("create table u (n int default nextval('plain'), m int default nextval('t_id_seq'))");
  const std::vector<SequenceInfo> sequences = ListSequences(pair_.source()).value();
  const auto tables = [&](const std::string& name) {
    for (const SequenceInfo& sequence : sequences) {
      if (sequence.name.name == name) return sequence.tables;
    }
    return std::vector<TableName>{{"no", "sequence"}};
  };
  EXPECT_EQ(tables("plain"), (std::vector<TableName>{{"public", "u"}}));
  EXPECT_EQ(tables("t_id_seq"), (std::vector<TableName>{{"public", "t"}, {"public", "u"}}));
  EXPECT_EQ(tables("t_i_seq"), (std::vector<TableName>{{"public", "t"}}));
  EXPECT_TRUE(tables("unused").empty());
}

TEST(SequenceList, ManyAreReadInPieces) {
  DatabasePair pair;
  pair.RunOnBoth("do $$ begin for i in 1..450 loop execute 'create sequence s' || i; end loop; end $$");
  pair.RunOnSource("do $$ begin for i in 1..450 loop perform setval('s' || i, i + 1); end loop; end $$");
  EXPECT_EQ(SetSequences(pair.target(), ReadAll(pair.source())).value().set, 450);
  EXPECT_EQ(QueryText(pair.target(), "select last_value from s333"), "334");
}

}  // namespace
}  // namespace walferry
