// The pure half of apply/copy_plan.h; the rest is proven by table_copy_test.cc.
#include "apply/copy_plan.h"

#include <numeric>
#include <set>

#include "gtest/gtest.h"

namespace walferry {
namespace {

constexpr std::int64_t kGb = std::int64_t{1} << 30;

TableCopyPlan Plan(std::int64_t bytes, std::size_t ranges) {
  TableCopyPlan plan;
  plan.bytes = bytes;
  plan.ranges.resize(ranges);
  return plan;
}

TEST(CopyPlan, OnlyTablesFarLargerThanAFairShareAreCut) {
  TableCopyOptions options;
  options.jobs = 2;
  EXPECT_GE(WholeTableBytes(options, 2 * kGb), kGb + kGb / 4);
  EXPECT_LT(WholeTableBytes(options, 2 * kGb), 2 * kGb);
  EXPECT_EQ(WholeTableBytes(options, 1000), options.range_bytes);
  options.jobs = 1;
  EXPECT_GE(WholeTableBytes(options, 2 * kGb), 2 * kGb);
  EXPECT_EQ(WholeTableBytes(options, 1000 * kGb), 16 * kGb);
}

TEST(CopyPlan, SmallWholeTablesAreGatheredAndOthersStandAlone) {
  std::vector<TableCopyPlan> plans;
  for (int i = 0; i < 130; ++i) plans.push_back(Plan(100, 1));
  plans.push_back(Plan(kGb, 1));
  plans.push_back(Plan(100, 3));
  for (int i = 0; i < 5; ++i) plans.push_back(Plan(3 << 20, 1));
  std::multiset<std::size_t> planned;
  std::int64_t bytes = 0;
  for (const CopyTask& task : GatherTasks(plans, 2)) {
    planned.insert(task.tables.begin(), task.tables.end());
    bytes += task.bytes;
    EXPECT_LE(task.tables.size(), 50U);
    if (task.tables.size() == 1) continue;
    EXPECT_EQ(task.ranges, 1U);
    EXPECT_LT(task.bytes, 12 << 20);
    for (const std::size_t table : task.tables) EXPECT_TRUE(plans[table].is_whole());
  }
  std::multiset<std::size_t> all;
  for (std::size_t i = 0; i < plans.size(); ++i) all.insert(i);
  EXPECT_EQ(planned, all);
  EXPECT_EQ(bytes, 130 * 100 + kGb + 100 + 5 * (3 << 20));
  EXPECT_TRUE(GatherTasks({}, 2).empty());
  EXPECT_EQ(GatherTasks({Plan(100, 1), Plan(100, 1), Plan(100, 1)}, 3).size(), 3U);
  EXPECT_EQ(GatherTasks({Plan(100, 1), Plan(100, 1), Plan(100, 1)}, 1).size(), 1U);
}

}  // namespace
}  // namespace walferry
