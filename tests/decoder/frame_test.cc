#include "decoder/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/pgoutput_writer.h"

namespace walferry {
namespace {

TEST(FrameTest, XLogDataBorrowsItsPayload) {
  const std::string bytes = WriteXLogData(Lsn{0x100000002}, Lsn{0x300000004}, -5, "payload");
  const absl::StatusOr<Frame> frame = DecodeFrame(bytes);
  ASSERT_TRUE(frame.ok()) << frame.status();
  const auto& data = std::get<XLogData>(*frame);
  EXPECT_EQ(data.data_start, Lsn{0x100000002});
  EXPECT_EQ(data.wal_end, Lsn{0x300000004});
  EXPECT_EQ(data.send_time, -5);
  EXPECT_EQ(data.payload, "payload");
  EXPECT_EQ(data.payload.data(), bytes.data() + 25);
}

TEST(FrameTest, Keepalive) {
  for (const bool reply_requested : {false, true}) {
    const absl::StatusOr<Frame> frame = DecodeFrame(WriteKeepalive(Lsn{7}, 8, reply_requested));
    ASSERT_TRUE(frame.ok()) << frame.status();
    const auto& keepalive = std::get<Keepalive>(*frame);
    EXPECT_EQ(keepalive.wal_end, Lsn{7});
    EXPECT_EQ(keepalive.send_time, 8);
    EXPECT_EQ(keepalive.reply_requested, reply_requested);
  }
}

TEST(FrameTest, DamagedFramesAreRejected) {
  const std::string keepalive = WriteKeepalive(Lsn{7}, 8, true);
  for (std::size_t length = 0; length < keepalive.size(); ++length) {
    EXPECT_EQ(DecodeFrame(keepalive.substr(0, length)).status().code(), absl::StatusCode::kDataLoss)
        << length;
  }
  const std::string header = WriteXLogData(Lsn{1}, Lsn{2}, 3, "");
  for (std::size_t length = 0; length < header.size(); ++length) {
    EXPECT_EQ(DecodeFrame(header.substr(0, length)).status().code(), absl::StatusCode::kDataLoss) << length;
  }
  EXPECT_THAT(DecodeFrame(keepalive + "x").status().ToString(),
              testing::HasSubstr("trailing bytes, at offset 18"));
  EXPECT_THAT(DecodeFrame("s").status().ToString(),
              testing::HasSubstr("malformed replication frame (type 0x73): unknown frame type, at offset 0"));
}

TEST(FrameTest, StandbyStatusUpdateHasThe34BytesOfTheManual) {
  const std::string bytes = EncodeStandbyStatusUpdate({.write = Lsn{0x0102030405060708},
                                                       .flush = Lsn{2},
                                                       .apply = Lsn{3},
                                                       .client_time = 4,
                                                       .reply_requested = true});
  WireWriter expected;
  expected.Int8('r').Int64(0x0102030405060708).Int64(2).Int64(3).Int64(4).Int8(1);
  EXPECT_EQ(bytes, expected.bytes());
  EXPECT_EQ(bytes.size(), 34u);
}

}  // namespace
}  // namespace walferry
