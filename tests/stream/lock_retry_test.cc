#include "stream/lock_retry.h"

#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "stream/publication.h"
#include "tests/stream/stream_fixture.h"

namespace walferry {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class LockRetryTest : public DatabaseTest {
 protected:
  LockRetryTest() {
    Must(source_.Execute("CREATE TABLE public.t (i int); CREATE TABLE public.free (i int)"));
    Must(application_.Execute("BEGIN; LOCK TABLE public.t IN SHARE MODE; SET application_name = 'shop'"));
  }
  absl::Status Publish(const LockRetry& retry) {
    return CreatePublication(source_, "p", {{"public", "free"}, {"public", "t"}}, /*via_root=*/false, retry);
  }

  Connection source_ = Connect(conninfo());
  Connection application_ = Connect(conninfo());
};

TEST_F(LockRetryTest, ATableThatStaysLockedIsNamedWithItsHolder) {
  const absl::Time begin = absl::Now();
  const absl::Status status = Publish({.retry_for = absl::ZeroDuration()});
  EXPECT_LT(absl::Now() - begin, absl::Seconds(60));
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_TRUE(IsRetryable(status));
  EXPECT_THAT(
      std::string(MessageOf(status)),
      AllOf(HasSubstr("table public.t is locked by a session of the source"),
            HasSubstr("pid " + std::to_string(application_.backend_pid())), HasSubstr("application shop")));
  EXPECT_FALSE(Must(PublicationExists(source_, "p")));
}

TEST_F(LockRetryTest, ItIsTriedAgainAndToldOnce) {
  int told = 0;
  absl::Notification waiting;
  std::thread release([&] {
    waiting.WaitForNotification();
    Must(application_.Execute("COMMIT"));
  });
  const absl::Status status = Publish({.waiting = [&](const std::string& holder) {
    EXPECT_THAT(holder, HasSubstr("trying again"));
    if (++told == 1) waiting.Notify();
  }});
  release.join();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(Must(PublicationExists(source_, "p")));
}

// What asks for a stronger lock than ours must not stand behind our request for long.
TEST_F(LockRetryTest, OthersDoNotStandBehindTheRequest) {
  std::thread publish([&] { (void)Publish({.retry_for = absl::ZeroDuration()}); });
  Connection ddl = Connect(conninfo());
  const auto is_waiting = [&] {
    return Must(ddl.Execute("SELECT count(*) FROM pg_locks WHERE NOT granted")).GetInt(0, 0) == 1;
  };
  while (!is_waiting()) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_TRUE(
      ddl.Execute("SET lock_timeout = '60s'; BEGIN; LOCK TABLE public.free IN SHARE MODE; COMMIT").ok());
  publish.join();
}

TEST_F(LockRetryTest, AStopEndsThePause) {
  StopSignal stop;
  ConnectOptions options;
  options.conninfo = conninfo();
  options.stop = &stop;
  Connection source = Must(Connection::Open(options));
  const LockRetry retry{.waiting = [&](const std::string&) { stop.Request(); }};
  EXPECT_TRUE(absl::IsCancelled(CreatePublication(source, "p", {{"public", "t"}}, false, retry)));
}

}  // namespace
}  // namespace walferry
