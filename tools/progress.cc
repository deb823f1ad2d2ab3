#include "tools/progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/time/clock.h"
#include "tools/log.h"
#include "tools/quantity.h"

namespace walferry {
namespace {
constexpr int kBarCells = 24;
}

ProgressLine::ProgressLine(std::string title, absl::Duration log_interval)
    : title_(std::move(title)), log_interval_(log_interval), next_log_(absl::Now() + log_interval) {}

ProgressLine::~ProgressLine() {
  if (shown_) ShowProgressLine("");
}

void ProgressLine::Update(std::string_view text) {
  Show("", text);
}

void ProgressLine::Update(double fraction, std::string_view text) {
  const std::string percent = absl::StrFormat("%3.0f %%", std::floor(100 * std::clamp(fraction, 0.0, 1.0)));
  Show(ProgressLineShown() ? Bar(fraction, kBarCells) + " " + percent : percent, text);
}

void ProgressLine::Show(std::string_view bar, std::string_view text) {
  const std::string line = absl::StrFormat("%-8s %s%s%s", title_, bar, bar.empty() ? "" : "  ", text);
  if (ProgressLineShown()) {
    ShowProgressLine(line);
    shown_ = true;
    return;
  }
  const absl::Time now = absl::Now();
  if (now < next_log_) return;
  next_log_ = now + log_interval_;
  LogInfo("%s", line);
}

void ProgressLine::Finish(std::string_view text) {
  if (shown_) ShowProgressLine("");
  shown_ = false;
  LogInfo("%s", text);
}

std::string Bar(double fraction, int width) {
  constexpr std::array kEighths = {"", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a", "\u2589"};
  constexpr const char* kFull = "\u2588";
  constexpr const char* kEmpty = "\u2591";
  const int eighths = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * width * 8);
  std::string bar;
  for (int cell = 0; cell < width; ++cell) {
    const int filled = std::clamp(eighths - cell * 8, 0, 8);
    bar += filled == 8 ? kFull : filled == 0 ? kEmpty : kEighths[static_cast<std::size_t>(filled)];
  }
  return bar;
}

std::string TimeLeft(double fraction_done, absl::Time started, absl::Time now) {
  const absl::Duration elapsed = now - started;
  if (fraction_done < 0.005 || fraction_done >= 1 || elapsed < absl::Seconds(2)) return "";
  return FormatTimeSpan(elapsed * ((1 - fraction_done) / fraction_done)) + " left";
}

}  // namespace walferry
