// The log on stderr: text lines, or one JSON object a line. Thread-safe. Never give it cell values or
// conninfos.
//
// On a terminal a progress line may stand below the log (tools/progress.h); log lines are written above it.
#pragma once

#include <string_view>

#include "absl/strings/str_format.h"

namespace walferry {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

// level: debug, info, warn or error; format: text or json. Before it is called, info and text hold.
void SetUpLog(std::string_view level, std::string_view format);

void Log(LogLevel level, std::string_view text);

template <typename... Args>
void LogDebug(const absl::FormatSpec<Args...>& format, const Args&... args) {
  Log(LogLevel::kDebug, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogInfo(const absl::FormatSpec<Args...>& format, const Args&... args) {
  Log(LogLevel::kInfo, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogWarn(const absl::FormatSpec<Args...>& format, const Args&... args) {
  Log(LogLevel::kWarn, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogError(const absl::FormatSpec<Args...>& format, const Args&... args) {
  Log(LogLevel::kError, absl::StrFormat(format, args...));
}

// The last words of a command that failed: "walferry: …" in text form, an error entry in JSON.
void LogFatal(std::string_view text);

// The progress line: replaces the one shown, or removes it with "". Only where ProgressLineShown(). One line,
// no control characters; cut to the terminal's width.
void ShowProgressLine(std::string_view text);
// Whether stderr is a terminal that lines can be redrawn on, and the log is text.
bool ProgressLineShown();

}  // namespace walferry
