// Bytes to messages. Pure: no allocation, no clock, no logging; errors carry LSN, offset and message type.
#pragma once

#include <string_view>

#include "decoder/message.h"
#include "decoder/protocol.h"
#include "decoder/status.h"

namespace walferry {

// Decodes the payloads of one stream in their order. The only state is whether a streamed transaction's block
// is open, because the Int32 xid after the type byte is present only there.
class Decoder {
 public:
  explicit Decoder(const ProtocolOptions& options) : options_(options) {}

  // payload: one pgoutput message (XLogData without its header). lsn: where it came from, for the error text
  // only. The message borrows `payload`. After an error the stream cannot be continued.
  absl::StatusOr<Message> Decode(std::string_view payload, Lsn lsn);

  bool in_stream() const { return in_stream_; }
  // For messages kept from inside a stream block and decoded again later.
  void set_in_stream(bool in_stream) { in_stream_ = in_stream; }

 private:
  ProtocolOptions options_;
  bool in_stream_ = false;
};

}  // namespace walferry
