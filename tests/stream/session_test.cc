#include "stream/session.h"

#include <random>

#include "gmock/gmock.h"
#include "tests/stream/session_fixture.h"

namespace walferry {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Makes the source stream transactions while they are in progress, as soon as they have a few hundred rows.
constexpr char kStreamEarly[] = "-c logical_decoding_work_mem=64kB";

TEST_F(SessionTest, BacklogArrivesCompleteAndInOrder) {
  Connection writer = source().Open();
  for (int i = 1; i <= 300; ++i) {
    Must(writer.Execute("INSERT INTO public.t VALUES (" + std::to_string(i) + ", 'n')"));
  }
  Must(
      writer.Execute("UPDATE public.t SET note = 'm' WHERE id = 7; DELETE FROM public.t WHERE id = 8; "
                     "UPDATE public.t SET id = 1000 WHERE id = 9; TRUNCATE public.t"));
  const absl::Status status = CatchUp(source().Options());
  ASSERT_TRUE(status.ok()) << status;
  std::vector<std::string> expected = Inserts(1, 300, "n");
  expected.insert(expected.end(), {"update public.t (7,m)", "delete public.t (8,null)",
                                   "update public.t (9,null)->(1000,n)", "truncate public.t"});
  EXPECT_EQ(sink().changes(), expected);
  EXPECT_THAT(sink().complaints(), IsEmpty());
  EXPECT_EQ(sink().commits().size(), 301);
}

TEST_F(SessionTest, LoneTransactionArrivesWithoutWaitingForAnythingElse) {
  SessionOptions options = source().Options();
  options.status_interval = absl::Hours(1);
  RunningSession session(options, budget(), sink());
  ASSERT_TRUE(session.AwaitConnected());
  Connection writer = source().Open();
  for (int i = 1; i <= 20; ++i) {
    Must(writer.Execute("INSERT INTO public.t VALUES (" + std::to_string(i) + ", 'n')"));
    ASSERT_TRUE(
        Eventually([&] { return sink().commits().size() == static_cast<std::size_t>(i); }, absl::Seconds(5)));
  }
  // Many small transactions share one block.
  EXPECT_LT(budget().used_bytes(), std::size_t{600} << 10);
  EXPECT_TRUE(session.Stop().ok());
}

TEST_F(SessionTest, InterleavedTransactionsWithRolledBackSavepointsArriveWholeInCommitOrder) {
  const auto rows = [](int first, int last, const std::string& note) {
    return "INSERT INTO public.t SELECT i, '" + note + "' FROM generate_series(" + std::to_string(first) +
           ", " + std::to_string(last) + ") i; ";
  };
  Connection a = source().Open();
  Connection b = source().Open();
  Connection c = source().Open();
  Must(a.Execute("BEGIN; " + rows(1, 3000, "a")));
  Must(b.Execute("BEGIN; " + rows(10001, 13000, "b") + "SAVEPOINT s; " + rows(13001, 16000, "lost")));
  Must(c.Execute("BEGIN; " + rows(30001, 33000, "gone")));
  Must(a.Execute("SAVEPOINT s1; " + rows(3001, 5000, "a") + "SAVEPOINT s2; " + rows(5001, 7000, "lost")));
  Must(a.Execute("ROLLBACK TO s2; " + rows(7001, 8000, "a") + "RELEASE s1; " + rows(8001, 9000, "a")));
  Must(b.Execute("ROLLBACK TO s; " + rows(20001, 23000, "b")));
  Must(c.Execute("ROLLBACK"));
  source().Execute(rows(40001, 40001, "small"));
  Must(b.Execute("COMMIT"));
  Must(a.Execute("COMMIT"));

  const absl::Status status = CatchUp(source().Options(kStreamEarly));
  ASSERT_TRUE(status.ok()) << status;
  std::vector<std::string> expected = Inserts(40001, 40001, "small");
  for (const auto& [first, last, note] : {std::tuple{10001, 13000, "b"}, std::tuple{20001, 23000, "b"},
                                          std::tuple{1, 5000, "a"}, std::tuple{7001, 9000, "a"}}) {
    const std::vector<std::string> more = Inserts(first, last, note);
    expected.insert(expected.end(), more.begin(), more.end());
  }
  EXPECT_EQ(sink().changes(), expected);
  EXPECT_THAT(sink().complaints(), IsEmpty());
}

// The rows after a rolled back ALTER TABLE have the shape from before it, those after a committed one the new
// shape.
TEST_F(SessionTest, ShapesChangedInsideTransactionsInProgressHoldWhereTheyShould) {
  source().Execute(
      "BEGIN; INSERT INTO public.t SELECT i, 'n' FROM generate_series(1, 2000) i; SAVEPOINT s; "
      "ALTER TABLE public.t ADD COLUMN extra int; "
      "INSERT INTO public.t SELECT i, 'lost', 1 FROM generate_series(2001, 4000) i; ROLLBACK TO s; "
      "INSERT INTO public.t SELECT i, 'n' FROM generate_series(2001, 4000) i; COMMIT");
  source().Execute(
      "BEGIN; ALTER TABLE public.t ADD COLUMN extra int; "
      "INSERT INTO public.t SELECT i, 'n', 1 FROM generate_series(4001, 6000) i; COMMIT");
  source().Execute("INSERT INTO public.t VALUES (6001, 'n', 1)");
  const absl::Status status = CatchUp(source().Options(kStreamEarly));
  ASSERT_TRUE(status.ok()) << status;
  std::vector<std::string> expected = Inserts(1, 4000, "n");
  const std::vector<std::string> wider = Inserts(4001, 6001, "n,1");
  expected.insert(expected.end(), wider.begin(), wider.end());
  EXPECT_EQ(sink().changes(), expected);
}

TEST_F(SessionTest, StreamsTransactionsInProgressAndWithoutTheSame) {
  source().Execute("INSERT INTO public.t SELECT i, 'n' FROM generate_series(1, 20000) i");
  const Lsn end = source().WalEnd();
  for (const Streaming streaming : {Streaming::kOff, Streaming::kOn}) {
    RecordingSink sink;
    sink.Confirm(false);
    SessionOptions options = source().Options(kStreamEarly);
    options.wishes.streaming = streaming;
    RunningSession session(options, budget(), sink, end);
    ASSERT_TRUE(Eventually([&] { return sink.progress().applied >= end; }));
    EXPECT_EQ(sink.changes(), Inserts(1, 20000, "n"));
    EXPECT_EQ(session.counters().streamed_transactions, streaming == Streaming::kOn ? 1 : 0);
    sink.Fail(absl::CancelledError("enough"));
    EXPECT_TRUE(absl::IsCancelled(session.Result()));
  }
}

TEST_F(SessionTest, LostConnectionsLoseNothingAndRepeatNothing) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  RunningSession session(source().Options(kStreamEarly), budget(), sink());
  ASSERT_TRUE(session.AwaitConnected());
  Connection writer = source().Open();
  int rows = 0;
  for (int round = 1; round <= 60; ++round) {
    const int last = rows + (random() % 5 == 0 ? 4000 : 3);
    Must(writer.Execute("INSERT INTO public.t SELECT i, 'n' FROM generate_series(" +
                        std::to_string(rows + 1) + ", " + std::to_string(last) + ") i"));
    rows = last;
    if (round % 10 == 0) {
      Must(writer.Execute(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE pid = (SELECT active_pid "
          "FROM pg_replication_slots WHERE slot_name = '" +
          source().slot() + "')"));
    }
  }
  EXPECT_TRUE(Eventually([&] { return sink().changes().size() == static_cast<std::size_t>(rows); }));
  EXPECT_EQ(sink().changes(), Inserts(1, rows, "n"));
  EXPECT_THAT(sink().complaints(), IsEmpty());
  EXPECT_GT(session.counters().reconnects, 0);
  const absl::Status status = session.Stop();
  EXPECT_TRUE(status.ok()) << status;
}

// The position that the sink read back decides, not the slot's.
TEST_F(SessionTest, StartsAtThePositionOfTheSink) {
  source().Execute("INSERT INTO public.t VALUES (1, 'n')");
  const Lsn between = source().WalEnd();
  source().Execute("INSERT INTO public.t VALUES (2, 'n')");
  sink().SetPosition(between);
  ASSERT_TRUE(CatchUp(source().Options()).ok());
  EXPECT_EQ(sink().changes(), Inserts(2, 2, "n"));
}

TEST_F(SessionTest, SinkThatLostSomethingGetsTheStreamAgain) {
  sink().Confirm(false);
  RunningSession session(source().Options(), budget(), sink());
  ASSERT_TRUE(session.AwaitConnected());
  source().Execute("INSERT INTO public.t VALUES (1, 'n')");
  source().Execute("INSERT INTO public.t VALUES (2, 'n')");
  ASSERT_TRUE(Eventually([&] { return sink().commits().size() == 2; }));
  sink().GoBackTo(sink().commits()[0], Inserts(1, 1, "n"));
  ASSERT_TRUE(session.AwaitConnected(2));
  EXPECT_TRUE(Eventually([&] { return sink().changes() == Inserts(1, 2, "n"); }));
  sink().Confirm(true);
  EXPECT_TRUE(session.Stop().ok());
}

// wal_sender_timeout is 2 s; the sink takes nothing and confirms nothing for longer than that.
TEST_F(SessionTest, ReportsGoOnWhileTheBudgetIsExhausted) {
  MemoryBudget small(4 << 20);
  sink().Hold(true);
  RunningSession session(source().Options("-c wal_sender_timeout=2s"), small, sink());
  ASSERT_TRUE(session.AwaitConnected());
  source().Execute("INSERT INTO public.t SELECT i, repeat('n', 100) FROM generate_series(1, 100000) i");
  source().Execute("INSERT INTO public.t VALUES (0, 'last')");
  ASSERT_TRUE(Eventually([&] { return small.exhausted(); }));
  // What exhausted the budget may still be on its way to the sink.
  absl::SleepFor(absl::Seconds(1));
  const std::size_t held = sink().held_segments();
  const absl::Time since = absl::Now();
  EXPECT_TRUE(Eventually([&] { return absl::Now() - since > absl::Seconds(5); }));
  EXPECT_EQ(sink().held_segments(), held);
  EXPECT_LT(small.used_bytes(), std::size_t{6} << 20);
  EXPECT_EQ(sink().commits().size(), 0);
  EXPECT_EQ(session.counters().reconnects, 0);
  EXPECT_LE(Lsn{session.counters().confirmed_lsn}, source().Slot().confirmed_flush_lsn);

  sink().Hold(false);
  EXPECT_TRUE(Eventually([&] { return sink().change_count() == 100001; }));
  EXPECT_EQ(session.counters().reconnects, 0);
  const absl::Status status = session.Stop();
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(SessionTest, NothingIsConfirmedThatTheSinkDidNotConfirm) {
  sink().Confirm(false);
  const Lsn before = source().Slot().confirmed_flush_lsn;
  RunningSession session(source().Options("-c wal_sender_timeout=2s"), budget(), sink());
  ASSERT_TRUE(session.AwaitConnected());
  source().Execute("INSERT INTO public.t VALUES (1, 'n')");
  ASSERT_TRUE(Eventually([&] { return sink().commits().size() == 1; }));
  const absl::Time since = absl::Now();
  EXPECT_TRUE(Eventually([&] { return absl::Now() - since > absl::Seconds(3); }));
  EXPECT_EQ(source().Slot().confirmed_flush_lsn, before);
  EXPECT_EQ(session.counters().reconnects, 0);
  // A stop waits for what is applied already to be confirmed, too.
  std::thread later([this] {
    absl::SleepFor(absl::Milliseconds(200));
    sink().Confirm(true);
  });
  EXPECT_TRUE(session.Stop().ok());
  later.join();
  EXPECT_GE(source().Slot().confirmed_flush_lsn, sink().commits()[0]);
}

TEST_F(SessionTest, KeepalivesAreConfirmedWhenIdleSoThatNoWalIsRetained) {
  RunningSession session(source().Options(), budget(), sink());
  ASSERT_TRUE(session.AwaitConnected());
  source().Execute("CREATE TABLE public.unpublished AS SELECT i FROM generate_series(1, 10000) i");
  const Lsn end = source().WalEnd();
  EXPECT_TRUE(Eventually([&] { return source().Slot().confirmed_flush_lsn >= end; }));
  EXPECT_THAT(sink().changes(), IsEmpty());
  EXPECT_TRUE(session.Stop().ok());
}

TEST_F(SessionTest, StopIsCleanAndFreesTheSlotAtOnce) {
  RunningSession session(source().Options(), budget(), sink());
  ASSERT_TRUE(session.AwaitConnected());
  source().Execute("INSERT INTO public.t VALUES (1, 'n')");
  ASSERT_TRUE(Eventually([&] { return sink().commits().size() == 1; }));
  const absl::Status status = session.Stop();
  ASSERT_TRUE(status.ok()) << status;
  const SlotInfo slot = source().Slot();
  EXPECT_FALSE(slot.active);
  EXPECT_GE(slot.confirmed_flush_lsn, sink().commits()[0]);
  EXPECT_EQ(session.Count(SessionEvent::Kind::kStopped), 1);
  EXPECT_EQ(slot.confirmed_flush_lsn, Lsn{session.counters().confirmed_lsn});
}

TEST_F(SessionTest, StopInTheMiddleOfALargeBacklogIsCleanToo) {
  source().Execute("INSERT INTO public.t SELECT i, repeat('n', 1000) FROM generate_series(1, 50000) i");
  sink().CountOnly();
  RunningSession session(source().Options(), budget(), sink());
  ASSERT_TRUE(Eventually([&] { return sink().change_count() > 100; }));
  const absl::Status status = session.Stop();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(Eventually([&] { return !source().Slot().active; }));
}

TEST_F(SessionTest, ErrorOfTheSinkEndsTheStreamCleanly) {
  RunningSession session(source().Options(), budget(), sink());
  ASSERT_TRUE(session.AwaitConnected());
  sink().Fail(absl::AbortedError("another writer won"));
  EXPECT_EQ(session.Result(), absl::AbortedError("another writer won"));
  EXPECT_FALSE(source().Slot().active);
}

TEST_F(SessionTest, TransactionOf300MegabytesPassesThrough32) {
  const std::string insert =
      "INSERT INTO public.t SELECT i, (SELECT string_agg(md5(i::text || j::text), '') FROM "
      "generate_series(1, 300) j) "
      "FROM generate_series(1, 32000) i";
  source().Execute("ALTER TABLE public.t ALTER COLUMN note SET STORAGE EXTERNAL; " + insert);
  const Lsn end = source().WalEnd();
  for (const Streaming streaming : {Streaming::kOff, Streaming::kOn}) {
    MemoryBudget small(32 << 20);
    RecordingSink sink;
    sink.Confirm(false);
    sink.CountOnly();
    SessionOptions options = source().Options(kStreamEarly);
    options.wishes.streaming = streaming;
    RunningSession session(options, small, sink, end);
    std::size_t most_bytes = 0;
    EXPECT_TRUE(Eventually(
        [&] {
          most_bytes = std::max(most_bytes, small.used_bytes());
          return sink.progress().applied >= end || session.ended();
        },
        absl::Minutes(5)));
    EXPECT_EQ(sink.change_count(), 32000);
    EXPECT_GT(session.counters().bytes, 300'000'000);
    EXPECT_LT(most_bytes, std::size_t{34} << 20);
    EXPECT_THAT(sink.complaints(), IsEmpty());
    sink.Fail(absl::CancelledError("enough"));
    EXPECT_TRUE(absl::IsCancelled(session.Result()));
  }
}

TEST_F(SessionTest, FullSpoolDiskEndsTheSessionWithOneClearSentence) {
  source().Execute("INSERT INTO public.t SELECT i, repeat('n', 100) FROM generate_series(1, 50000) i");
  SessionOptions options = source().Options(kStreamEarly);
  options.spool_dir = "/dev/null/spool";
  MemoryBudget small(2 << 20);
  RunningSession session(options, small, sink(), source().WalEnd());
  const absl::Status status = session.Result();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("--work-dir"));
}

}  // namespace
}  // namespace walferry
