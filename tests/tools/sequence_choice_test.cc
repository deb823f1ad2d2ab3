#include "tools/sequence_choice.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace walferry {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SequenceInfo Sequence(const std::string& schema, const std::string& name, std::vector<TableName> tables = {},
                      bool readable = true) {
  return {.name = {schema, name}, .readable = readable, .settable = true, .tables = std::move(tables)};
}

SourceTable Table(const std::string& schema, const std::string& name, std::vector<TableName> ancestors = {}) {
  SourceTable table;
  table.name = {schema, name};
  table.ancestors = std::move(ancestors);
  return table;
}

std::vector<std::string> Chosen(const std::vector<SequenceInfo>& sequences, const TableFilter& filter,
                                const std::vector<TableName>& chosen) {
  const std::vector<SourceTable> tables = {Table("app", "a"), Table("app", "leaf", {{"app", "root"}}),
                                           Table("other", "b")};
  const SequenceChoice choice = ChooseSequences(sequences, tables, chosen, filter);
  std::vector<std::string> names;
  for (const SequenceInfo& sequence : choice.chosen) names.push_back(sequence.name.ToString());
  return names;
}

TEST(SequenceChoice, FollowsTheTablesThatOwnOrUseIt) {
  const std::vector<SequenceInfo> sequences = {Sequence("app", "of_a", {{"app", "a"}}),
                                               Sequence("app", "of_root", {{"app", "root"}}),
                                               Sequence("other", "of_b", {{"other", "b"}}),
                                               Sequence("other", "shared", {{"app", "a"}, {"other", "b"}})};
  EXPECT_THAT(Chosen(sequences, {}, {{"app", "leaf"}}), ElementsAre("app.of_root"));
  EXPECT_THAT(Chosen(sequences, {}, {{"app", "a"}}), ElementsAre("app.of_a", "other.shared"));
  EXPECT_THAT(Chosen(sequences, {}, {}), IsEmpty());
}

TEST(SequenceChoice, LoneOneFollowsItsSchema) {
  const std::vector<SequenceInfo> sequences = {Sequence("app", "lone"), Sequence("other", "lone"),
                                               Sequence("only_sequences", "lone"),
                                               Sequence("app", "of_unlogged", {{"app", "unlogged"}})};
  EXPECT_THAT(Chosen(sequences, {}, {{"app", "a"}}),
              ElementsAre("app.lone", "only_sequences.lone", "app.of_unlogged"));
  const TableFilter filter = TableFilter::Parse({}, {"app.l*"}).value();
  EXPECT_THAT(Chosen(sequences, filter, {{"app", "a"}}),
              ElementsAre("only_sequences.lone", "app.of_unlogged"));
}

TEST(SequenceChoice, UnreadableOnesAreNamed) {
  const SequenceChoice choice = ChooseSequences(
      {Sequence("app", "hidden", {{"app", "a"}}, false), Sequence("app", "open", {{"app", "a"}})},
      {Table("app", "a")}, {{"app", "a"}}, {});
  EXPECT_THAT(choice.unreadable(), ElementsAre(TableName{"app", "hidden"}));
  EXPECT_EQ(GrantToRead({"app", "hidden"}, "me"),
            R"(GRANT USAGE ON SCHEMA "app" TO "me"; GRANT SELECT ON SEQUENCE "app"."hidden" TO "me";)");
}

}  // namespace
}  // namespace walferry
