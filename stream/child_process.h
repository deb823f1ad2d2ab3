// A child process with its output in files: started, signalled, waited for, and never left behind. The kernel
// ends it when the thread that started it ends, so start it from a thread that outlives it. Not thread-safe.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "decoder/status.h"

namespace walferry {

struct UnixUser {
  uid_t uid = 0;
  gid_t gid = 0;
};

struct ChildOptions {
  std::vector<std::string> argv;  // The program's path first; without a slash it is looked up in PATH.
  // Set besides what we have; an empty value removes the variable.
  std::vector<std::pair<std::string, std::string>> environment;
  std::optional<UnixUser> user;   // Become this user (as root only).
  std::string working_directory;  // Empty: ours.
  int stdin_fd = -1;              // Duplicated; -1: /dev/null.
  std::string stdout_path;        // Appended to, created by us (not by `user`). Empty: /dev/null.
  std::string stderr_path;        // May be the same as stdout_path.
  // A session of its own, out of reach of the terminal's Ctrl-C, and not ended by the kernel when we end.
  bool detached = false;
};

class ChildProcess {
 public:
  static absl::StatusOr<ChildProcess> Start(const ChildOptions& options);

  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();  // SIGKILL and wait, if it is still there.

  pid_t pid() const { return pid_; }
  void Signal(int signal);
  // The exit code, or 128 + the signal that ended it; nullopt when the deadline passes first. May be asked
  // again.
  std::optional<int> Wait(absl::Time deadline = absl::InfiniteFuture());
  bool running() { return !Wait(absl::InfinitePast()).has_value(); }

 private:
  ChildProcess(pid_t pid, int pid_fd) : pid_(pid), pid_fd_(pid_fd) {}
  void Abandon();

  pid_t pid_ = -1;
  int pid_fd_ = -1;
  std::optional<int> exit_code_;
};

// The file's text, or empty where it cannot be read.
std::string ReadTextFile(const std::string& path);

}  // namespace walferry
