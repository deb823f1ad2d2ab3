#include "tools/throwaway_server.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <string>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "stream/child_process.h"

namespace walferry {
namespace {

std::unique_ptr<ThrowawayServer> MustStart(const ThrowawayServerOptions& options) {
  absl::StatusOr<std::unique_ptr<ThrowawayServer>> server = ThrowawayServer::Start(options);
  EXPECT_TRUE(server.ok()) << server.status();
  return server.ok() ? *std::move(server) : nullptr;
}

struct Answer {
  int exit_code;
  std::string text;
};

// Through psql, so that this test needs nothing else of walferry.
Answer Psql(const std::string& conninfo, const std::string& sql) {
  char path[] = "/tmp/walferry-psql-XXXXXX";
  close(mkstemp(path));
  ChildOptions options;
  options.argv = {"psql", "-X", "-A", "-t", "-w", "-c", sql, conninfo};
  options.stdout_path = options.stderr_path = path;
  absl::StatusOr<ChildProcess> child = ChildProcess::Start(options);
  EXPECT_TRUE(child.ok()) << child.status();
  const int code = child->Wait().value_or(-1);
  Answer answer{code, ReadTextFile(path)};
  unlink(path);
  return answer;
}

bool Exists(const std::string& path) {
  return access(path.c_str(), F_OK) == 0;
}

pid_t PostmasterPid(const std::string& directory) {
  std::ifstream file(directory + "/data/postmaster.pid");
  pid_t pid = -1;
  file >> pid;
  return pid;
}

// A zombie (nobody may be there to reap a reparented process) counts as gone.
bool ProcessRuns(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::size_t state = text.rfind(") ");
  return state != std::string::npos && text[state + 2] != 'Z';
}

template <typename Condition>
bool Eventually(const Condition& condition) {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return true;
}

TEST(ThrowawayServer, AnswersOnLoopbackWithLogicalWalAndLeavesNothing) {
  std::string directory;
  pid_t pid = -1;
  {
    const auto server =
        MustStart({.name = "plain", .settings = {{"work_mem", "7MB"}}, .password = {}, .tls = false});
    ASSERT_NE(server, nullptr);
    directory = server->directory();
    pid = PostmasterPid(directory);
    EXPECT_TRUE(ProcessRuns(pid));
    EXPECT_EQ(Psql(server->Conninfo("postgres"), "show wal_level").text, "logical\n");
    EXPECT_EQ(Psql(server->Conninfo("postgres"), "show work_mem").text, "7MB\n");
    EXPECT_EQ(Psql(server->Conninfo("postgres"), "show server_encoding").text, "UTF8\n");
    EXPECT_EQ(
        Psql("host=" + directory + " port=" + std::to_string(server->port()) + " user=postgres", "select 1")
            .text,
        "1\n");
  }
  EXPECT_FALSE(Exists(directory));
  EXPECT_FALSE(ProcessRuns(pid));
}

TEST(ThrowawayServer, KeepsDataAndPortOverAStop) {
  const auto server = MustStart({});
  ASSERT_NE(server, nullptr);
  const std::string conninfo = server->Conninfo("postgres");
  for (const char* mode : {"fast", "immediate"}) {
    const std::string table = std::string("t_") + mode;
    ASSERT_EQ(Psql(conninfo, "create table " + table + " as select 42 as a; checkpoint").exit_code, 0);
    ASSERT_TRUE(server->Stop(mode).ok());
    EXPECT_NE(Psql(conninfo, "select 1").exit_code, 0);
    ASSERT_TRUE(server->StartAgain().ok());
    EXPECT_EQ(Psql(conninfo, "select a from " + table).text, "42\n");
  }
}

TEST(ThrowawayServer, AsksForThePassword) {
  const auto server = MustStart({.name = "password", .settings = {}, .password = "it's \\secret"});
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(Psql(server->Conninfo("postgres"), "select 1").text, "1\n");
  EXPECT_NE(Psql(server->Conninfo("postgres") + " password=wrong", "select 1").exit_code, 0);
}

TEST(ThrowawayServer, ProvesItsNameWithTls) {
  const auto server = MustStart({.name = "tls", .settings = {}, .password = {}, .tls = true});
  ASSERT_NE(server, nullptr);
  const std::string verified = " sslmode=verify-full sslrootcert=" + server->ca_file();
  for (const char* host : {" host=localhost", " host=127.0.0.1"}) {
    EXPECT_EQ(Psql(server->Conninfo("postgres") + host + verified,
                   "select ssl from pg_stat_ssl "
                   "where pid = pg_backend_pid()")
                  .text,
              "t\n");
  }
  EXPECT_NE(
      Psql(server->Conninfo("postgres") + " host=wrong.example hostaddr=127.0.0.1" + verified, "select 1")
          .exit_code,
      0);
}

TEST(ThrowawayServer, ReportsASettingThatTheServerRefuses) {
  const auto server = ThrowawayServer::Start({.name = "broken", .settings = {{"no_such_setting", "1"}}});
  ASSERT_FALSE(server.ok());
  EXPECT_NE(MessageOf(server.status()).find("no_such_setting"), std::string_view::npos) << server.status();
}

// The owner is a process of its own that is killed in the middle of its work.
TEST(ThrowawayServer, IsGoneSoonAfterItsOwnerWasKilled) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t owner = fork();
  if (owner == 0) {
    close(ends[0]);
    const auto server = ThrowawayServer::Start({.name = "orphan"});
    const std::string line = server.ok() ? (*server)->directory() : std::string("failed");
    if (write(ends[1], line.data(), line.size()) < 0) _exit(1);
    close(ends[1]);
    while (true) pause();
  }
  close(ends[1]);
  std::string directory;
  char buffer[256];
  for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
    directory.append(buffer, static_cast<std::size_t>(n));
  }
  close(ends[0]);
  const pid_t postmaster = PostmasterPid(directory);
  EXPECT_TRUE(ProcessRuns(postmaster)) << directory;
  ASSERT_EQ(kill(owner, SIGKILL), 0);
  ASSERT_EQ(waitpid(owner, nullptr, 0), owner);
  EXPECT_TRUE(Eventually([&] { return !ProcessRuns(postmaster); }));
  EXPECT_TRUE(Eventually([&] { return !Exists(directory); }));
}

