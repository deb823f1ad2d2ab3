#include "tests/support/server_pair.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace walferry {
namespace {

std::unique_ptr<ThrowawayServer> MustStart(const std::string& name) {
  ThrowawayServerOptions options;
  options.name = name;
  options.settings = {{"max_prepared_transactions", "20"}};
  absl::StatusOr<std::unique_ptr<ThrowawayServer>> server = ThrowawayServer::Start(options);
  if (!server.ok()) {
    std::cerr << "no test server: " << server.status() << std::endl;
    std::exit(1);
  }
  return *std::move(server);
}

void DropDatabase(ThrowawayServer& server, const std::string& name) {
  Connection connection = MustConnect(server.Conninfo("postgres"));
  const std::string literal = QuoteLiteral(name);
  RunSql(connection,
         "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = " + literal);
  const auto slots_dropped = [&] {
    return connection
               .Execute(
                   "select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                   "where not active and database = " +
                   literal)
               .ok() &&
           QueryText(connection, "select count(*) from pg_replication_slots where database = " + literal) ==
               "0";
  };
  EXPECT_TRUE(WaitUntil(slots_dropped)) << "a slot of " << name << " stays active";
  RunSql(connection, "drop database " + QuoteIdentifier(name) + " with (force)");
}

}  // namespace

ThrowawayServer& SourceServer() {
  static const std::unique_ptr<ThrowawayServer> server = MustStart("source");
  return *server;
}

ThrowawayServer& TargetServer() {
  static const std::unique_ptr<ThrowawayServer> server = MustStart("target");
  return *server;
}

Connection MustConnect(const std::string& conninfo) {
  ConnectOptions options;
  options.conninfo = conninfo;
  options.application_name = "walferry_test";
  options.settings = {{"search_path", "public"}};
  absl::StatusOr<Connection> connection = Connection::Open(options);
  if (!connection.ok()) {
    std::cerr << "cannot connect to a test server: " << connection.status() << std::endl;
    std::exit(1);
  }
  return *std::move(connection);
}

void RunSql(Connection& connection, const std::string& sql) {
  const absl::StatusOr<Result> result = connection.Execute(sql);
  EXPECT_TRUE(result.ok()) << result.status() << "\nin: " << sql.substr(0, 500);
}

std::string QueryText(Connection& connection, const std::string& sql) {
  const absl::StatusOr<Result> result = connection.Execute(sql);
  if (!result.ok()) {
    ADD_FAILURE() << result.status() << "\nin: " << sql.substr(0, 500);
    return "ERROR " + SqlstateOf(result.status());
  }
  std::string text;
  for (int row = 0; row < result->rows(); ++row) {
    if (row > 0) text += '\n';
    for (int column = 0; column < result->columns(); ++column) {
      if (column > 0) text += '|';
      text += result->GetOptional(row, column).value_or("NULL");
    }
  }
  return text;
}

bool WaitUntil(const std::function<bool()>& condition, absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return true;
}

std::map<std::string, std::string> TableContents(Connection& connection) {
  const absl::StatusOr<Result> tables = connection.Execute(
      "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
      "where c.relkind = 'r' and c.relpersistence <> 't' and n.nspname not in ('walferry', "
      "'information_schema') "
      "and n.nspname not like 'pg\\_%' order by 1, 2");
  EXPECT_TRUE(tables.ok()) << tables.status();
  std::map<std::string, std::string> contents;
  if (!tables.ok()) return contents;
  for (int row = 0; row < tables->rows(); ++row) {
    const std::string schema(tables->Get(row, 0));
    const std::string name(tables->Get(row, 1));
    contents[schema + "." + name] =
        QueryText(connection,
                  "select count(*) || ' rows, ' || "
                  "coalesce(sum(('x' || substr(md5((t.*)::text), 1, 15))::bit(60)::bigint), 0) from only " +
                      QuoteName(schema, name) + " t");
  }
  return contents;
}

DatabasePair::DatabasePair(const std::string& source_options) {
  static std::atomic<int> count = 0;
  name_ = absl::StrFormat("test_%d_%d", getpid(), ++count);
  for (ThrowawayServer* server : {&SourceServer(), &TargetServer()}) {
    Connection connection = MustConnect(server->Conninfo("postgres"));
    const std::string options = server == &SourceServer() ? source_options : "";
    RunSql(connection, "create database " + QuoteIdentifier(name_) + " " + options);
  }
}

DatabasePair::~DatabasePair() {
  source_.reset();
  target_.reset();
  DropDatabase(SourceServer(), name_);
  DropDatabase(TargetServer(), name_);
}

Connection& DatabasePair::source() {
  if (!source_.has_value() || !source_->alive()) source_ = MustConnect(source_conninfo());
  return *source_;
}

Connection& DatabasePair::target() {
  if (!target_.has_value() || !target_->alive()) target_ = MustConnect(target_conninfo());
  return *target_;
}

void DatabasePair::RunOnBoth(const std::string& sql) {
  RunOnSource(sql);
  RunOnTarget(sql);
}

void ExpectEqualContent(DatabasePair& pair) {
  const std::map<std::string, std::string> source = TableContents(pair.source());
  const std::map<std::string, std::string> target = TableContents(pair.target());
  for (const auto& [table, content] : source) {
    const auto other = target.find(table);
    if (other == target.end()) {
      ADD_FAILURE() << table << " is not on the target";
    } else {
      EXPECT_EQ(content, other->second) << table << " differs (source, target)";
    }
  }
  for (const auto& [table, content] : target) {
    EXPECT_TRUE(source.contains(table)) << table << " is on the target only";
  }
}

}  // namespace walferry
