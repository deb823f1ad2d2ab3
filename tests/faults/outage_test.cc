// Servers that go away and come back while walferry follows.
#include <signal.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/faults/outcome.h"
#include "tests/support/server_pair.h"
#include "tests/support/walferry_process.h"

namespace walferry {
namespace {

// Changes a table with a key and one without, where a repeated row would stay, until it is destroyed.
class SteadyWriter {
 public:
  explicit SteadyWriter(const std::string& source) : thread_([this, source] { Run(source); }) {}
  ~SteadyWriter() {
    stop_ = true;
    thread_.join();
  }

 private:
  void Run(const std::string& source) {
    Connection connection = MustConnect(source);
    for (int i = 1; !stop_; ++i) {
      RunSql(connection,
             absl::StrFormat("insert into keyed values (%d, 0); insert into keyless values (%d, 'x'); "
                             "update keyed set n = n + 1 where id = %d",
                             i, i, 1 + i / 2));
    }
  }

  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

class OutageTest : public testing::Test {
 protected:
  OutageTest() {
    pair_.RunOnSource(
        "create table keyed (id int primary key, n int); create table keyless (id int, what text); "
        "alter table keyless replica identity full; "
        "insert into keyless values (0, 'begin')");
  }
  ~OutageTest() override {
    RunSql(pair_.source(), "alter system reset wal_sender_timeout");
    RunSql(pair_.target(), "alter system reset wal_writer_delay");
    RunSql(pair_.source(), "select pg_reload_conf()");
    RunSql(pair_.target(), "select pg_reload_conf()");
  }

  void StartFollowing() {
    walferry_.emplace(std::vector<std::string>{"--memory", "32MB", "migrate"}, EnvironmentOf(pair_));
    ASSERT_TRUE(WaitUntil([&] { return !walferry_->running() || Streams(); })) << walferry_->err();
    ExpectArrival("a start");
  }
  bool Streams() {
    return QueryText(pair_.source(), "select count(*) from pg_stat_replication where state = 'streaming'") ==
           "1";
  }

  // A row of the source comes to the target, and walferry is still the same process.
  void ExpectArrival(const std::string& after) {
    const std::string what = absl::StrFormat("after %s %d", after, ++arrivals_);
    pair_.RunOnSource("insert into keyless values (0, '" + what + "')");
    ASSERT_TRUE(WaitUntil([&] {
      return !walferry_->running() ||
             (QueryText(pair_.target(), "select to_regclass('keyless')") != "NULL" &&
              QueryText(pair_.target(), "select count(*) from keyless where what = '" + what + "'") == "1");
    })) << what
        << "\n"
        << walferry_->err();
    ASSERT_TRUE(walferry_->running()) << what << "\n" << walferry_->err();
  }

  static void Stop(ThrowawayServer& server, Connection& connection, const std::string& mode) {
    const absl::Status stopped = server.Stop(mode);
    ASSERT_TRUE(stopped.ok()) << stopped;
    // The pair notices that its connection is gone.
    EXPECT_FALSE(connection.Execute("select 1").ok());
  }
  static void StartAgain(ThrowawayServer& server) {
    const absl::Status started = server.StartAgain();
    ASSERT_TRUE(started.ok()) << started;
  }

  // Ends the target as a power cut would while walferry is held still. Whether commits that walferry had the
  // answer of are gone afterwards.
  bool CrashTargetLosesCommits() {
    walferry_->Signal(SIGSTOP);
    const std::string before = LanePosition();
    Stop(TargetServer(), pair_.target(), "immediate");
    StartAgain(TargetServer());
    const std::string after = LanePosition();
    walferry_->Signal(SIGCONT);
    return QueryText(pair_.target(), absl::StrFormat("select '%s'::pg_lsn > '%s'::pg_lsn", before, after)) ==
           "t";
  }
  std::string LanePosition() {
    return QueryText(pair_.target(), "select position from walferry.lane where lane = 0");
  }
  std::string WalsenderPid() {
    return QueryText(pair_.source(), "select active_pid from pg_replication_slots where active");
  }

