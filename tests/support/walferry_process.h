// The walferry program as a child of a test: started with arguments and environment, killed, waited for, its
// output read at any time. It sees no WALFERRY_… variables but those given, and a state directory of its own.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "stream/child_process.h"

namespace walferry {

using Environment = std::vector<std::pair<std::string, std::string>>;

class WalferryProcess {
 public:
  explicit WalferryProcess(const std::vector<std::string>& arguments, const Environment& environment = {});
  ~WalferryProcess();  // SIGKILL, if it still runs; its directory goes.
  WalferryProcess(const WalferryProcess&) = delete;
  WalferryProcess& operator=(const WalferryProcess&) = delete;

  pid_t pid() const { return child_->pid(); }
  bool running() { return child_->running(); }
  void Signal(int signal) { child_->Signal(signal); }
  void Kill();  // SIGKILL, and waits.
  // The exit code, 128 + signal where one ended it. Past the time it is killed, which is a failure of the
  // test.
  int Wait(absl::Duration patience = absl::Minutes(2));

  // Everything written so far.
  std::string out() const;
  std::string err() const;
  // Default of XDG_STATE_HOME: under it lies the work directory.
  std::string state_home() const { return directory_ + "/state"; }

 private:
  std::string directory_;
  std::optional<ChildProcess> child_;
};

struct WalferryRun {
  int exit_code = -1;
  std::string out;
  std::string err;
};

// Start and Wait in one.
WalferryRun RunWalferry(const std::vector<std::string>& arguments, const Environment& environment = {},
                        absl::Duration patience = absl::Minutes(2));

}  // namespace walferry
