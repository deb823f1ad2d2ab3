#include "tools/quantity.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

#include "absl/strings/ascii.h"

namespace walferry {
namespace {

absl::Status NotUnderstood(std::string_view text, std::string_view wanted) {
  return Errorf(absl::StatusCode::kInvalidArgument, "\"%s\" is not %s", text, wanted);
}

void SkipSpace(std::string_view& text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) text.remove_prefix(1);
}

// A number without a sign at the beginning of `text`, which is moved behind it.
bool TakeNumber(std::string_view& text, double& number) {
  if (text.empty() || (std::isdigit(static_cast<unsigned char>(text.front())) == 0)) return false;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  SkipSpace(text);
  return true;
}

std::string TakeUnit(std::string_view& text) {
  std::string unit;
  while (!text.empty() && std::isalpha(static_cast<unsigned char>(text.front())) != 0) {
    unit.push_back(absl::ascii_tolower(static_cast<unsigned char>(text.front())));
    text.remove_prefix(1);
  }
  SkipSpace(text);
  return unit;
}

bool BytesOfUnit(const std::string& unit, double& bytes) {
  constexpr std::string_view kPrefixes = "kmgt";
  if (unit.empty() || unit == "b") {
    bytes = 1;
    return true;
  }
  const std::size_t power = kPrefixes.find(unit.front());
  const std::string_view rest = std::string_view(unit).substr(1);
  if (power == std::string_view::npos || (!rest.empty() && rest != "b" && rest != "ib")) return false;
  bytes = std::pow(1024.0, static_cast<double>(power + 1));
  return true;
}

bool DurationOfUnit(const std::string& unit, absl::Duration& duration) {
  struct Unit {
    std::string_view name;
    absl::Duration duration;
  };
  const std::array units = {Unit{"", absl::Seconds(1)},  Unit{"ms", absl::Milliseconds(1)},
                            Unit{"s", absl::Seconds(1)}, Unit{"sec", absl::Seconds(1)},
                            Unit{"m", absl::Minutes(1)}, Unit{"min", absl::Minutes(1)},
                            Unit{"h", absl::Hours(1)},   Unit{"d", absl::Hours(24)}};
  const auto* found =
      std::find_if(units.begin(), units.end(), [&](const Unit& known) { return known.name == unit; });
  if (found == units.end()) return false;
  duration = found->duration;
  return true;
}

}  // namespace

absl::StatusOr<std::size_t> ParseBytes(std::string_view text) {
  constexpr std::string_view kWanted = "a size such as 512MB or 1GB";
  std::string_view rest = text;
  SkipSpace(rest);
  double number = 0;
  double unit_bytes = 0;
  if (!TakeNumber(rest, number) || !BytesOfUnit(TakeUnit(rest), unit_bytes) || !rest.empty()) {
    return NotUnderstood(text, kWanted);
  }
  const double bytes = number * unit_bytes;
  if (bytes >= std::pow(2.0, 62)) return NotUnderstood(text, kWanted);
  return static_cast<std::size_t>(bytes);
}

absl::StatusOr<absl::Duration> ParseTimeSpan(std::string_view text) {
  constexpr std::string_view kWanted = "a time span such as 30s, 10min or 1h30min";
  std::string_view rest = text;
  SkipSpace(rest);
  absl::Duration sum;
  do {
    double number = 0;
    absl::Duration unit;
    if (!TakeNumber(rest, number) || !DurationOfUnit(TakeUnit(rest), unit))
      return NotUnderstood(text, kWanted);
    sum += number * unit;
  } while (!rest.empty());
  return sum;
}

std::string FormatBytes(double bytes) {
  constexpr std::array kUnits = {"B", "kB", "MB", "GB", "TB", "PB"};
  std::size_t unit = 0;
  while (std::abs(bytes) >= 1023.5 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  if (unit == 0 || std::abs(bytes) >= 99.95) return absl::StrFormat("%.0f %s", bytes, kUnits[unit]);
  return absl::StrFormat("%.1f %s", bytes, kUnits[unit]);
}

std::string FormatTimeSpan(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 9.95) return absl::StrFormat("%.1f s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(std::min(seconds, 1e15)));
  if (whole < 60) return absl::StrFormat("%d s", whole);
  if (whole < 3600) return absl::StrFormat("%d min %d s", whole / 60, whole % 60);
  if (whole < 86400) return absl::StrFormat("%d h %d min", whole / 3600, whole / 60 % 60);
  return absl::StrFormat("%d d %d h", whole / 86400, whole / 3600 % 24);
}

std::string FormatCount(std::int64_t count) {
  const std::string digits = absl::StrFormat("%d", count);
  std::string grouped;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const std::size_t left = digits.size() - i;
    if (left % 3 == 0 && i > 0 && digits[i - 1] != '-') grouped.push_back(',');
    grouped.push_back(digits[i]);
  }
  return grouped;
}

}  // namespace walferry
