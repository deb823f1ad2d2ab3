#include "tools/quantity.h"

#include <gtest/gtest.h>

namespace walferry {
namespace {

TEST(Quantity, SizesAreReadWithUnits) {
  EXPECT_EQ(ParseBytes("65536").value(), 65536U);
  EXPECT_EQ(ParseBytes("512MB").value(), std::size_t{512} << 20);
  EXPECT_EQ(ParseBytes("512 mib").value(), std::size_t{512} << 20);
  EXPECT_EQ(ParseBytes("1.5GB").value(), std::size_t{1536} << 20);
  EXPECT_EQ(ParseBytes("2k").value(), 2048U);
  for (const char* text : {"", "MB", "-1MB", "1XB", "1MBs", "1 2", "99999999TB", "nan", "0x10"}) {
    EXPECT_FALSE(ParseBytes(text).ok()) << text;
  }
}

TEST(Quantity, TimeSpansAreReadWithUnits) {
  EXPECT_EQ(ParseTimeSpan("90").value(), absl::Seconds(90));
  EXPECT_EQ(ParseTimeSpan("10min").value(), absl::Minutes(10));
  EXPECT_EQ(ParseTimeSpan("1h30min").value(), absl::Minutes(90));
  EXPECT_EQ(ParseTimeSpan("500ms").value(), absl::Milliseconds(500));
  EXPECT_EQ(ParseTimeSpan("2d").value(), absl::Hours(48));
  for (const char* text : {"", "min", "-5s", "5 fortnights", "5s-"})
    EXPECT_FALSE(ParseTimeSpan(text).ok()) << text;
}

TEST(Quantity, IsWrittenForPeople) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 kB");
  EXPECT_EQ(FormatBytes(734.0 * 1048576), "734 MB");
  EXPECT_EQ(FormatBytes(1048575), "1.0 MB");
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(1234567), "1,234,567");
  EXPECT_EQ(FormatCount(-1234), "-1,234");
  EXPECT_EQ(FormatCount(-123), "-123");
  EXPECT_EQ(FormatTimeSpan(absl::Milliseconds(440)), "0.4 s");
  EXPECT_EQ(FormatTimeSpan(absl::Seconds(200)), "3 min 20 s");
  EXPECT_EQ(FormatTimeSpan(absl::Hours(99)), "4 d 3 h");
}

}  // namespace
}  // namespace walferry
