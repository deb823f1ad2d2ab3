// Tested by tests/tools/throwaway_server_test.cc
#include "tools/throwaway_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <glob.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <random>
#include <utility>

#include "stream/child_process.h"

namespace walferry {
namespace {

constexpr int kPortAttempts = 20;
constexpr absl::Duration kCommandTimeout = absl::Minutes(2);

// Ends the server and removes the directory when its standard input closes: our descriptor of the pipe is
// closed by the destructor, or by the kernel however we end. $0 is pg_ctl, $1 the server's directory. A
// pg_ctl that was killed with us may have left a server that is just starting, hence the loop.
constexpr char kWatchdogScript[] =
    "cat >/dev/null; cd /; "
    "for attempt in 1 2 3 4 5 6 7 8 9 10; do "
    "\"$0\" stop -s -m immediate -D \"$1/data\" >/dev/null 2>&1; "
    "rm -rf \"$1\" 2>/dev/null; [ -e \"$1\" ] || exit 0; sleep 0.2; done; exit 1";

// The newest of Debian's server versions, or what pg_config in PATH says.
absl::StatusOr<std::string> FindServerPrograms() {
  if (const char* chosen = std::getenv("WALFERRY_PG_BINDIR"); chosen != nullptr) return std::string(chosen);
  std::string newest;
  double newest_version = 0;
  glob_t found{};
  if (glob("/usr/lib/postgresql/*/bin/initdb", 0, nullptr, &found) == 0) {
    for (std::size_t i = 0; i < found.gl_pathc; ++i) {
      const std::string path = found.gl_pathv[i];
      const double version = std::strtod(path.c_str() + std::strlen("/usr/lib/postgresql/"), nullptr);
      if (version > newest_version) {
        newest_version = version;
        newest = path.substr(0, path.rfind('/'));
      }
    }
  }
  globfree(&found);
  if (!newest.empty()) return newest;
  FILE* pipe = popen("pg_config --bindir 2>/dev/null", "r");
  char line[4096] = "";
  if (pipe != nullptr) {
    if (std::fgets(line, sizeof line, pipe) == nullptr) line[0] = '\0';
    pclose(pipe);
  }
  const std::string bindir(line, std::strcspn(line, "\n"));
  if (bindir.empty() || access((bindir + "/initdb").c_str(), X_OK) != 0) {
    return absl::FailedPreconditionError(
        "no PostgreSQL server programs found in /usr/lib/postgresql/*/bin nor by pg_config: install "
        "postgresql");
  }
  return bindir;
}

// PostgreSQL refuses to run as root.
absl::StatusOr<std::optional<UnixUser>> UnprivilegedUser() {
  if (geteuid() != 0) return std::optional<UnixUser>();
  for (const char* name : {"postgres", "nobody"}) {
    if (const passwd* entry = getpwnam(name); entry != nullptr) {
      return std::optional<UnixUser>(UnixUser{entry->pw_uid, entry->pw_gid});
    }
  }
  return absl::FailedPreconditionError(
      "PostgreSQL does not run as root, and there is no user postgres or nobody");
}

// $TMPDIR where another user can use it too and socket paths (at most 107 characters) fit, else /tmp.
std::string TemporaryRoot(bool for_another_user) {
  const char* wish = std::getenv("TMPDIR");
  struct stat facts {};
  if (wish != nullptr && std::strlen(wish) < 50 && stat(wish, &facts) == 0 && S_ISDIR(facts.st_mode)) {
    const mode_t others = S_IWOTH | S_IXOTH;
    if (!for_another_user || (facts.st_mode & others) == others) return wish;
  }
  return "/tmp";
}

// Below the range from which the kernel takes ports for outgoing connections, so that a stopped server finds
// its own port free again.
int RandomFreePort() {
  static std::random_device seed;
  std::uniform_int_distribution<int> ports(15000, 32000);
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const int port = ports(seed);
    const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool free = bind(probe, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    close(probe);
    if (free) return port;
  }
  return 0;
}

std::string ConfigurationQuoted(const std::string& value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') quoted += c;
    quoted += c;
  }
  return quoted + "'";
}

std::string Tail(const std::string& text) {
  return text.size() <= 2000 ? text : "..." + text.substr(text.size() - 2000);
}

}  // namespace

class ThrowawayServer::Impl {
 public:
  explicit Impl(const ThrowawayServerOptions& options) : options_(options) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  ~Impl() {
    if (lifeline_ >= 0) close(lifeline_);
    if (watchdog_.has_value()) watchdog_->Wait(absl::Now() + kCommandTimeout);
  }

