#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include "tools/metrics_http.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

RuntimeSnapshot SomeSnapshot() {
  RuntimeSnapshot snapshot;
  snapshot.lag_bytes = 4711;
  snapshot.changes = 9'007'199'254;
  return snapshot;
}

TEST(Metrics, ServesThePublishedSnapshot) {
  const auto server = MetricsServer::Start("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  httplib::Client client("127.0.0.1", (*server)->port());
  EXPECT_EQ(client.Get("/healthz")->status, 503);
  (*server)->Publish(SomeSnapshot());
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  const auto metrics = client.Get("/metrics");
  EXPECT_THAT(metrics->body,
              AllOf(HasSubstr("\nwalferry_lag_bytes 4711\n"), HasSubstr("# TYPE walferry_lag_bytes gauge"),
                    HasSubstr("\nwalferry_changes_total 9007199254\n")));
  EXPECT_THAT(metrics->get_header_value("Content-Type"), HasSubstr("version=0.0.4"));
  EXPECT_EQ(client.Get("/other")->status, 404);
}

TEST(Metrics, EtaIsAbsentWhereItIsNever) {
  RuntimeSnapshot snapshot = SomeSnapshot();
  EXPECT_THAT(PrometheusText(snapshot), Not(HasSubstr("walferry_caught_up_in_seconds")));
  snapshot.eta_seconds = 12;
  EXPECT_THAT(PrometheusText(snapshot), HasSubstr("\nwalferry_caught_up_in_seconds 12\n"));
}

TEST(Metrics, PortInUseIsAnError) {
  const auto server = MetricsServer::Start(":0");
  ASSERT_TRUE(server.ok()) << server.status();
  const auto second = MetricsServer::Start("127.0.0.1:" + std::to_string((*server)->port()));
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Metrics, AddressMustBeHostAndPort) {
  for (const char* listen :
       {"", "9187", "localhost", "localhost:", "localhost:port", "localhost:70000", "localhost:-1"}) {
    EXPECT_EQ(MetricsServer::Start(listen).status().code(), absl::StatusCode::kInvalidArgument) << listen;
  }
}

}  // namespace
}  // namespace walferry
