// COPY in both directions.
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "tests/stream/stream_fixture.h"

namespace walferry {
namespace {

using testing::HasSubstr;
using testing::Not;

class CopyTest : public DatabaseTest {
 protected:
  CopyTest() {
    Must(source_.Execute("CREATE TABLE public.t (id bigint, bytes bytea, t text)"));
    Must(source_.Execute("CREATE TABLE public.u (LIKE public.t)"));
  }
  void FillTable() {
    Must(source_.Execute(
        "INSERT INTO public.t SELECT i, decode(md5(i::text) || '000a0d5c2e' || md5((-i)::text), 'hex'), "
        "CASE WHEN i % 7 > 0 THEN repeat(chr(9 + i % 200), i % 50) END FROM generate_series(1, 50000) i; "
        "INSERT INTO public.t VALUES (0, NULL, repeat('large', 1000000))"));
  }
  std::string Digest(const std::string& table) {
    return std::string(
        Must(source_.Execute("SELECT md5(string_agg(x::text, ',' ORDER BY id)) FROM " + table + " x"))
            .Get(0, 0));
  }
  std::int64_t Rows(const std::string& table) {
    return Must(source_.Execute("SELECT count(*) FROM " + table)).GetInt(0, 0);
  }

  Connection source_ = Connect(conninfo());
  Connection target_ = Connect(conninfo());
};

TEST_F(CopyTest, BinaryAndTextArriveAsTheyLeft) {
  FillTable();
  for (const std::string format : {"binary", "text"}) {
    Must(target_.Execute("TRUNCATE public.u"));
    ASSERT_TRUE(source_.BeginCopyOut("COPY public.t TO STDOUT (FORMAT " + format + ")").ok());
    ASSERT_TRUE(target_.BeginCopyIn("COPY public.u FROM STDIN (FORMAT " + format + ")").ok());
    while (true) {
      const std::optional<std::string_view> piece = Must(source_.ReadCopyData());
      if (!piece) break;
      const absl::Status written = target_.WriteCopyData(*piece);
      ASSERT_TRUE(written.ok()) << written;
    }
    EXPECT_EQ(Must(target_.EndCopyIn()), 50001);
    EXPECT_EQ(Digest("public.t"), Digest("public.u")) << format;
  }
}

TEST_F(CopyTest, PiecesMayBeCutAnywhere) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i) + "\t\\\\x00ff\tsome text\n";
  ASSERT_TRUE(target_.BeginCopyIn("COPY public.u FROM STDIN").ok());
  std::size_t piece_bytes = 1;
  for (std::size_t at = 0; at < text.size(); at += piece_bytes, piece_bytes = piece_bytes * 5 % 300'007) {
    ASSERT_TRUE(target_.WriteCopyData(std::string_view(text).substr(at, piece_bytes)).ok());
  }
  EXPECT_EQ(Must(target_.EndCopyIn()), 100'000);
  EXPECT_EQ(Must(source_.Execute("SELECT sum(id) FROM public.u")).GetInt(0, 0), 4'999'950'000);
}

TEST_F(CopyTest, AServerThatHasMuchToSayDoesNotStopACopyIn) {
  Must(target_.Execute(
      "CREATE FUNCTION public.shout() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''%'', "
      "repeat(''x'', "
      "5000); RETURN NULL; END'; "
      "CREATE TRIGGER shout BEFORE INSERT ON public.u FOR EACH ROW EXECUTE FUNCTION public.shout()"));
  ASSERT_TRUE(target_.BeginCopyIn("COPY public.u (t) FROM STDIN").ok());
  // Together more than both directions can hold, unless the notices are read while the rows are written.
  const std::string row = std::string(5000, 'y') + "\n";
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(target_.WriteCopyData(row).ok());
  EXPECT_EQ(Must(target_.EndCopyIn()), 0);
}

TEST_F(CopyTest, AnAbortedCopyLeavesNothingAndTheConnectionUsable) {
  ASSERT_TRUE(target_.BeginCopyIn("COPY public.u (id) FROM STDIN").ok());
  ASSERT_TRUE(target_.WriteCopyData("1\n2\n").ok());
  target_.AbortCopyIn("the other side failed");
  EXPECT_EQ(Rows("public.u"), 0);
  EXPECT_EQ(Must(target_.Execute("SELECT 1")).GetInt(0, 0), 1);
  ASSERT_TRUE(target_.BeginCopyIn("COPY public.u (id) FROM STDIN").ok())
      << "and nothing of it is left in a buffer";
  EXPECT_EQ(Must(target_.EndCopyIn()), 0);
}

TEST_F(CopyTest, ARowThatTheServerRefusesIsToldAtTheEnd) {
  ASSERT_TRUE(target_.BeginCopyIn("COPY public.u (id) FROM STDIN").ok());
  ASSERT_TRUE(target_.WriteCopyData("1\nhidden\n").ok());
  const absl::Status status = target_.EndCopyIn().status();
  EXPECT_EQ(SqlstateOf(status), "22P02") << status;
  EXPECT_THAT(status.ToString(), Not(HasSubstr("hidden")));
  EXPECT_EQ(Rows("public.u"), 0);
  EXPECT_EQ(Must(target_.Execute("SELECT 1")).GetInt(0, 0), 1);
}

TEST_F(CopyTest, AnErrorInTheMiddleOfACopyOutIsTold) {
  ASSERT_TRUE(
      source_.BeginCopyOut("COPY (SELECT 1 / (5000 - i) FROM generate_series(1, 9000) i) TO STDOUT").ok());
  absl::StatusOr<std::optional<std::string_view>> piece;
  int rows = 0;
  while ((piece = source_.ReadCopyData()).ok() && *piece) ++rows;
  EXPECT_EQ(SqlstateOf(piece.status()), "22012");
  EXPECT_EQ(rows, 4999);
  EXPECT_EQ(Must(source_.Execute("SELECT 1")).GetInt(0, 0), 1);
}

TEST_F(CopyTest, AStatementThatIsNoCopyIsRefused) {
  EXPECT_FALSE(source_.BeginCopyOut("SELECT 1").ok());
  EXPECT_FALSE(source_.BeginCopyIn("SELECT 1").ok());
  EXPECT_EQ(SqlstateOf(source_.BeginCopyOut("COPY public.nope TO STDOUT")), "42P01");
  EXPECT_EQ(Must(source_.Execute("SELECT 1")).GetInt(0, 0), 1);
}

TEST_F(CopyTest, AStopEndsACopyOutThatTheServerIsSlowToFill) {
  StopSignal stop;
  ConnectOptions options;
  options.conninfo = conninfo();
  options.stop = &stop;
  Connection connection = Must(Connection::Open(options));
  // Enough at first for the server to send something, and then nothing for a long time.
  ASSERT_TRUE(
      connection
          .BeginCopyOut("COPY (SELECT CASE WHEN i > 9 THEN pg_sleep(60)::text ELSE repeat('x', 10000) END "
                        "FROM generate_series(1, 20) i) TO STDOUT")
          .ok());
  const absl::Time begin = absl::Now();
  std::thread stopper([&] { stop.Request(); });
  absl::StatusOr<std::optional<std::string_view>> piece;
  while ((piece = connection.ReadCopyData()).ok() && *piece) {
  }
  stopper.join();
  EXPECT_TRUE(absl::IsCancelled(piece.status())) << piece.status();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
}

TEST_F(CopyTest, AStopEndsACopyInThatTheServerDoesNotTake) {
  StopSignal stop;
  ConnectOptions options;
  options.conninfo = conninfo();
  options.stop = &stop;
  Connection connection = Must(Connection::Open(options));
  Must(connection.Execute(
      "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN "
      "NEW; END'; "
      "CREATE TRIGGER wait BEFORE INSERT ON public.u FOR EACH ROW EXECUTE FUNCTION public.wait()"));
  ASSERT_TRUE(connection.BeginCopyIn("COPY public.u (id) FROM STDIN").ok());
  std::thread stopper([&] {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (Must(target_.Execute("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = "
                                "current_database()"))
                   .rows() == 0 &&
           absl::Now() < deadline) {
    }
    stop.Request();
  });
  // More than all buffers on the way hold: the writer has to wait for the server.
  std::string rows;
  while (rows.size() < (std::size_t{1} << 20)) rows += "1\n";
  absl::Status written;
  for (int i = 0; i < 1000 && written.ok(); ++i) written = connection.WriteCopyData(rows);
  stopper.join();
  EXPECT_TRUE(absl::IsCancelled(written)) << written;
  EXPECT_EQ(Rows("public.u"), 0);
}

TEST_F(CopyTest, ATerminatedBackendIsUnavailableInTheMiddleOfACopy) {
  ASSERT_TRUE(target_.BeginCopyIn("COPY public.u (id) FROM STDIN").ok());
  Must(source_.Execute("SELECT pg_terminate_backend(" + std::to_string(target_.backend_pid()) + ", 20000)"));
  absl::Status status;
  const std::string row(1 << 20, '1');
  for (int i = 0; i < 20 && status.ok(); ++i) status = target_.WriteCopyData(row + "\n");
  if (status.ok()) status = target_.EndCopyIn().status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

}  // namespace
}  // namespace walferry
