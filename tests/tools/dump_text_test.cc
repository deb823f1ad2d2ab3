// The forms in which dump prints values, without a server.
#include <gtest/gtest.h>

#include "tools/binary_value.h"
#include "tools/json_text.h"

namespace walferry {
namespace {

std::string Json(std::string_view text) {
  std::string out;
  AppendJsonString(text, out);
  return out;
}

TEST(JsonText, EscapesWhatJsonForbids) {
  EXPECT_EQ(Json("plain \xc3\xa4"), "\"plain \xc3\xa4\"");
  EXPECT_EQ(Json("a\"b\\c\nd\te"), R"("a\"b\\c\nd\te")");
  EXPECT_EQ(Json(std::string_view("\x00\x1f", 2)), R"("\u0000\u001f")");
}

TEST(JsonText, TellsUtf8FromOtherBytes) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("\xf0\x9f\x98\x80 \xe2\x82\xac"));
  for (const char* bytes : {"\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x80"}) {
    EXPECT_FALSE(IsUtf8(bytes)) << bytes;
  }
}

TEST(BinaryValue, RefusesBytesThatAreNotOfTheType) {
  EXPECT_EQ(BinaryValueText(23, std::string("\0\0\1\0", 4)), "256");
  EXPECT_EQ(BinaryValueText(23, std::string("\0\0\1", 3)), std::nullopt);
  EXPECT_EQ(BinaryValueText(23, std::string("\0\0\0\1\0", 5)), std::nullopt);
  EXPECT_EQ(BinaryValueText(2950, "short"), std::nullopt);
  EXPECT_EQ(BinaryValueText(3802, "\2{}"), std::nullopt);
  EXPECT_EQ(BinaryValueText(1700, std::string("\0\1\0\0", 4)), std::nullopt);
  EXPECT_EQ(BinaryValueText(999999, "whatever"), std::nullopt);
}

}  // namespace
}  // namespace walferry
