// Identifiers of the server as strong or plain integers: log sequence numbers, transaction and object ids,
// timestamps.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "decoder/status.h"

namespace walferry {

using Xid = std::uint32_t;
using Oid = std::uint32_t;

// Microseconds since 2000-01-01 00:00 UTC, the server's epoch.
using TimestampMicros = std::int64_t;

// A position in the write-ahead log. Zero is "invalid", as in the server (InvalidXLogRecPtr).
struct Lsn {
  std::uint64_t value = 0;

  constexpr bool valid() const { return value != 0; }
  friend constexpr auto operator<=>(Lsn, Lsn) = default;

  // "16/B374D848": as pg_lsn prints it.
  std::string ToString() const;
  // Takes the form of pg_lsn, "%X/%X", upper or lower case, with or without leading zeros (version 19 prints
  // them).
  static absl::StatusOr<Lsn> Parse(std::string_view text);
};

}  // namespace walferry
