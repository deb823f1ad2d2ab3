// Amounts as people write and read them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "decoder/status.h"

namespace walferry {

// "512MB", "1.5 GB", "65536": as PostgreSQL, a unit is a power of 1024 (B, kB, MB, GB, TB in any case; also
// K, KiB, …).
absl::StatusOr<std::size_t> ParseBytes(std::string_view text);

// "90s", "10min", "1h30min", "500ms", "2d"; a bare number is seconds.
absl::StatusOr<absl::Duration> ParseTimeSpan(std::string_view text);

// "0 B", "1.5 kB", "734 MB"
std::string FormatBytes(double bytes);
// "0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "4 d 3 h"
std::string FormatTimeSpan(absl::Duration duration);
// "1,234,567"
std::string FormatCount(std::int64_t count);

}  // namespace walferry
