// Tested by tests/tools/demo_test.cc
#include "tools/demo_program.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/time/clock.h"

namespace walferry {
namespace {

constexpr std::size_t kLastWordsBytes = 1500;

}  // namespace

absl::StatusOr<std::unique_ptr<DemoProgram>> DemoProgram::Make(std::string source, std::string target) {
  std::unique_ptr<DemoProgram> program(new DemoProgram);
  std::error_code error;
  program->program_ = std::filesystem::read_symlink("/proc/self/exe", error).string();
  std::string directory = (std::filesystem::temp_directory_path(error) / "walferry-demo-XXXXXX").string();
  if (error || mkdtemp(directory.data()) == nullptr) {
    return Errorf(absl::StatusCode::kFailedPrecondition, "cannot make a directory %s: %s", directory,
                  std::strerror(errno));
  }
  program->directory_ = directory;
  program->source_ = std::move(source);
  program->target_ = std::move(target);
  return program;
}

DemoProgram::~DemoProgram() {
  running_.reset();
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

absl::StatusOr<ChildProcess> DemoProgram::Launch(std::vector<std::string> arguments,
                                                 const std::string& output) const {
  std::error_code ignored;
  std::filesystem::remove(output + ".out", ignored);
  std::filesystem::remove(output + ".err", ignored);
  ChildOptions child;
  child.argv = {program_};
  child.argv.insert(child.argv.end(), arguments.begin(), arguments.end());
  child.environment = {{"WALFERRY_SOURCE", source_}, {"WALFERRY_TARGET", target_},
                       {"WALFERRY_NAME", "demo"},    {"WALFERRY_CONFIG", ""},
                       {"WALFERRY_MEMORY", ""},      {"WALFERRY_DIR", directory_}};
  child.stdout_path = output + ".out";
  child.stderr_path = output + ".err";
  return ChildProcess::Start(child);
}

absl::Status DemoProgram::Failure(const std::string& output, std::optional<int> exit_code) const {
  std::string words = ReadTextFile(output + ".out") + ReadTextFile(output + ".err");
  if (words.size() > kLastWordsBytes) words.erase(0, words.size() - kLastWordsBytes);
  return Errorf(absl::StatusCode::kInternal, "walferry ended with exit code %d. Its last words:\n%s",
                exit_code.value_or(-1), words);
}

absl::StatusOr<std::string> DemoProgram::Run(std::vector<std::string> arguments, const StopSignal& stop) {
  const std::string output = directory_ + "/" + arguments.front();
  WF_ASSIGN_OR_RETURN(ChildProcess child, Launch(std::move(arguments), output));
  std::optional<int> exit_code;
  while (!(exit_code = child.Wait(absl::Now() + absl::Milliseconds(100))).has_value()) {
    if (stop.requested()) return absl::CancelledError("stopped");
  }
  if (exit_code != 0) return Failure(output, exit_code);
  return ReadTextFile(output + ".out");
}

absl::Status DemoProgram::Start(std::vector<std::string> arguments) {
  WF_ASSIGN_OR_RETURN(running_, Launch(std::move(arguments), directory_ + "/background"));
  return absl::OkStatus();
}

absl::Status DemoProgram::CheckRunning() {
  if (running_.has_value() && running_->running()) return absl::OkStatus();
  return Failure(directory_ + "/background", running_.has_value() ? running_->Wait() : std::nullopt);
}

absl::Status DemoProgram::WaitForEnd(absl::Time deadline) {
  const std::optional<int> exit_code = running_.has_value() ? running_->Wait(deadline) : std::nullopt;
  if (exit_code != 0) return Failure(directory_ + "/background", exit_code);
  running_.reset();
  return absl::OkStatus();
}

}  // namespace walferry