  absl::Status Start() {
    bindir_ = options_.bindir;
    if (bindir_.empty()) {
      WF_ASSIGN_OR_RETURN(bindir_, FindServerPrograms());
    }
    WF_ASSIGN_OR_RETURN(user_, UnprivilegedUser());
    WF_RETURN_IF_ERROR(MakeDirectory());
    WF_RETURN_IF_ERROR(StartWatchdog());
    WF_RETURN_IF_ERROR(InitializeData());
    if (options_.tls) WF_RETURN_IF_ERROR(MakeCertificates());
    return StartOnFreePort();
  }

  absl::Status Stop(const std::string& mode) {
    return Run({bindir_ + "/pg_ctl", "stop", "-w", "-s", "-m", mode, "-D", data()});
  }

  absl::Status StartServer() {
    return Run({bindir_ + "/pg_ctl", "start", "-w", "-s", "-t", "100", "-D", data(), "-l",
                directory_ + "/postgres.log"});
  }

  std::string data() const { return directory_ + "/data"; }
  const std::string& directory() const { return directory_; }
  int port() const { return port_; }

  std::string Conninfo(const std::string& database) const {
    std::string conninfo =
        absl::StrFormat("host=127.0.0.1 port=%d user=postgres dbname=%s", port_, ConninfoValue(database));
    if (!options_.password.empty()) conninfo += " password=" + ConninfoValue(options_.password);
    return conninfo;
  }

