// Tested by tests/apply/schema_test.cc.
#include "apply/dump_program.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "stream/child_process.h"

namespace walferry {
namespace {

constexpr char kDebianPrograms[] = "/usr/lib/postgresql";

// The leading number of a text; 0 where there is none.
int LeadingNumber(std::string_view text) {
  int number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::map<int, std::string> DebianDumpPrograms() {
  std::map<int, std::string> programs;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kDebianPrograms, error)) {
    const std::filesystem::path program = entry.path() / "bin" / "pg_dump";
    const int major = LeadingNumber(entry.path().filename().string());
    if (major > 0 && access(program.c_str(), X_OK) == 0) programs[major] = program.string();
  }
  return programs;
}

// An anonymous file in memory that a child may write to by its path.
class OutputFile {
 public:
  OutputFile() : fd_(memfd_create("output", MFD_CLOEXEC)) {}
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile() {
    if (fd_ >= 0) close(fd_);
  }
  std::string path() const { return absl::StrFormat("/proc/self/fd/%d", fd_); }
  std::string Text() const { return ReadTextFile(path()); }

 private:
  int fd_;
};

// What a program writes; nothing where it fails or is not there.
std::string OutputOf(const std::vector<std::string>& argv) {
  const StopSignal never;
  return RunForOutput(argv, {}, never).value_or("");
}

// Beside Debian's: in PATH, where PGDG's RPM packages and a build from source put it, and where the pg_config
// in PATH says.
std::vector<std::string> OtherDumpPrograms() {
  const char* const path = std::getenv("PATH");
  std::vector<std::string> directories = absl::StrSplit(path == nullptr ? "" : path, ':', absl::SkipEmpty());
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/usr", error)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, "pgsql-")) directories.push_back(entry.path().string() + "/bin");
  }
  directories.emplace_back("/usr/local/pgsql/bin");
  directories.emplace_back(absl::StripTrailingAsciiWhitespace(OutputOf({"pg_config", "--bindir"})));
  std::vector<std::string> programs;
  for (const std::string& directory : directories) {
    std::string program = directory + "/pg_dump";
    if (access(program.c_str(), X_OK) == 0) programs.push_back(std::move(program));
  }
  return programs;
}

// "pg_dump (PostgreSQL) 15.20 (Debian …)": 15; 0 where it is no such program.
int MajorVersionOf(const std::string& program) {
  const std::string version = OutputOf({program, "--version"});
  constexpr std::string_view kName = "(PostgreSQL) ";
  const std::size_t name = version.find(kName);
  return name == std::string::npos ? 0 : LeadingNumber(std::string_view(version).substr(name + kName.size()));
}

// pg_dump tells of its errors in words alone. Those of a server that ended the connection, of a deadlock
// with a transaction of the application that locks tables in another order, and of a lock that was not to be
// had in time pass by themselves. A snapshot whose exporter's connection was lost does not come back, nor
// does what it lists and was dropped or renamed since: pg_dump locks tables by their names, and has
// definitions made by functions that look at the catalogs as they are now (backend/utils/adt/ruleutils.c).
absl::StatusCode CodeOfFailure(std::string_view said) {
  const auto says = [said](std::string_view words) { return said.find(words) != said.npos; };
  if (says("invalid snapshot identifier") || says("no matching tables were found")) {
    return absl::StatusCode::kAborted;
  }
  const bool is_gone =
      says("does not exist") || says("could not open relation with OID") || says("cache lookup failed");
  if (says("query failed") && is_gone) return absl::StatusCode::kAborted;
  for (const std::string_view passing :
       {"deadlock detected", "canceling statement due to", "terminating connection",
        "server closed the connection", "could not receive data from server"}) {
    if (says(passing)) return absl::StatusCode::kUnavailable;
  }
  return absl::StatusCode::kFailedPrecondition;
}

}  // namespace

absl::StatusOr<std::string> FindDumpProgram(int server_version) {
  const int server_major = server_version / 10000;
  std::map<int, std::string> programs = DebianDumpPrograms();
  auto fitting = programs.lower_bound(server_major);
  if (fitting != programs.end()) return fitting->second;
  for (const std::string& program : OtherDumpPrograms()) programs.emplace(MajorVersionOf(program), program);
  fitting = programs.lower_bound(server_major);
  if (fitting != programs.end()) return fitting->second;
  const int newest = programs.empty() ? 0 : programs.rbegin()->first;
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "pg_dump of version %d or newer is needed for the schema of the source, and %s here: install the "
      "package postgresql-client-%d, or bring the schema over yourself and use --schema none",
      server_major, newest == 0 ? "there is none" : absl::StrFormat("%d is the newest", newest),
      server_major);
}

absl::StatusOr<std::string> RunForOutput(const std::vector<std::string>& argv,
                                         const std::vector<std::pair<std::string, std::string>>& environment,
                                         const StopSignal& stop) {
  const OutputFile output;
  const OutputFile errors;
  ChildOptions options;
  options.argv = argv;
  options.environment = environment;
  options.stdout_path = output.path();
  options.stderr_path = errors.path();
  WF_ASSIGN_OR_RETURN(ChildProcess child, ChildProcess::Start(options));
  std::optional<int> exit_code;
  while (!(exit_code = child.Wait(absl::Now() + absl::Milliseconds(50))).has_value()) {
    if (stop.requested()) {
      child.Signal(SIGTERM);
      child.Wait(absl::Now() + absl::Seconds(2));
      return absl::CancelledError("stopped");
    }
  }
  if (*exit_code == 0) return output.Text();
  std::string said = errors.Text();
  std::replace(said.begin(), said.end(), '\n', ' ');
  return Errorf(CodeOfFailure(said), "%s failed with exit code %d: %s", argv.front(), *exit_code, said);
}

}  // namespace walferry
