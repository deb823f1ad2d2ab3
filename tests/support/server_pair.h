// One source and one target server for all server tests of a program, and a fresh database on each for every
// test.
//
//   TEST(Apply, KeepsNulls) {
//     DatabasePair pair;
//     pair.RunOnBoth("create table t (id int primary key, a text)");
//     pair.RunOnSource("insert into t values (1, null)");
//     …
//     EXPECT_EQ(QueryText(pair.target(), "select * from t"), "1|NULL");
//     ExpectEqualContent(pair);
//   }
//
// Link walferry_test_support and GTest::gtest_main. Servers start when first asked for and end with the
// program.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "stream/connection.h"
#include "tools/throwaway_server.h"

namespace walferry {

// Fail the program where a server does not start: no test of it can go on.
ThrowawayServer& SourceServer();
ThrowawayServer& TargetServer();

// A connection whose search_path is public, as a person's would be. A failure is a test failure and ends the
// program.
Connection MustConnect(const std::string& conninfo);

// Statements in the simple protocol; an error is a failure of the test that names the statement.
void RunSql(Connection& connection, const std::string& sql);
// The rows as text: columns parted by '|', rows by '\n', NULL as "NULL". An error gives "ERROR <SQLSTATE>"
// and fails.
std::string QueryText(Connection& connection, const std::string& sql);

// Polls until the condition holds; false when it does not within the time.
bool WaitUntil(const std::function<bool()>& condition, absl::Duration patience = absl::Seconds(60));

// "public.t" -> "3 rows, <sum>": what each ordinary table of a database holds, whatever the order of its
// rows. Schema walferry and the system's are left out.
std::map<std::string, std::string> TableContents(Connection& connection);

class DatabasePair {
 public:
  // source_options: of the source's CREATE DATABASE, such as "ENCODING 'LATIN1' TEMPLATE template0".
  explicit DatabasePair(const std::string& source_options = {});
  ~DatabasePair();  // Drops both, with the slots and connections that are in the way.
  DatabasePair(const DatabasePair&) = delete;
  DatabasePair& operator=(const DatabasePair&) = delete;

  const std::string& name() const { return name_; }  // Of both databases.
  std::string source_conninfo() const { return SourceServer().Conninfo(name_); }
  std::string target_conninfo() const { return TargetServer().Conninfo(name_); }
  // Connections of the pair's own, opened when first asked for, and again once they were lost.
  Connection& source();
  Connection& target();

  void RunOnSource(const std::string& sql) { RunSql(source(), sql); }
  void RunOnTarget(const std::string& sql) { RunSql(target(), sql); }
  void RunOnBoth(const std::string& sql);

 private:
  std::string name_;
  std::optional<Connection> source_;
  std::optional<Connection> target_;
};

// Every table holds the same rows on both sides.
void ExpectEqualContent(DatabasePair& pair);

}  // namespace walferry
