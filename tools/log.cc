#include "tools/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "decoder/status.h"

namespace walferry {
namespace {

void WriteToStderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // Nobody reads the log; there is nowhere to say so.
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::size_t TerminalColumns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

// The first `columns` characters of UTF-8 text; each is taken to be one column wide.
std::string_view CutToColumns(std::string_view text, std::size_t columns) {
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool continuation = (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80;
    if (!continuation && characters++ == columns) return text.substr(0, i);
  }
  return text;
}

// stderr with an optional progress line at its end.
class StderrSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  void ShowProgress(std::string_view text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    progress_ = text;
    WriteToStderr(std::string(kEraseLine) + Visible());
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t formatted;
    formatter_->format(message, formatted);
    const std::string line(formatted.data(), formatted.size());
    WriteToStderr(progress_.empty() ? line : kEraseLine + line + Visible());
  }
  void flush_() override {}

 private:
  static constexpr const char* kEraseLine = "\r\x1b[K";

  std::string Visible() const { return std::string(CutToColumns(progress_, TerminalColumns() - 1)); }

  std::string progress_;
};

// {"time":"…","level":"info","message":"…"}
class JsonFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    spdlog::memory_buf_t time;
    time_.format(message, time);
    const auto level = spdlog::level::to_string_view(message.level);
    const nlohmann::ordered_json entry = {
        {"time", std::string(time.data(), time.size())},
        {"level", std::string(level.data(), level.size())},
        {"message", std::string(message.payload.data(), message.payload.size())}};
    const std::string line = entry.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }

 private:
  spdlog::pattern_formatter time_{"%Y-%m-%dT%H:%M:%S.%eZ", spdlog::pattern_time_type::utc, ""};
};

struct Output {
  std::shared_ptr<StderrSink> sink = std::make_shared<StderrSink>();
  spdlog::logger logger{"walferry", sink};
  bool json = false;
  bool terminal = false;

  Output() {
    logger.set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%d %H:%M:%S.%e %-7l %v"));
  }
};

// Made at the first use and never destroyed: threads may log until the end.
Output& TheOutput() {
  static auto* output = new Output;
  return *output;
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

void SetUpLog(std::string_view level, std::string_view format) {
  Output& output = TheOutput();
  output.logger.set_level(spdlog::level::from_str(std::string(level)));
  output.json = format == "json";
  if (output.json) output.logger.set_formatter(std::make_unique<JsonFormatter>());
  const char* terminal = std::getenv("TERM");
  const bool dumb = terminal == nullptr || std::string_view(terminal) == "dumb";
  output.terminal = !output.json && !dumb && ::isatty(STDERR_FILENO) == 1;
}

void Log(LogLevel level, std::string_view text) {
  TheOutput().logger.log(SpdlogLevel(level), spdlog::string_view_t(text.data(), text.size()));
}

void LogFatal(std::string_view text) {
  Output& output = TheOutput();
  if (output.json) {
    Log(LogLevel::kError, text);
    return;
  }
  if (output.terminal) output.sink->ShowProgress("");
  WriteToStderr(absl::StrFormat("walferry: %s\n", text));
}

void ShowProgressLine(std::string_view text) {
  TheOutput().sink->ShowProgress(text);
}

bool ProgressLineShown() {
  return TheOutput().terminal;
}

}  // namespace walferry
