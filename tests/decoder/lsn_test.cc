#include "decoder/lsn.h"

#include <gtest/gtest.h>

namespace walferry {
namespace {

TEST(LsnTest, PrintsAsTheServerDoes) {
  EXPECT_EQ(Lsn{}.ToString(), "0/0");
  EXPECT_EQ(Lsn{0x16B374D848}.ToString(), "16/B374D848");
  EXPECT_EQ(Lsn{0xFFFFFFFFFFFFFFFF}.ToString(), "FFFFFFFF/FFFFFFFF");
}

TEST(LsnTest, ParsesWhatAnyServerVersionPrints) {
  EXPECT_EQ(Lsn::Parse("16/B374D848").value(), Lsn{0x16B374D848});
  EXPECT_EQ(Lsn::Parse("16/b374d848").value(), Lsn{0x16B374D848});
  EXPECT_EQ(Lsn::Parse("0/0000000A").value(), Lsn{10});
  EXPECT_EQ(Lsn::Parse("FFFFFFFF/FFFFFFFF").value(), Lsn{0xFFFFFFFFFFFFFFFF});
}

TEST(LsnTest, RefusesOtherText) {
  for (const char* text : {"", "/", "1", "1/", "/1", "1/1/1", "0x1/1", "-1/1", " 1/1", "1/1 ", "1/G",
                           "123456789/0", "0/123456789", "000000001/0", "1/+1"}) {
    EXPECT_EQ(Lsn::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(LsnTest, OrdersByPosition) {
  EXPECT_LT((Lsn{0xFFFFFFFF}), (Lsn{0x100000000}));
  EXPECT_FALSE(Lsn{}.valid());
}

}  // namespace
}  // namespace walferry
