// Messages that applications write into the source's WAL.
#include <sstream>

#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using nlohmann::json;

class Message : public MigrationTest {
 protected:
  std::vector<json> DumpedMessages() const {
    const WalferryRun run = RunWalferry({"dump", "--source", pair_.source_conninfo(), "--slot", slot(),
                                         "--publication", "p", "--format", "json"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    std::vector<json> messages;
    std::istringstream lines(run.out);
    for (std::string line; std::getline(lines, line);) {
      json object = json::parse(line);
      if (object.at("kind") == "message") messages.push_back(std::move(object));
    }
    return messages;
  }
};

TEST_F(Message, OutlivesItsTransactionOnlyWhereItIsNotPartOfIt) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY)");
  Publish();
  RunOnSource(
      "BEGIN; SELECT pg_logical_emit_message(true, 'undone', 'inside'), pg_logical_emit_message(false, "
      "'undone', 'outside');"
      "INSERT INTO t VALUES (1); ROLLBACK");
  RunOnSource(
      "BEGIN; INSERT INTO t VALUES (2); SELECT pg_logical_emit_message(true, 'done', 'inside'); COMMIT");
  const std::vector<json> messages = DumpedMessages();
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(messages[0].at("prefix"), "undone");
  EXPECT_EQ(messages[0].at("content"), "outside");
  EXPECT_FALSE(messages[0].contains("xid"));
  EXPECT_EQ(messages[1].at("prefix"), "done");
  EXPECT_TRUE(messages[1].at("transactional").get<bool>());
}

TEST_F(Message, DoesNotDisturbAStream) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY)");
  Publish();
  RunOnSource("SELECT pg_logical_emit_message(true, 'alone', repeat('x', 100000))");
  RunOnSource(
      "BEGIN; INSERT INTO t VALUES (1); SELECT pg_logical_emit_message(true, 'p', 'm'); INSERT INTO t VALUES "
      "(2); "
      "SELECT pg_logical_emit_message(false, 'p', E'\\\\x00ff'::bytea); COMMIT");
  Stream();
  ExpectEqualContent(pair_);
}

}  // namespace
}  // namespace walferry