 private:
  // https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE
  static std::string ConninfoValue(const std::string& value) {
    const bool plain = !value.empty() && std::all_of(value.begin(), value.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '_' || c == '-' || c == '.';
    });
    if (plain) return value;
    std::string quoted = "'";
    for (const char c : value) {
      if (c == '\'' || c == '\\') quoted += '\\';
      quoted += c;
    }
    return quoted + "'";
  }

  absl::Status MakeDirectory() {
    std::string path = TemporaryRoot(user_.has_value()) + "/walferry-" + options_.name + "-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) {
      return Errorf(absl::StatusCode::kFailedPrecondition, "cannot make the directory %s: %s", path,
                    std::strerror(errno));
    }
    directory_ = path;
    if (user_.has_value() && chown(path.c_str(), user_->uid, user_->gid) != 0) {
      return Errorf(absl::StatusCode::kFailedPrecondition, "cannot give %s to the server's user: %s", path,
                    std::strerror(errno));
    }
    return absl::OkStatus();
  }

  absl::Status StartWatchdog() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      return Errorf(absl::StatusCode::kResourceExhausted, "cannot make a pipe: %s", std::strerror(errno));
    }
    ChildOptions child = ChildOf({"/bin/sh", "-c", kWatchdogScript, bindir_ + "/pg_ctl", directory_});
    child.stdin_fd = ends[0];
    child.detached = true;
    child.stdout_path.clear();
    child.stderr_path.clear();
    absl::StatusOr<ChildProcess> started = ChildProcess::Start(child);
    close(ends[0]);
    lifeline_ = ends[1];
    WF_RETURN_IF_ERROR(started.status());
    watchdog_ = *std::move(started);
    return absl::OkStatus();
  }

  absl::Status InitializeData() {
    std::vector<std::string> argv = {bindir_ + "/initdb", "--no-sync", "-U",  "postgres", "-E", "UTF8",
                                     "--locale=C.UTF-8",  "-D",        data()};
    if (options_.password.empty()) {
      argv.insert(argv.end(), {"-A", "trust"});
    } else {
      const std::string password_file = directory_ + "/password";
      WF_RETURN_IF_ERROR(WriteFile(password_file, options_.password + "\n"));
      argv.insert(argv.end(), {"-A", "scram-sha-256", "--pwfile", password_file});
    }
    return Run(argv);
  }

  // One authority and one server key, made by the openssl program as the server's user, who must own the key.
  absl::Status MakeCertificates() {
    const std::vector<std::string> common = {
        "openssl", "req",   "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes",  "-days", "30"};
    std::vector<std::string> authority = common;
    authority.insert(authority.end(), {"-subj", "/CN=walferry throwaway CA", "-keyout",
                                       directory_ + "/ca.key", "-out", directory_ + "/ca.crt"});
    WF_RETURN_IF_ERROR(Run(authority));
    std::vector<std::string> server = common;
    server.insert(
        server.end(),
        {"-subj", "/CN=localhost", "-CA", directory_ + "/ca.crt", "-CAkey", directory_ + "/ca.key", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", data() + "/server.key", "-out", data() + "/server.crt"});
    return Run(server);
  }

  std::string Configuration() const {
    std::vector<std::pair<std::string, std::string>> settings = {
        {"listen_addresses", "127.0.0.1"},
        {"unix_socket_directories", directory_},
        {"port", absl::StrFormat("%d", port_)},
        {"wal_level", "logical"},
        {"max_wal_senders", "20"},
        {"max_replication_slots", "20"},
        {"max_connections", "100"},
        {"shared_buffers", "128MB"},
        {"fsync", "off"},
        {"ssl", options_.tls ? "on" : "off"},
    };
    settings.insert(settings.end(), options_.settings.begin(), options_.settings.end());
    std::string text;
    for (const auto& [name, value] : settings) {
      text += name + " = " + ConfigurationQuoted(value) + "\n";
    }
    return text;
  }

  absl::Status StartOnFreePort() {
    for (int attempt = 1;; ++attempt) {
      port_ = options_.port != 0 ? options_.port : RandomFreePort();
      WF_RETURN_IF_ERROR(WriteFile(data() + "/postgresql.auto.conf", Configuration()));
      const absl::Status status = StartServer();
      if (status.ok()) return absl::OkStatus();
      const std::string log = ReadTextFile(directory_ + "/postgres.log");
      const bool lost_race = log.find("Address already in use") != std::string::npos;
      if (!lost_race || options_.port != 0 || attempt == kPortAttempts) {
        return Annotate(status, "the throwaway server did not start: " + Tail(log));
      }
      unlink((directory_ + "/postgres.log").c_str());
    }
  }

  // Owned by the server's user, like everything in the directory.
  absl::Status WriteFile(const std::string& path, const std::string& text) const {
    {
      std::ofstream file(path, std::ios::trunc);
      file << text;
      if (!file.flush()) return Errorf(absl::StatusCode::kFailedPrecondition, "cannot write %s", path);
    }
    if (chmod(path.c_str(), 0600) != 0 ||
        (user_.has_value() && chown(path.c_str(), user_->uid, user_->gid) != 0)) {
      return Errorf(absl::StatusCode::kFailedPrecondition, "cannot set the owner of %s: %s", path,
                    std::strerror(errno));
    }
    return absl::OkStatus();
  }

  ChildOptions ChildOf(std::vector<std::string> argv) const {
    ChildOptions child;
    child.argv = std::move(argv);
    child.environment = {{"LC_ALL", "C"}, {"PGDATA", ""}, {"PGPORT", ""}, {"PGHOST", ""}};
    child.user = user_;
    child.working_directory = directory_;
    child.stdout_path = child.stderr_path = directory_ + "/setup.log";
    return child;
  }

  absl::Status Run(std::vector<std::string> argv) const {
    const std::string program = argv.front();
    unlink((directory_ + "/setup.log").c_str());
    WF_ASSIGN_OR_RETURN(ChildProcess child, ChildProcess::Start(ChildOf(std::move(argv))));
    const std::optional<int> code = child.Wait(absl::Now() + kCommandTimeout);
    if (code == 0) return absl::OkStatus();
    return Errorf(absl::StatusCode::kFailedPrecondition, "%s ended with %s: %s", program,
                  code.has_value() ? absl::StrFormat("code %d", *code) : "a timeout",
                  Tail(ReadTextFile(directory_ + "/setup.log")));
  }

  const ThrowawayServerOptions options_;
  std::string bindir_;
  std::optional<UnixUser> user_;
  std::string directory_;
  int port_ = 0;
  int lifeline_ = -1;  // The watchdog's pipe: it acts when this closes.
  std::optional<ChildProcess> watchdog_;
};

absl::StatusOr<std::unique_ptr<ThrowawayServer>> ThrowawayServer::Start(
    const ThrowawayServerOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  WF_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<ThrowawayServer>(new ThrowawayServer(std::move(impl)));
}

ThrowawayServer::ThrowawayServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ThrowawayServer::~ThrowawayServer() = default;

int ThrowawayServer::port() const {
  return impl_->port();
}
const std::string& ThrowawayServer::directory() const {
  return impl_->directory();
}
std::string ThrowawayServer::ca_file() const {
  return impl_->directory() + "/ca.crt";
}
std::string ThrowawayServer::Conninfo(const std::string& database) const {
  return impl_->Conninfo(database);
}
absl::Status ThrowawayServer::Stop(const std::string& mode) {
  return impl_->Stop(mode);
}
absl::Status ThrowawayServer::StartAgain() {
  return impl_->StartServer();
}

}  // namespace walferry
