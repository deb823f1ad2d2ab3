// Tested by tests/tools/child_process_test.cc
#include "stream/child_process.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/time/clock.h"

namespace walferry {
namespace {

constexpr int kExecFailed = 127;  // As a shell says it.

std::vector<std::string> MergedEnvironment(const std::vector<std::pair<std::string, std::string>>& changes) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    const bool changed =
        std::any_of(changes.begin(), changes.end(), [&](const auto& change) { return change.first == name; });
    if (!changed) merged.emplace_back(text);
  }
  for (const auto& [name, value] : changes) {
    if (!value.empty()) merged.push_back(name + "=" + value);
  }
  return merged;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

int OpenForOutput(const std::string& path) {
  if (path.empty()) return open("/dev/null", O_WRONLY | O_CLOEXEC);
  return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

struct Prepared {
  const ChildOptions& options;
  int stdin_fd;
  int stdout_fd;
  int stderr_fd;
  pid_t parent;
  char* const* argv;
  char* const* environment;
};

bool BecomeUser(const UnixUser& user) {
  return setgroups(1, &user.gid) == 0 && setgid(user.gid) == 0 && setuid(user.uid) == 0;
}

// Runs between fork and exec: system calls only, since another thread may have held any lock.
[[noreturn]] void RunChild(const Prepared& child) {
  dup2(child.stdin_fd, STDIN_FILENO);
  dup2(child.stdout_fd, STDOUT_FILENO);
  dup2(child.stderr_fd, STDERR_FILENO);
  // Whatever else the program has open: a server that lives long must not keep a pipe or a file of ours open.
  close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  if (child.options.detached) setsid();
  if (child.options.user.has_value() && !BecomeUser(*child.options.user)) _exit(kExecFailed);
  // A change of user clears the death signal, so it comes last; then look whether the parent was faster.
  if (!child.options.detached) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != child.parent) _exit(kExecFailed);
  }
  if (!child.options.working_directory.empty() && chdir(child.options.working_directory.c_str()) != 0) {
    _exit(kExecFailed);
  }
  execvpe(child.argv[0], child.argv, child.environment);
  _exit(kExecFailed);
}

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(const ChildOptions& options) {
  const FileDescriptor no_input(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const FileDescriptor output(OpenForOutput(options.stdout_path));
  const FileDescriptor errors(OpenForOutput(options.stderr_path));
  if (no_input.get() < 0 || output.get() < 0 || errors.get() < 0) {
    return Errorf(absl::StatusCode::kFailedPrecondition, "cannot open the output files of %s: %s",
                  options.argv.front(), std::strerror(errno));
  }
  std::vector<std::string> argv = options.argv;
  std::vector<std::string> environment = MergedEnvironment(options.environment);
  const std::vector<char*> argv_pointers = Pointers(argv);
  const std::vector<char*> environment_pointers = Pointers(environment);
  const Prepared prepared{options,
                          options.stdin_fd >= 0 ? options.stdin_fd : no_input.get(),
                          output.get(),
                          errors.get(),
                          getpid(),
                          argv_pointers.data(),
                          environment_pointers.data()};
  const pid_t pid = fork();
  if (pid < 0) {
    return Errorf(absl::StatusCode::kResourceExhausted, "cannot start %s: %s", options.argv.front(),
                  std::strerror(errno));
  }
  if (pid == 0) RunChild(prepared);
  return ChildProcess(pid, static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pid_fd_(std::exchange(other.pid_fd_, -1)),
      exit_code_(std::exchange(other.exit_code_, std::nullopt)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    Abandon();
    pid_ = std::exchange(other.pid_, -1);
    pid_fd_ = std::exchange(other.pid_fd_, -1);
    exit_code_ = std::exchange(other.exit_code_, std::nullopt);
  }
  return *this;
}

ChildProcess::~ChildProcess() {
  Abandon();
}

void ChildProcess::Abandon() {
  if (pid_ < 0) return;
  Signal(SIGKILL);
  Wait();
  if (pid_fd_ >= 0) close(pid_fd_);
  pid_ = pid_fd_ = -1;
}

void ChildProcess::Signal(int signal) {
  if (pid_ > 0 && !exit_code_.has_value()) kill(pid_, signal);
}

std::optional<int> ChildProcess::Wait(absl::Time deadline) {
  if (exit_code_.has_value() || pid_ < 0) return exit_code_;
  pollfd ended{pid_fd_, POLLIN, 0};
  while (pid_fd_ >= 0) {
    const absl::Duration left = std::clamp(deadline - absl::Now(), absl::ZeroDuration(), absl::Hours(1));
    const int ready = poll(&ended, 1, static_cast<int>(absl::ToInt64Milliseconds(left)));
    if (ready > 0) break;
    if (ready == 0 && absl::Now() >= deadline) return std::nullopt;
  }
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  exit_code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return exit_code_;
}

std::string ReadTextFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace walferry