std::set<std::string> DirectoriesNamed(const std::string& prefix) {
  std::set<std::string> names;
  const char* tmpdir = getenv("TMPDIR");
  for (const std::string& root : {std::string("/tmp"), std::string(tmpdir != nullptr ? tmpdir : "/tmp")}) {
    DIR* directory = opendir(root.c_str());
    if (directory == nullptr) continue;
    while (const dirent* entry = readdir(directory)) {
      if (std::string_view(entry->d_name).starts_with(prefix)) names.insert(root + "/" + entry->d_name);
    }
    closedir(directory);
  }
  return names;
}

// At every moment of the start, also in the middle of initdb and of pg_ctl.
TEST(ThrowawayServer, LeavesNothingWhenItsOwnerIsKilledWhileItStarts) {
  const std::string name = "early" + std::to_string(getpid());
  for (int delay_ms = 5; delay_ms < 3000; delay_ms += delay_ms / 2 + 40) {
    const pid_t owner = fork();
    if (owner == 0) {
      const auto server = ThrowawayServer::Start({.name = name});
      while (true) pause();
    }
    absl::SleepFor(absl::Milliseconds(delay_ms));
    kill(owner, SIGKILL);
    waitpid(owner, nullptr, 0);
    EXPECT_TRUE(Eventually([&] { return DirectoriesNamed("walferry-" + name).empty(); }))
        << "killed after " << delay_ms << " ms";
  }
}

}  // namespace
}  // namespace walferry
