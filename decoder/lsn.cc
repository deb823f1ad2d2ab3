#include "decoder/lsn.h"

#include <charconv>

namespace walferry {
namespace {

// One half of an LSN: 1 to 8 hexadecimal digits and nothing else.
bool ParseHalf(std::string_view digits, std::uint32_t& value) {
  if (digits.empty() || digits.size() > 8) return false;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value, 16);
  return error == std::errc() && stop == end;
}

}  // namespace

std::string Lsn::ToString() const {
  return absl::StrFormat("%X/%X", static_cast<std::uint32_t>(value >> 32), static_cast<std::uint32_t>(value));
}

absl::StatusOr<Lsn> Lsn::Parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  std::uint32_t high = 0;
  std::uint32_t low = 0;
  if (slash == std::string_view::npos || !ParseHalf(text.substr(0, slash), high) ||
      !ParseHalf(text.substr(slash + 1), low)) {
    return Errorf(absl::StatusCode::kInvalidArgument, "\"%s\" is not an LSN; expected the form 16/B374D848",
                  text);
  }
  return Lsn{static_cast<std::uint64_t>(high) << 32 | low};
}

}  // namespace walferry
