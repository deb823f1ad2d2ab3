#include "decoder/wire_reader.h"

#include <gtest/gtest.h>

#include "decoder/wire_writer.h"

namespace walferry {
namespace {

TEST(WireReaderTest, ReadsBackWhatAWriterWrote) {
  WireWriter writer;
  writer.Int8(0x12).Int16(0x8034).Int32(0x89ABCDEF).Int64(0x8123456789ABCDEF).String("text").Bytes("rest");
  WireReader reader(writer.bytes());
  EXPECT_EQ(reader.Int8(), 0x12);
  EXPECT_EQ(reader.Int16(), 0x8034);
  EXPECT_EQ(reader.Int32(), 0x89ABCDEF);
  EXPECT_EQ(reader.Int64(), 0x8123456789ABCDEF);
  EXPECT_EQ(reader.String(), "text");
  EXPECT_EQ(reader.Bytes(4), "rest");
  EXPECT_TRUE(reader.ok());
  EXPECT_TRUE(reader.at_end());
}

TEST(WireReaderTest, BytesAreInNetworkOrder) {
  EXPECT_EQ(WireWriter().Int32(0x01020304).bytes(), std::string("\1\2\3\4"));
}

TEST(WireReaderTest, FailsOnceAndForAllWhereTheReadBegan) {
  WireReader reader("abcde");
  reader.Int16();
  EXPECT_EQ(reader.Int32(), 0u);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.offset(), 2u);
  EXPECT_EQ(reader.Int8(), 0);
  EXPECT_EQ(reader.Bytes(1), "");
  EXPECT_EQ(reader.String(), "");
  EXPECT_STREQ(reader.failure(), "message ends too early");
  reader.Fail("another reason", 0);
  EXPECT_STREQ(reader.failure(), "message ends too early");
  EXPECT_EQ(reader.offset(), 2u);
}

TEST(WireReaderTest, AStringNeedsItsNul) {
  EXPECT_TRUE(WireReader("").String().empty());
  WireReader reader("abc");
  EXPECT_EQ(reader.String(), "");
  EXPECT_FALSE(reader.ok());
}

TEST(WireReaderTest, HugeLengthsAreRejectedWithoutOverflow) {
  WireReader reader("abc");
  reader.Int8();
  EXPECT_EQ(reader.Bytes(SIZE_MAX), "");
  EXPECT_FALSE(reader.ok());
}

TEST(WireReaderTest, NothingToReadIsNotAFailure) {
  WireReader reader("");
  EXPECT_EQ(reader.Bytes(0), "");
  EXPECT_TRUE(reader.ok());
  EXPECT_TRUE(reader.at_end());
}

}  // namespace
}  // namespace walferry
