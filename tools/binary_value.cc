#include "tools/binary_value.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "absl/time/civil_time.h"
#include "decoder/wire_reader.h"

namespace walferry {
namespace {

// src/include/catalog/pg_type.dat
enum BuiltinType : Oid {
  kBool = 16,
  kBytea = 17,
  kName = 19,
  kInt8 = 20,
  kInt2 = 21,
  kInt4 = 23,
  kText = 25,
  kOid = 26,
  kJson = 114,
  kFloat4 = 700,
  kFloat8 = 701,
  kBpchar = 1042,
  kVarchar = 1043,
  kDate = 1082,
  kTime = 1083,
  kTimestamp = 1114,
  kTimestamptz = 1184,
  kNumeric = 1700,
  kUuid = 2950,
  kJsonb = 3802,
};

constexpr std::int64_t kMicrosPerDay = 86'400'000'000;

// A type in which the middle between two neighbouring values is exact.
template <typename Float>
using Wider = std::conditional_t<std::is_same_v<Float, float>, double, long double>;

template <typename Float>
bool IsMidway(const std::string& text, Float value) {
  const auto decimal = static_cast<Wider<Float>>(std::strtold(text.c_str(), nullptr));
  for (const Float end : {std::numeric_limits<Float>::lowest(), std::numeric_limits<Float>::max()}) {
    const Wider<Float> neighbour = std::nextafter(value, end);
    if (decimal == (static_cast<Wider<Float>>(value) + neighbour) / 2) return true;
  }
  return false;
}

// "d.ddde+XX" with the fewest digits that read back as the value. The server leaves out decimals that lie
// midway to a neighbour (STRICTLY_SHORTEST in src/common/d2s.c), though they would be read back by rounding
// to even.
template <typename Float>
std::string ShortestScientific(Float value) {
  std::array<char, 64> text{};
  char* const end = text.data() + text.size();
  std::string shortest(text.data(),
                       std::to_chars(text.data(), end, value, std::chars_format::scientific).ptr);
  for (int digits = 1; IsMidway(shortest, value) && digits < std::numeric_limits<Float>::max_digits10;
       ++digits) {
    std::string longer(text.data(),
                       std::to_chars(text.data(), end, value, std::chars_format::scientific, digits).ptr);
    Float back = 0;
    std::from_chars(longer.data(), longer.data() + longer.size(), back);
    if (back == value) shortest = std::move(longer);
  }
  return shortest;
}

// Where the exponent begins is the server's choice, too: by the number of digits that the type always holds.
template <typename Float>
std::string FloatText(Float value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  std::string scientific = ShortestScientific(value);
  const std::size_t mark = scientific.find('e');
  const int exponent = std::stoi(scientific.substr(mark + 1));
  if (exponent < -4 || exponent >= std::numeric_limits<Float>::digits10) return scientific;
  // The same digits with the point where the exponent says.
  const std::string sign = scientific.front() == '-' ? "-" : "";
  std::string digits;
  for (const char c : scientific.substr(0, mark)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0');
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

// days since 2000-01-01
std::string DateText(std::int64_t days, bool& before_christ) {
  const absl::CivilDay day = absl::CivilDay(2000, 1, 1) + days;
  before_christ = day.year() <= 0;
  const std::int64_t year = before_christ ? 1 - day.year() : day.year();
  return absl::StrFormat("%04d-%02d-%02d", year, day.month(), day.day());
}

std::string TimeText(std::int64_t micros) {
  std::string text = absl::StrFormat("%02d:%02d:%02d", micros / 3'600'000'000, micros / 60'000'000 % 60,
                                     micros / 1'000'000 % 60);
  if (micros % 1'000'000 == 0) return text;
  text += absl::StrFormat(".%06d", micros % 1'000'000);
  return text.substr(0, text.find_last_not_of('0') + 1);
}

template <typename Integer>
std::optional<std::string> Infinity(Integer value) {
  if (value == std::numeric_limits<Integer>::max()) return "infinity";
  if (value == std::numeric_limits<Integer>::min()) return "-infinity";
  return std::nullopt;
}

std::string DateValueText(std::int32_t days) {
  if (const auto infinite = Infinity(days)) return *infinite;
  bool before_christ = false;
  std::string text = DateText(days, before_christ);
  if (before_christ) text += " BC";
  return text;
}

std::string TimestampText(std::int64_t micros, std::string_view zone) {
  if (const auto infinite = Infinity(micros)) return *infinite;
  std::int64_t days = micros / kMicrosPerDay;
  if (micros % kMicrosPerDay < 0) --days;
  bool before_christ = false;
  std::string text = DateText(days, before_christ);
  text += ' ';
  text += TimeText(micros - days * kMicrosPerDay);
  text += zone;
  if (before_christ) text += " BC";
  return text;
}

// Int16 ndigits, weight, sign, dscale, then base-10000 digits (numeric_send).
std::optional<std::string> NumericText(WireReader& reader) {
  const auto count = static_cast<std::int16_t>(reader.Int16());
  const auto weight = static_cast<std::int16_t>(reader.Int16());
  const auto sign = static_cast<std::uint16_t>(reader.Int16());
  const auto scale = static_cast<std::int16_t>(reader.Int16());
  if (!reader.ok() || count < 0 || scale < 0) return std::nullopt;
  if (sign == 0xC000) return "NaN";
  if (sign == 0xD000) return "Infinity";
  if (sign == 0xF000) return "-Infinity";
  std::string whole;
  std::string fraction;
  // Positions left of the digits sent, and right of them, are zero.
  int position = weight;
  for (int zero = weight; zero < -1; ++zero) fraction += "0000";
  for (int i = 0; i < count; ++i, --position) {
    const std::string four = absl::StrFormat("%04d", static_cast<std::uint16_t>(reader.Int16()));
    (position >= 0 ? whole : fraction) += four;
  }
  if (!reader.ok()) return std::nullopt;
  for (; position >= 0; --position) whole += "0000";
  const std::size_t first = whole.find_first_not_of('0');
  std::string text = sign == 0x4000 ? "-" : "";
  text += first == std::string::npos ? "0" : whole.substr(first);
  if (scale == 0) return text;
  fraction.resize(static_cast<std::size_t>(scale), '0');
  text += '.';
  text += fraction;
  return text;
}

std::string UuidText(std::string_view bytes) {
  std::string text = absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
  for (const std::size_t position : {20U, 16U, 12U, 8U}) text.insert(position, 1, '-');
  return text;
}

// Types of a fixed number of bytes, read as one integer.
std::optional<std::string> FixedText(Oid type, WireReader& reader) {
  switch (type) {
    case kBool:
      return reader.Int8() != 0 ? "t" : "f";
    case kInt2:
      return std::to_string(static_cast<std::int16_t>(reader.Int16()));
    case kInt4:
      return std::to_string(static_cast<std::int32_t>(reader.Int32()));
    case kOid:
      return std::to_string(static_cast<std::uint32_t>(reader.Int32()));
    case kInt8:
      return std::to_string(static_cast<std::int64_t>(reader.Int64()));
    case kFloat4:
      return FloatText(std::bit_cast<float>(static_cast<std::uint32_t>(reader.Int32())));
    case kFloat8:
      return FloatText(std::bit_cast<double>(static_cast<std::uint64_t>(reader.Int64())));
    case kDate:
      return DateValueText(static_cast<std::int32_t>(reader.Int32()));
    case kTime:
      return TimeText(static_cast<std::int64_t>(reader.Int64()));
    case kTimestamp:
      return TimestampText(static_cast<std::int64_t>(reader.Int64()), "");
    case kTimestamptz:
      return TimestampText(static_cast<std::int64_t>(reader.Int64()), "+00");
    case kNumeric:
      return NumericText(reader);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<std::string> BinaryValueText(Oid type, std::string_view bytes) {
  switch (type) {
    case kText:
    case kVarchar:
    case kBpchar:
    case kName:
    case kJson:
      return std::string(bytes);
    case kJsonb:
      // A version byte before the text (jsonb_send).
      if (bytes.empty() || bytes.front() != 1) return std::nullopt;
      return std::string(bytes.substr(1));
    case kBytea:
      return "\\x" + absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
    case kUuid:
      if (bytes.size() != 16) return std::nullopt;
      return UuidText(bytes);
    default:
      break;
  }
  WireReader reader(bytes);
  std::optional<std::string> text = FixedText(type, reader);
  // Anything left over, or too little, means that it is not what we took it for.
  if (!reader.at_end() || !reader.ok()) return std::nullopt;
  return text;
}

}  // namespace walferry
