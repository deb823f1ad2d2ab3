// A pair of databases and the walferry program between them: SQL on the source, a run of the program, SQL on
// the target.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/server_pair.h"
#include "tests/support/walferry_process.h"

namespace walferry {

class MigrationTest : public ::testing::Test {
 protected:
  // source_options: as of DatabasePair.
  explicit MigrationTest(const std::string& source_options = {}) : pair_(source_options) {}

  // COMMAND with both sides and a name of this test's own.
  std::vector<std::string> Arguments(const std::string& command,
                                     const std::vector<std::string>& extra = {}) const;
  WalferryRun Walferry(const std::string& command, const std::vector<std::string>& extra = {}) const {
    return RunWalferry(Arguments(command, extra));
  }
  // Goes on in the background until it ends, is ended, or the next one begins.
  WalferryProcess& Begin(const std::string& command, const std::vector<std::string>& extra = {});

  // Runs that have to succeed, until the target has caught up.
  void Migrate(std::vector<std::string> extra = {}) const;
  void Stream(std::vector<std::string> extra = {}) const;
  // The same for a run that has to fail; what it said.
  std::string RefusalOf(const std::string& command, std::vector<std::string> extra = {}) const;

  // Publication p of the user's own, and a slot: what happens from now on is what Stream() brings.
  void Publish(const std::string& what = "FOR ALL TABLES");
  // Arguments of `stream` for them.
  std::vector<std::string> SlotArguments() const { return {"--slot", slot(), "--publication", "p"}; }
  std::string slot() const { return pair_.name() + "_slot"; }
  // Of the migration, and of the slot and publication that `migrate` makes.
  const std::string& name() const { return pair_.name(); }

  nlohmann::json Status() const;
  // The entry of schema.table in status.
  nlohmann::json TableStatus(const std::string& table) const;

  void RunOnSource(const std::string& sql) { pair_.RunOnSource(sql); }
  void RunOnTarget(const std::string& sql) { pair_.RunOnTarget(sql); }
  void RunOnBoth(const std::string& sql) { pair_.RunOnBoth(sql); }
  std::string Source(const std::string& query) { return QueryText(pair_.source(), query); }
  std::string Target(const std::string& query) { return QueryText(pair_.target(), query); }
  // The query gives the same on both sides.
  void ExpectSame(const std::string& query) { EXPECT_EQ(Source(query), Target(query)) << query; }
  // Waits until the query gives `expected` on the target. A failure names what it gave instead, and what the
  // program in the background said.
  bool TargetComesTo(const std::string& query, const std::string& expected);

  // mode: of pg_ctl stop.
  void RestartSource(const std::string& mode);

  DatabasePair pair_;

 private:
  std::optional<WalferryProcess> background_;
};

}  // namespace walferry
