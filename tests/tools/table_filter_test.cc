#include "tools/table_filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace walferry {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TableFilter MustParse(const std::vector<std::string>& tables, const std::vector<std::string>& exclude = {}) {
  const absl::StatusOr<TableFilter> filter = TableFilter::Parse(tables, exclude);
  EXPECT_TRUE(filter.ok()) << filter.status();
  return *filter;
}

SourceTable Table(const std::string& schema, const std::string& name, std::vector<TableName> ancestors = {}) {
  SourceTable table;
  table.name = {schema, name};
  table.ancestors = std::move(ancestors);
  return table;
}

TEST(TableFilter, EmptySelectsAll) {
  const TableFilter filter = MustParse({});
  EXPECT_TRUE(filter.selects_all());
  EXPECT_TRUE(filter.Matches(TableName{"any", "thing"}));
}

TEST(TableFilter, StarStandsForAnyCharacters) {
  const TableFilter filter = MustParse({"public.order*,*.log"});
  EXPECT_TRUE(filter.Matches(TableName{"public", "order"}));
  EXPECT_TRUE(filter.Matches(TableName{"public", "orders_2024"}));
  EXPECT_TRUE(filter.Matches(TableName{"audit", "log"}));
  EXPECT_FALSE(filter.Matches(TableName{"public", "reorder"}));
  EXPECT_FALSE(filter.Matches(TableName{"audit", "logs"}));
  EXPECT_TRUE(MustParse({"a.*x*y*"}).Matches(TableName{"a", "1x2y3"}));
  EXPECT_FALSE(MustParse({"a.*x*y*"}).Matches(TableName{"a", "1y2x3"}));
}

TEST(TableFilter, ExcludedWinsOverIncluded) {
  const TableFilter filter = MustParse({"public.*"}, {"public.log"});
  EXPECT_TRUE(filter.Matches(TableName{"public", "orders"}));
  EXPECT_FALSE(filter.Matches(TableName{"public", "log"}));
}

TEST(TableFilter, NamesAreCaseSensitive) {
  EXPECT_FALSE(MustParse({"public.orders"}).Matches(TableName{"public", "Orders"}));
  EXPECT_TRUE(MustParse({"public.Orders"}).Matches(TableName{"public", "Orders"}));
}

TEST(TableFilter, QuotesTakeAwayTheMeaningOfDotCommaAndStar) {
  const TableFilter filter = MustParse({R"("my.schema"."a,b*""c", public.x)"});
  EXPECT_TRUE(filter.Matches(TableName{"my.schema", "a,b*\"c"}));
  EXPECT_FALSE(filter.Matches(TableName{"my.schema", "a,bZ\"c"}));
  EXPECT_TRUE(filter.Matches(TableName{"public", "x"}));
}

TEST(TableFilter, PartitionIsChosenByItsAncestors) {
  const SourceTable leaf = Table("public", "orders_2024", {{"public", "orders_all"}, {"shop", "orders"}});
  EXPECT_TRUE(MustParse({"shop.orders"}).Matches(leaf));
  EXPECT_FALSE(MustParse({}, {"public.orders_all"}).Matches(leaf));
}

TEST(TableFilter, NamesPatternsThatMatchNothing) {
  const TableFilter filter = MustParse({"public.a, public.nothing"}, {"old.*"});
  EXPECT_THAT(filter.Unmatched({Table("public", "a"), Table("public", "b")}),
              ElementsAre("public.nothing", "old.*"));
  EXPECT_THAT(MustParse({"*.*"}).Unmatched({Table("public", "a")}), IsEmpty());
}

TEST(TableFilter, RefusesWhatIsNotSchemaDotTable) {
  for (const char* list : {"orders", "public.", ".orders", "public.a,", "", ",", "\"public.a", "a.b,,c.d"}) {
    const absl::StatusOr<TableFilter> filter = TableFilter::Parse({list}, {});
    EXPECT_EQ(filter.status().code(), absl::StatusCode::kInvalidArgument) << list;
  }
}

}  // namespace
}  // namespace walferry
