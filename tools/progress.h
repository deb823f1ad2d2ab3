// What a long step shows while it runs: one line, redrawn in place on a terminal; elsewhere a log line now
// and then.
#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace walferry {

class ProgressLine {
 public:
  // title: what runs ("copy", "indexes"); begins the line.
  explicit ProgressLine(std::string title, absl::Duration log_interval = absl::Seconds(10));
  // Removes the line.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Shows `text`. Cheap enough for a few calls a second; not thread-safe.
  void Update(std::string_view text);
  // The same with a bar before it; fraction outside 0 to 1 is clamped.
  void Update(double fraction, std::string_view text);
  // Removes the line and leaves `text` in the log for good.
  void Finish(std::string_view text);

 private:
  void Show(std::string_view bar, std::string_view text);

  const std::string title_;
  const absl::Duration log_interval_;
  absl::Time next_log_;
  bool shown_ = false;
};

// "[#######.............]" with block characters, `width` cells wide.
std::string Bar(double fraction, int width);

// What is left at the pace since `started`: "3 min 20 s left", or "" as long as nothing can be said.
std::string TimeLeft(double fraction_done, absl::Time started, absl::Time now);

}  // namespace walferry
