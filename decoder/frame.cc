#include "decoder/frame.h"

#include "decoder/wire_reader.h"
#include "decoder/wire_writer.h"

namespace walferry {
namespace {

absl::Status Malformed(std::string_view copy_data, const char* reason, std::size_t offset) {
  const unsigned type = copy_data.empty() ? 0 : static_cast<unsigned char>(copy_data[0]);
  return Errorf(absl::StatusCode::kDataLoss,
                "malformed replication frame (type 0x%02x): %s, at offset %d of %d", type, reason, offset,
                copy_data.size());
}

XLogData ReadXLogData(WireReader& reader) {
  XLogData data;
  data.data_start = Lsn{reader.Int64()};
  data.wal_end = Lsn{reader.Int64()};
  data.send_time = static_cast<TimestampMicros>(reader.Int64());
  data.payload = reader.Bytes(reader.remaining());
  return data;
}

Keepalive ReadKeepalive(WireReader& reader) {
  Keepalive keepalive;
  keepalive.wal_end = Lsn{reader.Int64()};
  keepalive.send_time = static_cast<TimestampMicros>(reader.Int64());
  keepalive.reply_requested = reader.Int8() != 0;
  if (!reader.at_end()) reader.Fail("trailing bytes", reader.offset());
  return keepalive;
}

Frame ReadFrame(WireReader& reader) {
  switch (reader.Int8()) {
    case 'w':
      return ReadXLogData(reader);
    case 'k':
      return ReadKeepalive(reader);
  }
  reader.Fail("unknown frame type", 0);
  return {};
}

}  // namespace

absl::StatusOr<Frame> DecodeFrame(std::string_view copy_data) {
  WireReader reader(copy_data);
  const Frame frame = ReadFrame(reader);
  if (!reader.ok()) return Malformed(copy_data, reader.failure(), reader.offset());
  return frame;
}

std::string EncodeStandbyStatusUpdate(const StandbyStatusUpdate& update) {
  WireWriter writer;
  writer.Int8('r').Int64(update.write.value).Int64(update.flush.value).Int64(update.apply.value);
  writer.Int64(static_cast<std::uint64_t>(update.client_time)).Int8(update.reply_requested ? 1 : 0);
  return std::move(writer).Take();
}

}  // namespace walferry
