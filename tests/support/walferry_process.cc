#include "tests/support/walferry_process.h"

#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <string_view>
#include <system_error>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace walferry {

WalferryProcess::WalferryProcess(const std::vector<std::string>& arguments, const Environment& environment) {
  directory_ = (std::filesystem::temp_directory_path() / "walferry-run-XXXXXX").string();
  EXPECT_NE(mkdtemp(directory_.data()), nullptr) << directory_;
  ChildOptions options;
  options.argv = {WALFERRY_BINARY};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.environment = {{"WALFERRY_SOURCE", ""},         {"WALFERRY_TARGET", ""}, {"WALFERRY_NAME", ""},
                         {"WALFERRY_CONFIG", ""},         {"WALFERRY_MEMORY", ""}, {"WALFERRY_DIR", ""},
                         {"XDG_STATE_HOME", state_home()}};
  for (const auto& [name, value] : environment) {
    std::erase_if(options.environment, [&name = name](const auto& entry) { return entry.first == name; });
    options.environment.emplace_back(name, value);
  }
  options.stdout_path = directory_ + "/out";
  options.stderr_path = directory_ + "/err";
  absl::StatusOr<ChildProcess> child = ChildProcess::Start(options);
  EXPECT_TRUE(child.ok()) << child.status();
  child_ = *std::move(child);
}

WalferryProcess::~WalferryProcess() {
  child_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void WalferryProcess::Kill() {
  child_->Signal(SIGKILL);
  child_->Wait();
}

int WalferryProcess::Wait(absl::Duration patience) {
  if (const std::optional<int> code = child_->Wait(absl::Now() + patience); code.has_value()) return *code;
  ADD_FAILURE() << "walferry did not end within " << absl::FormatDuration(patience) << "\nstdout: " << out()
                << "\nstderr: " << err();
  Kill();
  return child_->Wait().value_or(-1);
}

std::string WalferryProcess::out() const {
  return ReadTextFile(directory_ + "/out");
}
std::string WalferryProcess::err() const {
  return ReadTextFile(directory_ + "/err");
}

WalferryRun RunWalferry(const std::vector<std::string>& arguments, const Environment& environment,
                        absl::Duration patience) {
  WalferryProcess process(arguments, environment);
  const int exit_code = process.Wait(patience);
  return {exit_code, process.out(), process.err()};
}

}  // namespace walferry
