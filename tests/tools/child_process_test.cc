#include "stream/child_process.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <thread>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace walferry {
namespace {

ChildProcess MustStart(const ChildOptions& options) {
  absl::StatusOr<ChildProcess> child = ChildProcess::Start(options);
  EXPECT_TRUE(child.ok()) << child.status();
  return *std::move(child);
}

TEST(ChildProcess, ReturnsTheExitCodeAndItsOutput) {
  char directory[] = "/tmp/walferry-child-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  const std::string path = std::string(directory) + "/out";
  ChildOptions options;
  options.argv = {"/bin/sh", "-c", "echo \"$GREETING\"; exit 7"};
  options.environment = {{"GREETING", "ahoy"}};
  options.stdout_path = path;
  ChildProcess child = MustStart(options);
  EXPECT_EQ(child.Wait(), 7);
  EXPECT_EQ(child.Wait(), 7);
  EXPECT_EQ(ReadTextFile(path), "ahoy\n");
  unlink(path.c_str());
  rmdir(directory);
}

TEST(ChildProcess, LooksUpProgramsInPathAndRemovesVariables) {
  setenv("WALFERRY_CHILD_TEST", "set", 1);
  ChildOptions options;
  options.argv = {"sh", "-c", "exit ${WALFERRY_CHILD_TEST:+9}"};
  EXPECT_EQ(MustStart(options).Wait(), 9);
  options.environment = {{"WALFERRY_CHILD_TEST", ""}};
  EXPECT_EQ(MustStart(options).Wait(), 0);
  unsetenv("WALFERRY_CHILD_TEST");
}

TEST(ChildProcess, SaysThatAProgramIsMissingAsAShellDoes) {
  ChildOptions options;
  options.argv = {"/nonexistent/program"};
  EXPECT_EQ(MustStart(options).Wait(), 127);
}

TEST(ChildProcess, WaitGivesUpAtItsDeadlineAndASignalEndsTheChild) {
  ChildOptions options;
  options.argv = {"sleep", "1000"};
  ChildProcess child = MustStart(options);
  EXPECT_EQ(child.Wait(absl::Now() + absl::Milliseconds(20)), std::nullopt);
  EXPECT_TRUE(child.running());
  child.Signal(SIGTERM);
  EXPECT_EQ(child.Wait(), 128 + SIGTERM);
  EXPECT_FALSE(child.running());
}

TEST(ChildProcess, IsEndedByItsOwner) {
  ChildOptions options;
  options.argv = {"sleep", "1000"};
  pid_t pid = -1;
  {
    const ChildProcess child = MustStart(options);
    pid = child.pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_NE(kill(pid, 0), 0);
}

TEST(ChildProcess, BecomesAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can";
  ChildOptions options;
  options.argv = {"/bin/sh", "-c", "test \"$(id -u) $(id -G)\" = '65534 65534'"};
  options.user = UnixUser{65534, 65534};
  EXPECT_EQ(MustStart(options).Wait(), 0);
}

}  // namespace
}  // namespace walferry
