#include "tests/servers/migration_fixture.h"

namespace walferry {

std::vector<std::string> MigrationTest::Arguments(const std::string& command,
                                                  const std::vector<std::string>& extra) const {
  std::vector<std::string> arguments = {
      command,  "--source", pair_.source_conninfo(), "--target", pair_.target_conninfo(),
      "--name", name(),     "--retry-for",           "30s"};
  arguments.insert(arguments.end(), extra.begin(), extra.end());
  return arguments;
}

WalferryProcess& MigrationTest::Begin(const std::string& command, const std::vector<std::string>& extra) {
  return background_.emplace(Arguments(command, extra));
}

void MigrationTest::Migrate(std::vector<std::string> extra) const {
  extra.insert(extra.end(), {"--until", "caught-up"});
  const WalferryRun run = Walferry("migrate", extra);
  EXPECT_EQ(run.exit_code, 0) << run.err;
}

void MigrationTest::Stream(std::vector<std::string> extra) const {
  const std::vector<std::string> slot_arguments = SlotArguments();
  extra.insert(extra.end(), slot_arguments.begin(), slot_arguments.end());
  extra.insert(extra.end(), {"--until", "caught-up"});
  const WalferryRun run = Walferry("stream", extra);
  EXPECT_EQ(run.exit_code, 0) << run.err;
}

std::string MigrationTest::RefusalOf(const std::string& command, std::vector<std::string> extra) const {
  if (command == "stream") {
    const std::vector<std::string> slot_arguments = SlotArguments();
    extra.insert(extra.end(), slot_arguments.begin(), slot_arguments.end());
  }
  extra.insert(extra.end(), {"--until", "caught-up"});
  const WalferryRun run = Walferry(command, extra);
  EXPECT_EQ(run.exit_code, 1) << run.err;
  return run.err;
}

void MigrationTest::Publish(const std::string& what) {
  RunOnSource("CREATE PUBLICATION p " + what);
  RunOnSource("SELECT pg_create_logical_replication_slot('" + slot() + "', 'pgoutput')");
}

nlohmann::json MigrationTest::Status() const {
  const WalferryRun run = Walferry("status", {"--json"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return nlohmann::json::parse(run.out, nullptr, /*allow_exceptions=*/false);
}

nlohmann::json MigrationTest::TableStatus(const std::string& table) const {
  const nlohmann::json status = Status();
  for (const nlohmann::json& entry : status.at("tables")) {
    if (entry.at("name") == table) return entry;
  }
  ADD_FAILURE() << table << " is not in " << status.dump();
  return {};
}

bool MigrationTest::TargetComesTo(const std::string& query, const std::string& expected) {
  std::string last;
  const auto came = [&] { return (last = Target(query)) == expected; };
  // Once the program has ended, what it wrote is there.
  const auto decided = [&] { return came() || (background_ && !background_->running()); };
  const bool reached = (WaitUntil(decided) && last == expected) || came();
  EXPECT_TRUE(reached) << query << " gave " << last << " instead of " << expected
                       << (background_ ? "\nstderr: " + background_->err() : "");
  return reached;
}

void MigrationTest::RestartSource(const std::string& mode) {
  ASSERT_TRUE(SourceServer().Stop(mode).ok());
  // The pair notices that its connection is gone.
  EXPECT_FALSE(pair_.source().Execute("SELECT 1").ok());
  ASSERT_TRUE(SourceServer().StartAgain().ok());
}

}  // namespace walferry
