#include "apply/ctid_range.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace walferry {
namespace {

using ::testing::ElementsAre;

TEST(CtidRange, TableBelowTheSizeIsOneOpenRange) {
  EXPECT_THAT(CutIntoRanges(100, 819200, 819200), ElementsAre(CtidRange{0, std::nullopt}));
}

TEST(CtidRange, EmptyTableIsOneRange) {
  EXPECT_THAT(CutIntoRanges(0, 0, 1 << 20), ElementsAre(CtidRange{0, std::nullopt}));
}

TEST(CtidRange, RangesTouchAndTheLastOneIsOpen) {
  EXPECT_THAT(CutIntoRanges(10, 1000, 300),
              ElementsAre(CtidRange{0, 3}, CtidRange{3, 6}, CtidRange{6, 9}, CtidRange{9, std::nullopt}));
}

TEST(CtidRange, ToastCountsButCannotMakeMoreRangesThanPages) {
  EXPECT_THAT(CutIntoRanges(2, 1'000'000, 10), ElementsAre(CtidRange{0, 1}, CtidRange{1, std::nullopt}));
}

TEST(CtidRange, EveryPageIsInExactlyOneRange) {
  for (std::int64_t pages = 1; pages < 60; ++pages) {
    for (std::int64_t range_bytes = 1; range_bytes < 70; ++range_bytes) {
      const std::vector<CtidRange> ranges = CutIntoRanges(pages, pages, range_bytes);
      std::int64_t next = 0;
      for (std::size_t i = 0; i + 1 < ranges.size(); ++i) {
        ASSERT_EQ(ranges[i].first_page, next);
        ASSERT_TRUE(ranges[i].end_page.has_value());
        ASSERT_LE(*ranges[i].end_page - next, range_bytes);
        next = *ranges[i].end_page;
      }
      ASSERT_EQ(ranges.back().first_page, next);
      ASSERT_LT(next, pages) << "an empty range for " << pages << " pages of " << range_bytes;
      ASSERT_FALSE(ranges.back().end_page.has_value());
    }
  }
}

TEST(CtidRange, ConditionIsWhatTheServerAnswersWithARangeScan) {
  EXPECT_EQ((CtidRange{3, 6}).Condition(),
            "ctid >= '(3,0)'::pg_catalog.tid AND ctid < '(6,0)'::pg_catalog.tid");
  EXPECT_EQ((CtidRange{9, std::nullopt}).Condition(), "ctid >= '(9,0)'::pg_catalog.tid");
}

}  // namespace
}  // namespace walferry
