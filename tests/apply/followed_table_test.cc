#include "apply/followed_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace walferry {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

constexpr Oid kInt = 23;
constexpr Oid kText = 25;

Relation RelationOf(std::vector<std::pair<std::string, Oid>> columns) {
  Relation relation;
  relation.id = 16400;
  for (auto& [name, type] : columns) relation.columns.push_back({.name = name, .type_oid = type});
  return relation;
}

FollowedTable Renamed() {
  FollowedTable table;
  table.shapes = {{{1, "id", kInt}, {2, "b", kText}, {4, "d", kInt}},
                  {{1, "id", kInt}, {2, "a", kText}, {3, "c", kText}}};
  return table;
}

TEST(FollowedTable, ColumnsOfTheNewestShapeKeepTheirNames) {
  EXPECT_THAT(TargetColumnNames(Renamed(), RelationOf({{"id", kInt}, {"b", kText}, {"d", kInt}})),
              Optional(ElementsAre("id", "b", "d")));
}

TEST(FollowedTable, ColumnsOfAnEarlierShapeAreFoundByTheirNumbers) {
  EXPECT_THAT(TargetColumnNames(Renamed(), RelationOf({{"id", kInt}, {"a", kText}, {"c", kText}})),
              Optional(ElementsAre("id", "b", "")));
}

// A dropped column may have left its name to another one of the same type.
TEST(FollowedTable, AShapeThatLacksColumnsFitsNothing) {
  EXPECT_EQ(TargetColumnNames(Renamed(), RelationOf({{"id", kInt}, {"d", kInt}})), std::nullopt);
  EXPECT_EQ(TargetColumnNames(Renamed(), RelationOf({{"id", kInt}, {"c", kText}})), std::nullopt);
  EXPECT_EQ(TargetColumnNames(Renamed(), RelationOf({})), std::nullopt);
}

TEST(FollowedTable, AnotherNameOrderOrTypeFitsNothing) {
  EXPECT_EQ(TargetColumnNames(Renamed(), RelationOf({{"id", kInt}, {"x", kText}})), std::nullopt);
  EXPECT_EQ(TargetColumnNames(Renamed(), RelationOf({{"b", kText}, {"id", kInt}})), std::nullopt);
  EXPECT_EQ(TargetColumnNames(Renamed(), RelationOf({{"id", kText}})), std::nullopt);
}

TEST(FollowedTable, AStatusNamesRelationAndTransaction) {
  const absl::Status error = UnexpectedRelationError(RelationOf({}), "unknown");
  EXPECT_THAT(UnexpectedRelation(error), Optional(16400));
  EXPECT_EQ(UnexpectedRelationXid(error), 0);
  EXPECT_EQ(UnexpectedRelationXid(WithXid(error, 4'000'000'000)), 4'000'000'000);
  EXPECT_EQ(UnexpectedRelation(WithXid(absl::InternalError("x"), 5)), std::nullopt);
}

}  // namespace
}  // namespace walferry