  DatabasePair pair_;
  std::optional<WalferryProcess> walferry_;
  int arrivals_ = 0;
};

TEST_F(OutageTest, CommitsThatACrashOfTheTargetUndidAreAppliedAgain) {
  // Only what has to be is written to its disk.
  pair_.RunOnTarget("alter system set wal_writer_delay = '10s'");
  pair_.RunOnTarget("select pg_reload_conf()");
  StartFollowing();
  int crashes_with_loss = 0;
  {
    const SteadyWriter writer(pair_.source_conninfo());
    for (int crash = 1; crash <= 12 && crashes_with_loss < 3; ++crash) {
      ExpectArrival("whatever was before");
      if (HasFatalFailure()) return;
      crashes_with_loss += CrashTargetLosesCommits() ? 1 : 0;
    }
    ExpectArrival("the crashes");
  }
  EXPECT_EQ(crashes_with_loss, 3) << "nothing was lost that could have been missing";
  walferry_->Kill();
  ExpectCaughtUpAndEqual(pair_);
}

TEST_F(OutageTest, CrashOfTheTargetUnderAWalferryThatDiesTooLosesNothing) {
  pair_.RunOnTarget("alter system set wal_writer_delay = '10s'");
  pair_.RunOnTarget("select pg_reload_conf()");
  StartFollowing();
  {
    const SteadyWriter writer(pair_.source_conninfo());
    for (int crash = 1; crash <= 3; ++crash) {
      ExpectArrival("whatever was before");
      if (HasFatalFailure()) return;
      walferry_->Kill();
      Stop(TargetServer(), pair_.target(), "immediate");
      StartAgain(TargetServer());
      StartFollowing();
    }
  }
  walferry_->Kill();
  ExpectCaughtUpAndEqual(pair_);
}

TEST_F(OutageTest, RestartsOfTheSourceAreSurvived) {
  StartFollowing();
  for (const std::string mode : {"fast", "immediate", "fast"}) {
    pair_.RunOnSource("insert into keyless select g, 'many' from generate_series(1, 30000) g");
    Connection open = MustConnect(pair_.source_conninfo());
    RunSql(open, "begin; insert into keyless values (1, 'never')");
    Stop(SourceServer(), pair_.source(), mode);
    StartAgain(SourceServer());
    ExpectArrival(mode);
    if (HasFatalFailure()) return;
  }
  walferry_->Kill();
  ExpectCaughtUpAndEqual(pair_);
}

// Its figures reach the source in time although nothing can be applied, and nothing more can be held.
TEST_F(OutageTest, LockedTargetDoesNotCostTheConnectionToTheSource) {
  pair_.RunOnSource("alter system set wal_sender_timeout = '2s'");
  pair_.RunOnSource("select pg_reload_conf()");
  StartFollowing();
  const std::string pid = WalsenderPid();
  Connection holder = MustConnect(pair_.target_conninfo());
  RunSql(holder, "begin; lock table keyless in access exclusive mode");
  for (int i = 0; i < 40; ++i) {
    pair_.RunOnSource("insert into keyless select g, repeat('x', 100) from generate_series(1, 10000) g");
  }
  EXPECT_FALSE(WaitUntil([&] { return WalsenderPid() != pid; }, absl::Seconds(6))) << walferry_->err();
  RunSql(holder, "commit");
  ExpectArrival("the lock");
  EXPECT_EQ(WalsenderPid(), pid) << walferry_->err();
  walferry_->Kill();
  ExpectCaughtUpAndEqual(pair_);
}

// The source's walsender ends only when everything was confirmed to it.
TEST_F(OutageTest, FastShutdownOfTheSourceEndsPromptlyWhileNothingHappens) {
  StartFollowing();
  const absl::Time begin = absl::Now();
  Stop(SourceServer(), pair_.source(), "fast");
  EXPECT_LT(absl::Now() - begin, absl::Seconds(5)) << walferry_->err();
  StartAgain(SourceServer());
  ExpectArrival("the shutdown");
  walferry_->Signal(SIGTERM);
  EXPECT_EQ(walferry_->Wait(), 0) << walferry_->err();
  ExpectCaughtUpAndEqual(pair_);
}

}  // namespace
}  // namespace walferry
