// What a session refuses to continue with, and how it comes back after the source was away.
#include "gmock/gmock.h"
#include "tests/stream/session_fixture.h"

namespace walferry {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class SessionRefusal : public SessionTest {
 protected:
  // The error that ends a session with these options.
  absl::Status Refusal(SessionOptions options) {
    RunningSession session(std::move(options), budget(), sink());
    return session.Result();
  }
  static std::string Text(const absl::Status& status) { return std::string(MessageOf(status)); }
};

TEST_F(SessionRefusal, MissingSlotIsNotMadeAgain) {
  SessionOptions options = source().Options();
  options.slot = "nowhere";
  const absl::Status status = Refusal(options);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(Text(status), AllOf(HasSubstr("nowhere"), HasSubstr("never re-created")));
  EXPECT_EQ(source().Ask("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'nowhere'"), "0");
}

TEST_F(SessionRefusal, SlotThatSomebodyElseAdvancedWouldLoseChanges) {
  SessionOptions options = source().Options();
  const Lsn confirmed = source().Slot().confirmed_flush_lsn;
  options.sole_reader = true;
  sink().SetConfirmed(confirmed);
  source().Execute("INSERT INTO public.t VALUES (1, 'n')");
  source().Execute("SELECT pg_replication_slot_advance('" + source().slot() + "', pg_current_wal_lsn())");
  const absl::Status status = Refusal(options);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(Text(status), AllOf(HasSubstr(confirmed.ToString()), HasSubstr("somebody else")));
}

TEST_F(SessionRefusal, ASynchronousStandbyIsNotWhatItBecomes) {
  Connection admin = Connect(SharedServer().Conninfo("postgres"));
  const auto set_names = [&](const std::string& names) {
    Must(admin.Execute("ALTER SYSTEM SET synchronous_standby_names = " + QuoteLiteral(names)));
    Must(admin.Execute("SELECT pg_reload_conf()"));
    return Eventually(
        [&] { return Must(admin.Execute("SHOW synchronous_standby_names")).Get(0, 0) == names; });
  };
  ASSERT_TRUE(set_names("FIRST 1 (somebody, \"WALFERRY\")"));
  const absl::Status status = Refusal(source().Options());
  ASSERT_TRUE(set_names(""));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_FALSE(IsRetryable(status));
  EXPECT_THAT(Text(status),
              AllOf(HasSubstr("synchronous_standby_names"), HasSubstr("would wait for the target")));
}

TEST_F(SessionRefusal, SlotInUseIsWaitedFor) {
  RecordingSink other_sink;
  SessionOptions options = source().Options();
  options.retry_for = absl::Seconds(1);
  {
    RunningSession other(source().Options(), budget(), other_sink);
    ASSERT_TRUE(other.AwaitConnected());
    RunningSession session(options, budget(), sink());
    const absl::Status status = session.Result();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_GT(session.Count(SessionEvent::Kind::kSlotActive), 0);
  }
  RunningSession other(source().Options(), budget(), other_sink);
  ASSERT_TRUE(other.AwaitConnected());
  RunningSession session(source().Options(), budget(), sink());
  ASSERT_TRUE(Eventually([&] { return session.Count(SessionEvent::Kind::kSlotActive) > 0; }));
  ASSERT_TRUE(other.Stop().ok());
  EXPECT_TRUE(session.AwaitConnected());
}

TEST_F(SessionRefusal, SlotWithTwoPhase) {
  source().Execute("SELECT pg_create_logical_replication_slot('two_phase', 'pgoutput', false, true)");
  SessionOptions options = source().Options();
  options.slot = "two_phase";
  const absl::Status status = Refusal(options);
  source().Execute("SELECT pg_drop_replication_slot('two_phase')");
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(Text(status), HasSubstr("two_phase"));
}

TEST_F(SessionRefusal, SlotOfAnotherPlugin) {
  source().Execute("SELECT pg_create_logical_replication_slot('other_plugin', 'test_decoding')");
  SessionOptions options = source().Options();
  options.slot = "other_plugin";
  const absl::Status status = Refusal(options);
  source().Execute("SELECT pg_drop_replication_slot('other_plugin')");
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(Text(status), HasSubstr("pgoutput"));
}

TEST_F(SessionRefusal, AnotherClusterOrTimeline) {
  SessionOptions options = source().Options();
  options.expected_system_id = "1";
  EXPECT_THAT(Text(Refusal(options)), HasSubstr("another database cluster"));
  options = source().Options();
  options.expected_timeline = 42;
  EXPECT_THAT(Text(Refusal(options)), HasSubstr("timeline 42"));
}

TEST_F(SessionRefusal, TargetThatIsAheadOfTheSource) {
  sink().SetPosition(Lsn{source().WalEnd().value + (std::uint64_t{1} << 40)});
  const absl::Status status = Refusal(source().Options());
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(Text(status), HasSubstr("lost changes"));
}

TEST_F(SessionRefusal, MissingPublicationIsTheServersOwnError) {
  SessionOptions options = source().Options();
  options.publications = {"nowhere"};
  source().Execute("INSERT INTO public.t VALUES (1, 'n')");
  const absl::Status status = Refusal(options);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(Text(status), HasSubstr("nowhere"));
}

TEST_F(SessionRefusal, SourceThatIsAwayForTooLongGivesUp) {
  SessionOptions options = source().Options();
  options.source = "host=127.0.0.1 port=1 dbname=nowhere";
  options.retry_for = absl::Milliseconds(300);
  const absl::Status status = Refusal(options);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

TEST(SessionAndServer, FastShutdownOfTheSourceEndsAndTheStreamGoesOnAfterwards) {
  const std::unique_ptr<ThrowawayServer> server = Must(ThrowawayServer::Start({.name = "shutdown"}));
  const Source source(server->Conninfo("postgres"), "slot");
  MemoryBudget budget(64 << 20);
  RecordingSink sink;
  RunningSession session(source.Options(), budget, sink);
  ASSERT_TRUE(session.AwaitConnected());
  source.Execute("INSERT INTO public.t VALUES (1, 'n')");
  ASSERT_TRUE(Eventually([&] { return sink.commits().size() == 1; }));

  const absl::Time begin = absl::Now();
  const absl::Status stopped = server->Stop("fast");
  EXPECT_TRUE(stopped.ok()) << stopped;
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
  const absl::Status started = server->StartAgain();
  ASSERT_TRUE(started.ok()) << started;
  ASSERT_TRUE(session.AwaitConnected(2));
  source.Execute("INSERT INTO public.t VALUES (2, 'n')");
  EXPECT_TRUE(Eventually([&] { return sink.changes() == Inserts(1, 2, "n"); }));
  EXPECT_TRUE(session.Stop().ok());
}

TEST(SessionAndServer, CrashOfTheSourceLosesNothing) {
  const std::unique_ptr<ThrowawayServer> server = Must(ThrowawayServer::Start({.name = "crash"}));
  const Source source(server->Conninfo("postgres"), "slot");
  MemoryBudget budget(64 << 20);
  RecordingSink sink;
  RunningSession session(source.Options(), budget, sink);
  ASSERT_TRUE(session.AwaitConnected());
  source.Execute("INSERT INTO public.t VALUES (1, 'n')");
  ASSERT_TRUE(Eventually([&] { return sink.commits().size() == 1; }));
  ASSERT_TRUE(server->Stop("immediate").ok());
  ASSERT_TRUE(server->StartAgain().ok());
  ASSERT_TRUE(session.AwaitConnected(2));
  source.Execute("INSERT INTO public.t VALUES (2, 'n')");
  EXPECT_TRUE(Eventually([&] { return sink.changes() == Inserts(1, 2, "n"); }));
  EXPECT_THAT(sink.complaints(), testing::IsEmpty());
  EXPECT_TRUE(session.Stop().ok());
}

// TLS records end where messages do not, and what is decrypted already makes no socket readable.
TEST(SessionAndServer, RowsOfAllSizesArriveOverTls) {
  const std::unique_ptr<ThrowawayServer> server = Must(ThrowawayServer::Start({.name = "tls", .tls = true}));
  const Source source(
      server->Conninfo("postgres") + " sslmode=verify-full host=localhost sslrootcert=" + server->ca_file(),
      "slot");
  MemoryBudget budget(64 << 20);
  RecordingSink sink;
  RunningSession session(source.Options(), budget, sink);
  ASSERT_TRUE(session.AwaitConnected());
  int bytes = 1;
  for (int i = 1; i <= 24; ++i, bytes *= 2) {
    source.Execute("INSERT INTO public.t VALUES (" + std::to_string(i) + ", repeat('n', " +
                   std::to_string(bytes) + "))");
    ASSERT_TRUE(Eventually([&] { return sink.commits().size() == static_cast<std::size_t>(i); }));
    ASSERT_EQ(sink.changes().back(), Inserts(i, i, std::string(static_cast<std::size_t>(bytes), 'n'))[0]);
  }
  // The block of the last row, of 8 MB, is not held on to.
  EXPECT_TRUE(Eventually([&] { return budget.used_bytes() < std::size_t{1} << 20; }));
  EXPECT_TRUE(session.Stop().ok());
}

TEST(SessionAndServer, LostSlotIsSaidWithItsConsequence) {
  const std::unique_ptr<ThrowawayServer> server =
      Must(ThrowawayServer::Start({.name = "lost", .settings = {{"max_slot_wal_keep_size", "1MB"}}}));
  const Source source(server->Conninfo("postgres"), "slot");
  for (int i = 0; i < 4; ++i) source.Execute("SELECT pg_switch_wal(), txid_current()");
  source.Execute("CHECKPOINT");
  ASSERT_EQ(source.Slot().wal_status, "lost");
  MemoryBudget budget(64 << 20);
  RecordingSink sink;
  RunningSession session(source.Options(), budget, sink);
  const absl::Status status = session.Result();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("copied again"));
}

}  // namespace
}  // namespace walferry
