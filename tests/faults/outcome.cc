#include "tests/faults/outcome.h"

#include <nlohmann/json.hpp>

#include "gtest/gtest.h"

namespace walferry {

Environment EnvironmentOf(DatabasePair& pair) {
  return {{"WALFERRY_SOURCE", pair.source_conninfo()}, {"WALFERRY_TARGET", pair.target_conninfo()}};
}

void FollowTheAdvice(DatabasePair& pair) {
  const Environment environment = EnvironmentOf(pair);
  for (int round = 0; round < 5; ++round) {
    const WalferryRun migrate =
        RunWalferry({"migrate", "--until", "caught-up"}, environment, absl::Minutes(3));
    ASSERT_EQ(migrate.exit_code, 0) << migrate.err;
    const WalferryRun run = RunWalferry({"--json", "status"}, environment);
    ASSERT_EQ(run.exit_code, 0) << run.err;
    const nlohmann::json differences = nlohmann::json::parse(run.out).at("catalog_differences");
    if (differences.empty()) return;
    for (const nlohmann::json& difference : differences) {
      const std::string command = difference.at("command");
      ASSERT_NE(command.find(" -- on the target"), std::string::npos) << difference;
      pair.RunOnTarget(command);
    }
  }
  FAIL() << "the advice leads nowhere";
}

void ExpectCaughtUpAndEqual(DatabasePair& pair) {
  const Environment environment = EnvironmentOf(pair);
  const WalferryRun migrate = RunWalferry({"migrate", "--until", "caught-up"}, environment, absl::Minutes(3));
  ASSERT_EQ(migrate.exit_code, 0) << migrate.err;
  SCOPED_TRACE(migrate.err);
  ExpectEqualContent(pair);

  const WalferryRun verify = RunWalferry({"--json", "verify"}, environment);
  ASSERT_EQ(verify.exit_code, 0) << verify.err << verify.out;
  EXPECT_TRUE(nlohmann::json::parse(verify.out).at("ok").get<bool>()) << verify.out;

  const WalferryRun run = RunWalferry({"--json", "status"}, environment);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const nlohmann::json status = nlohmann::json::parse(run.out);
  EXPECT_EQ(status.at("source").at("error"), "");
  EXPECT_EQ(status.at("slot").at("wal_status"), "reserved");
  for (const nlohmann::json& table : status.at("tables")) {
    EXPECT_EQ(table.at("missing_rows"), 0) << table;
    EXPECT_EQ(table.at("conflicts"), 0) << table;
  }
}

}  // namespace walferry
