#include "apply/pipeline.h"

#include "gmock/gmock.h"
#include "tests/support/pgoutput_writer.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

using ::testing::ElementsAre;

class PipelineTest : public ::testing::Test {
 protected:
  PipelineTest() : connection_(MustConnect(pair_.target_conninfo())) {
    RunSql(pair_.target(), "CREATE TABLE t (id int PRIMARY KEY, a bytea)");
  }
  Pipeline Make(std::size_t in_flight_bytes) {
    return Pipeline(connection_, in_flight_bytes, [this](std::int64_t rows) { affected_.push_back(rows); });
  }
  static absl::Status Insert(Pipeline& pipeline, const std::string& id, const std::string& a) {
    const std::vector<ColumnView> row = {{ColumnKind::kText, id}, {ColumnKind::kBinary, a}};
    return pipeline.SendRow("i", row);
  }

  DatabasePair pair_;
  Connection connection_;
  std::vector<std::int64_t> affected_;
};

TEST_F(PipelineTest, MuchMoreThanTheLimitInBothDirections) {
  Pipeline pipeline = Make(32 << 10);
  ASSERT_TRUE(pipeline.Enter().ok());
  ASSERT_TRUE(pipeline.Prepare("i", "INSERT INTO t VALUES ($1, $2)").ok());
  // Also single rows above the limit, and answers that are larger than any buffer.
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(Insert(pipeline, std::to_string(i), std::string(i % 500 == 0 ? 200'000 : 1'000, 'x')).ok());
    if (i % 100 == 0) {
      ASSERT_TRUE(pipeline.Send("SELECT repeat('y', 100000)").ok());
    }
  }
  ASSERT_TRUE(pipeline.Leave().ok());
  EXPECT_EQ(affected_.size(), 3000U);
  EXPECT_EQ(QueryText(pair_.target(), "SELECT count(*), sum(length(a)) FROM t"), "3000|4194000");
}

TEST_F(PipelineTest, TheFirstFailureIsReportedAndTheRestSkipped) {
  Pipeline pipeline = Make(1 << 20);
  ASSERT_TRUE(pipeline.Enter().ok());
  ASSERT_TRUE(pipeline.Prepare("i", "INSERT INTO t VALUES ($1, $2)").ok());
  ASSERT_TRUE(Insert(pipeline, "1", "a").ok());
  ASSERT_TRUE(Insert(pipeline, "1", "b").ok());
  ASSERT_TRUE(Insert(pipeline, "2", "c").ok());
  ASSERT_TRUE(pipeline.Send("not sql").ok());
  const absl::Status failure = pipeline.Drain();
  EXPECT_EQ(SqlstateOf(failure), "23505");
  EXPECT_TRUE(pipeline.row_failed());
  EXPECT_THAT(affected_, ElementsAre(1));
  // Usable again.
  EXPECT_TRUE(Insert(pipeline, "3", "d").ok());
  EXPECT_TRUE(pipeline.Leave().ok());
  EXPECT_TRUE(connection_.Execute("SELECT 1").ok());
}

TEST_F(PipelineTest, StatementsAreRefusedOnceAFailureIsKnown) {
  Pipeline pipeline = Make(1000);
  ASSERT_TRUE(pipeline.Enter().ok());
  ASSERT_TRUE(pipeline.Prepare("i", "INSERT INTO t VALUES ($1, $2)").ok());
  absl::Status status;
  int sent = 0;
  for (; sent < 1000 && status.ok(); ++sent) status = Insert(pipeline, "1", std::string(200, 'a'));
  EXPECT_EQ(SqlstateOf(status), "23505");
  EXPECT_LT(sent, 20);
  EXPECT_EQ(SqlstateOf(pipeline.Leave()), "23505");
}

TEST_F(PipelineTest, EmptyAndNullAndTextValues) {
  Pipeline pipeline = Make(1 << 20);
  ASSERT_TRUE(pipeline.Enter().ok());
  ASSERT_TRUE(pipeline.Prepare("s", "INSERT INTO t VALUES ($1, $2)").ok());
  const std::vector<std::vector<ColumnView>> rows = {
      {{ColumnKind::kText, "1"}, {ColumnKind::kNull, ""}},
      {{ColumnKind::kText, "2"}, {ColumnKind::kText, ""}},
      {{ColumnKind::kText, "3"}, {ColumnKind::kBinary, ""}},
      {{ColumnKind::kBinary, std::string_view("\0\0\0\4", 4)}, {ColumnKind::kText, "\\x00ff"}}};
  for (const std::vector<ColumnView>& row : rows) ASSERT_TRUE(pipeline.SendRow("s", row).ok());
  ASSERT_TRUE(pipeline.Leave().ok());
  EXPECT_EQ(QueryText(pair_.target(), "SELECT id, encode(a, 'hex') FROM t ORDER BY id"),
            "1|NULL\n2|\n3|\n4|00ff");
}

TEST_F(PipelineTest, ALostConnectionIsUnavailable) {
  Pipeline pipeline = Make(1 << 20);
  ASSERT_TRUE(pipeline.Enter().ok());
  ASSERT_TRUE(pipeline.Send("SELECT 1").ok());
  ASSERT_TRUE(pipeline.Drain().ok());
  RunSql(pair_.target(),
         absl::StrFormat("SELECT pg_terminate_backend(%d, 10000)", connection_.backend_pid()));
  absl::Status status = pipeline.Send("SELECT 1");
  if (status.ok()) status = pipeline.Leave();
  EXPECT_TRUE(IsRetryable(status)) << status;
  EXPECT_FALSE(connection_.alive());
}

TEST_F(PipelineTest, AStopEndsTheWait) {
  StopSignal stop;
  ConnectOptions options;
  options.conninfo = pair_.target_conninfo();
  options.stop = &stop;
  Connection connection = Connection::Open(options).value();
  Pipeline pipeline(connection, 1 << 20, [](std::int64_t) {});
  ASSERT_TRUE(pipeline.Enter().ok());
  ASSERT_TRUE(pipeline.Send("SELECT pg_sleep(600)").ok());
  stop.Request();
  EXPECT_TRUE(absl::IsCancelled(pipeline.Drain()));
}

}  // namespace
}  // namespace walferry
