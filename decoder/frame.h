// What travels inside CopyData on a replication connection: XLogData and keepalives from the server, status
// updates to it. Integers are big-endian. https://www.postgresql.org/docs/current/protocol-replication.html
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "decoder/lsn.h"
#include "decoder/status.h"

namespace walferry {

// 'w' Int64 dataStart, Int64 walEnd, Int64 sendTime, payload
struct XLogData {
  Lsn data_start;  // Zero for messages that are not the last one written for a change (Relation, Type). Not
                   // monotonic.
  Lsn wal_end;
  TimestampMicros send_time = 0;
  std::string_view payload;
};

// 'k' Int64 walEnd, Int64 sendTime, Byte replyRequested
struct Keepalive {
  Lsn wal_end;
  TimestampMicros send_time = 0;
  bool reply_requested = false;
};

using Frame = std::variant<XLogData, Keepalive>;

// copy_data: the content of one CopyData message. The result borrows it.
absl::StatusOr<Frame> DecodeFrame(std::string_view copy_data);

// 'r' Int64 write, Int64 flush, Int64 apply, Int64 clientTime, Byte replyRequested
struct StandbyStatusUpdate {
  Lsn write;
  Lsn flush;  // Moves the slot. Zero leaves it where it is.
  Lsn apply;
  TimestampMicros client_time = 0;
  bool reply_requested = false;
};

// The 34 bytes to put into CopyData.
std::string EncodeStandbyStatusUpdate(const StandbyStatusUpdate& update);

}  // namespace walferry
