// Statements: results, errors, stops and losses, on a real server.
#include "stream/connection.h"

#include <functional>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "tests/stream/stream_fixture.h"

namespace walferry {
namespace {

using testing::HasSubstr;
using testing::Not;

class ConnectionTest : public DatabaseTest {
 protected:
  // The state of a backend as another session sees it: "active", "idle", … or empty when it is gone.
  std::string BackendState(int pid) {
    const Result result =
        Must(observer_.Execute("SELECT state FROM pg_stat_activity WHERE pid = $1", {std::to_string(pid)}));
    return result.rows() == 0 ? "" : std::string(result.Get(0, 0));
  }
  void WaitForState(int pid, const std::string& state) {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (BackendState(pid) != state) {
      ASSERT_LT(absl::Now(), deadline) << "backend is " << BackendState(pid) << ", not " << state;
      std::this_thread::yield();
    }
  }
  Connection ConnectWithStop(const StopSignal& stop) {
    ConnectOptions options;
    options.conninfo = conninfo();
    options.stop = &stop;
    return Must(Connection::Open(options));
  }

  Connection observer_ = Connect(conninfo());
};

TEST_F(ConnectionTest, SeveralStatementsGiveTheLastResult) {
  Connection connection = Connect(conninfo());
  const Result result = Must(connection.Execute("SELECT 1; SELECT 2 AS a, NULL AS b, 't'::bool; "));
  ASSERT_EQ(result.rows(), 1);
  ASSERT_EQ(result.columns(), 3);
  EXPECT_EQ(result.GetInt(0, 0), 2);
  EXPECT_TRUE(result.IsNull(0, 1));
  EXPECT_EQ(result.GetOptional(0, 1), std::nullopt);
  EXPECT_EQ(result.Get(0, 1), "");
  EXPECT_TRUE(result.GetBool(0, 2));
  EXPECT_EQ(Must(connection.Execute("")).rows(), 0);
}

TEST_F(ConnectionTest, SeveralStatementsGiveTheFirstError) {
  Connection connection = Connect(conninfo());
  const auto result = connection.Execute("SELECT 1; SELECT 1 / 0; SELECT nope");
  EXPECT_EQ(SqlstateOf(result.status()), "22012");
  EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Must(connection.Execute("SELECT 3")).GetInt(0, 0), 3) << "the connection can still be used";
}

TEST_F(ConnectionTest, EachOfSeveralStatementsGivesItsResultOrItsError) {
  Connection connection = Connect(conninfo());
  for (int i = 0; i < 2; ++i) {
    const auto results =
        Must(connection.ExecuteEach(std::vector<Connection::Statement>{{"SELECT $1 || 'b'", {"a"}},
                                                                       {"SELECT 1 / 0", {}},
                                                                       {"SET work_mem = '1MB'", {}},
                                                                       {"SHOW work_mem", {}}}));
    ASSERT_EQ(results.size(), 4U);
    EXPECT_EQ(results[0]->Get(0, 0), "ab");
    EXPECT_EQ(SqlstateOf(results[1].status()), "22012");
    EXPECT_TRUE(results[2].ok());
    EXPECT_EQ(results[3]->Get(0, 0), "1MB");
    EXPECT_EQ(Must(connection.Execute("SELECT 3")).GetInt(0, 0), 3) << "the connection can still be used";
  }
  EXPECT_TRUE(Must(connection.ExecuteEach({})).empty());
}

TEST_F(ConnectionTest, ABackendThatIsTerminatedAmongSeveralStatementsIsUnavailable) {
  Connection connection = Connect(conninfo());
  const auto results = connection.ExecuteEach(std::vector<Connection::Statement>{
      {"SELECT 1", {}}, {"SELECT pg_terminate_backend(pg_backend_pid())", {}}, {"SELECT 2", {}}});
  EXPECT_EQ(results.status().code(), absl::StatusCode::kUnavailable) << results.status();
  EXPECT_FALSE(connection.alive());
}

TEST_F(ConnectionTest, AStopAmongSeveralStatementsEndsTheConnection) {
  StopSignal stop;
  Connection connection = ConnectWithStop(stop);
  std::thread stopper([&] {
    WaitForState(connection.backend_pid(), "active");
    stop.Request();
  });
  const auto results = connection.ExecuteEach(std::vector<Connection::Statement>{{"SELECT pg_sleep(1)", {}}});
  stopper.join();
  EXPECT_EQ(results.status().code(), absl::StatusCode::kCancelled) << results.status();
  WaitForState(connection.backend_pid(), "");
}

TEST_F(ConnectionTest, ParametersKeepNullAndEmptyApart) {
  Connection connection = Connect(conninfo());
  const Result result = Must(connection.Execute("SELECT $1::text IS NULL, $2::text = '', $3::text",
                                                {std::nullopt, "", "it's \\ 'x'"}));
  EXPECT_TRUE(result.GetBool(0, 0));
  EXPECT_TRUE(result.GetBool(0, 1));
  EXPECT_EQ(result.Get(0, 2), "it's \\ 'x'");
}

TEST_F(ConnectionTest, QuotedNamesAndValuesArriveAsTheyAre) {
  Connection connection = Connect(conninfo());
  const std::string odd = "a\"b'c\\d e\xc3\xa4";
  const Result result = Must(connection.Execute("SET standard_conforming_strings = off; SELECT " +
                                                QuoteLiteral(odd) + " AS " + QuoteIdentifier(odd)));
  EXPECT_EQ(result.Get(0, 0), odd);
}

TEST_F(ConnectionTest, RowsAreCountedByTheCommandTag) {
  Connection connection = Connect(conninfo());
  Must(connection.Execute("CREATE TABLE public.t (i int)"));
  EXPECT_EQ(Must(connection.Execute("INSERT INTO public.t SELECT generate_series(1, 7)")).affected(), 7);
  EXPECT_EQ(Must(connection.Execute("DELETE FROM public.t WHERE i > 4")).affected(), 3);
}

TEST_F(ConnectionTest, ErrorsDoNotShowValuesOfCells) {
  Connection connection = Connect(conninfo());
  Must(connection.Execute("CREATE TABLE public.t (i int PRIMARY KEY, v text CHECK (v <> 'hidden'))"));
  Must(connection.Execute("INSERT INTO public.t VALUES (4711, 'x')"));
  for (const char* sql :
       {"INSERT INTO public.t VALUES (4711, 'y')", "INSERT INTO public.t VALUES (1, 'hidden')",
        "SELECT 'hidden'::int", "SELECT '99999999994711'::int", "SELECT 'hidden'::date"}) {
    const absl::Status status = connection.Execute(sql).status();
    EXPECT_FALSE(status.ok()) << sql;
    EXPECT_THAT(status.ToString(), Not(HasSubstr("hidden")));
    EXPECT_THAT(status.ToString(), Not(HasSubstr("4711")));
  }
}

TEST_F(ConnectionTest, AStopEndsTheRunningStatementOnTheServer) {
  // Takes its time to end, so that a call that does not wait for the end is found out.
  Must(observer_.Execute(
      "CREATE FUNCTION public.reluctant() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); "
      "EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(0.3); RAISE; END'"));
  StopSignal stop;
  Connection connection = ConnectWithStop(stop);
  const int pid = connection.backend_pid();
  std::thread stopper([&] {
    WaitForState(pid, "active");
    stop.Request();
  });
  const absl::Time begin = absl::Now();
  const absl::Status status = connection.Execute("SELECT public.reluctant()").status();
  stopper.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
  EXPECT_EQ(BackendState(pid), "idle") << "the statement had ended before the call returned";
  EXPECT_TRUE(absl::IsCancelled(connection.Execute("SELECT 1").status())) << "a stop stays";
}

TEST_F(ConnectionTest, AStopInsideATransactionLeavesNoLockOnceTheConnectionIsDropped) {
  StopSignal stop;
  Must(observer_.Execute("CREATE TABLE public.t (i int)"));
  {
    Connection connection = ConnectWithStop(stop);
    const int pid = connection.backend_pid();
    Must(connection.Execute("BEGIN; LOCK public.t"));
    std::thread stopper([&] {
      WaitForState(pid, "active");
      stop.Request();
    });
    EXPECT_TRUE(absl::IsCancelled(connection.Execute("SELECT pg_sleep(60)").status()));
    stopper.join();
  }
  Must(observer_.Execute("SET lock_timeout = '20s'; LOCK TABLE public.t NOWAIT"));
}

TEST_F(ConnectionTest, ATerminatedBackendIsUnavailable) {
  Connection connection = Connect(conninfo());
  const int pid = connection.backend_pid();
  std::thread killer([&] {
    WaitForState(pid, "active");
    Must(observer_.Execute("SELECT pg_terminate_backend(" + std::to_string(pid) + ")"));
  });
  const absl::Status status = connection.Execute("SELECT pg_sleep(60)").status();
  killer.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_EQ(SqlstateOf(status), "57P01");
  EXPECT_TRUE(IsRetryable(status));
  EXPECT_FALSE(connection.alive());
  EXPECT_TRUE(absl::IsUnavailable(connection.Execute("SELECT 1").status()));
}

TEST_F(ConnectionTest, ABackendThatEndedWhileIdleIsUnavailable) {
  Connection connection = Connect(conninfo());
  const int pid = connection.backend_pid();
  Must(observer_.Execute("SELECT pg_terminate_backend(" + std::to_string(pid) + ", 20000)"));
  const absl::Status status = connection.Execute("SELECT 1").status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_TRUE(IsRetryable(status)) << status;
}

TEST_F(ConnectionTest, StatementsAndValuesMayBeLargerThanAllBuffersOnTheWay) {
  Connection connection = Connect(conninfo());
  const std::string value(20'000'000, 'x');
  EXPECT_EQ(Must(connection.Execute("SELECT " + QuoteLiteral(value) + " || 'y'")).Get(0, 0), value + "y");
  EXPECT_EQ(Must(connection.Execute("SELECT $1 || 'z'", {value})).Get(0, 0), value + "z");
}

TEST_F(ConnectionTest, WaitEndsAtItsDeadline) {
  Connection connection = Connect(conninfo());
  EXPECT_TRUE(absl::IsDeadlineExceeded(connection.Wait(false, absl::Now() + absl::Milliseconds(20))));
  EXPECT_TRUE(connection.Wait(true, absl::Now() + absl::Seconds(20)).ok());
}

TEST_F(ConnectionTest, AReplicationConnectionTakesSqlInTheSimpleProtocolOnly) {
  Connection connection = Connect(conninfo(), /*replication=*/true);
  EXPECT_EQ(Must(connection.Execute("SELECT 1 + 1")).GetInt(0, 0), 2);
  EXPECT_EQ(Must(connection.Execute("SHOW datestyle")).Get(0, 0), "ISO, MDY");
  EXPECT_EQ(Must(connection.Execute("IDENTIFY_SYSTEM")).rows(), 1);
  EXPECT_FALSE(connection.Execute("SELECT $1::int", {"1"}).ok());
}

TEST_F(ConnectionTest, AMovedConnectionGoesOn) {
  Connection first = Connect(conninfo());
  Connection second = std::move(first);
  EXPECT_EQ(Must(second.Execute("SELECT 1")).GetInt(0, 0), 1);
}

}  // namespace
}  // namespace walferry
