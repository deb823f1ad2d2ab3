#include "stream/quote.h"

#include "gtest/gtest.h"

namespace walferry {
namespace {

TEST(QuoteTest, IdentifiersDoubleTheirQuotes) {
  EXPECT_EQ(QuoteIdentifier("Mixed \"Case\""), "\"Mixed \"\"Case\"\"\"");
  EXPECT_EQ(QuoteName("a.b", "c"), "\"a.b\".\"c\"");
}

TEST(QuoteTest, LiteralsDoNotDependOnStandardConformingStrings) {
  EXPECT_EQ(QuoteLiteral("it's"), "'it''s'");
  EXPECT_EQ(QuoteLiteral("a\\'b"), "E'a\\\\''b'");
  EXPECT_EQ(QuoteLiteral(""), "''");
}

}  // namespace
}  // namespace walferry
