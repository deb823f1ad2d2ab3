#include "decoder/describe.h"

#include <gtest/gtest.h>

#include "decoder/decode.h"
#include "tests/support/pgoutput_writer.h"

namespace walferry {
namespace {

std::string DescribeBytes(const std::string& bytes, const ProtocolOptions& options = {},
                          const Relation* relation = nullptr) {
  return Describe(Decoder(options).Decode(bytes, {}).value(), relation);
}

TEST(DescribeTest, FourKindsOfValuesLookDifferent) {
  const Relation relation = {
      .id = 7, .schema = "public", .name = "t", .columns = {{"a"}, {"b"}, {"c"}, {"d"}}};
  const std::string bytes = PgoutputWriter().Insert(
      7, {NullColumn(), UnchangedToastColumn(), TextColumn("null"), BinaryColumn(std::string("\0\xff", 2))});
  EXPECT_EQ(DescribeBytes(bytes, {}, &relation),
            R"(insert relation=7 public.t new(a=null, b=unchanged_toast, c='null', d=\x00ff))");
}

TEST(DescribeTest, AMessageStaysOnOneLineWhateverItHolds) {
  EXPECT_EQ(DescribeBytes(PgoutputWriter().Insert(7, {TextColumn("a\nb'c\\d\x01ü")})),
            R"(insert relation=7 new('a\nb\'c\\d\001ü'))");
  EXPECT_EQ(
      DescribeBytes(PgoutputWriter().Relation(7, "a\nb", "c\nd", ReplicaIdentity::kFull, {{"e\nf", 25}})),
      R"(relation relation=7 a\nb.c\nd identity=f (e\nf type=25 typmod=-1))");
}

TEST(DescribeTest, AColumnThatTheRelationDoesNotHaveStandsWithoutAName) {
  const Relation relation = {.id = 7, .schema = "public", .name = "t", .columns = {{"a"}}};
  EXPECT_EQ(DescribeBytes(PgoutputWriter().Insert(7, {TextColumn("1"), TextColumn("2")}), {}, &relation),
            "insert relation=7 public.t new(a='1', '2')");
}

TEST(DescribeTest, TimesAreUtcWithMicroseconds) {
  EXPECT_EQ(DescribeBytes(PgoutputWriter().Begin(Lsn{0x10}, 1, 2)),
            "begin xid=2 final_lsn=0/10 time=2000-01-01T00:00:00.000001Z");
  EXPECT_EQ(DescribeBytes(PgoutputWriter().Begin(Lsn{0x10}, -1, 2)),
            "begin xid=2 final_lsn=0/10 time=1999-12-31T23:59:59.999999Z");
}

TEST(DescribeTest, ATimeBeyondTheCalendarIsShownAsANumber) {
  EXPECT_EQ(DescribeBytes(PgoutputWriter().Begin(Lsn{0x10}, INT64_MIN, 2)),
            "begin xid=2 final_lsn=0/10 time=-9223372036854775808us");
  EXPECT_EQ(DescribeBytes(PgoutputWriter().Begin(Lsn{0x10}, INT64_MAX, 2)),
            "begin xid=2 final_lsn=0/10 time=9223372036854775807us");
}

TEST(DescribeTest, AnAbortWithItsPosition) {
  EXPECT_EQ(DescribeBytes(PgoutputWriter(Streaming::kParallel).StreamAbort(1, 2, Lsn{0x30}, 0),
                          {.proto_version = 4, .streaming = Streaming::kParallel}),
            "stream_abort xid=1 subxid=2 abort_lsn=0/30 time=2000-01-01T00:00:00.000000Z");
}

}  // namespace
}  // namespace walferry
