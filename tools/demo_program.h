// This program run as a child, as a user would run it, by `walferry demo`.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "decoder/status.h"
#include "stream/child_process.h"
#include "stream/stop_signal.h"

namespace walferry {

// Runs walferry commands on one pair of databases; files of theirs lie in a directory that goes with the
// object.
class DemoProgram {
 public:
  static absl::StatusOr<std::unique_ptr<DemoProgram>> Make(std::string source, std::string target);
  ~DemoProgram();
  DemoProgram(const DemoProgram&) = delete;
  DemoProgram& operator=(const DemoProgram&) = delete;

  // Until it ends. Gives its stdout; an exit code other than 0 is an error with its last words.
  absl::StatusOr<std::string> Run(std::vector<std::string> arguments, const StopSignal& stop);
  // Into the background. One at a time.
  absl::Status Start(std::vector<std::string> arguments);
  // OK while that one runs; otherwise an error with its last words.
  absl::Status CheckRunning();
  // With SIGKILL.
  void Kill() { running_.reset(); }
  // Waits for its own end with exit code 0.
  absl::Status WaitForEnd(absl::Time deadline);

 private:
  DemoProgram() = default;
  absl::StatusOr<ChildProcess> Launch(std::vector<std::string> arguments, const std::string& output) const;
  absl::Status Failure(const std::string& output, std::optional<int> exit_code) const;

  std::string program_;
  std::string source_;
  std::string target_;
  std::string directory_;
  std::optional<ChildProcess> running_;
};

}  // namespace walferry
