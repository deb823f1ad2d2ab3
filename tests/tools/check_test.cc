// walferry check against real servers: each obstacle is found, named and comes with its fix; nothing is
// changed.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "stream/child_process.h"
#include "tests/support/server_pair.h"
#include "tests/support/walferry_process.h"

namespace walferry {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Report {
  int exit_code = -1;
  json result;

  // The findings of one check.
  std::vector<json> Of(const std::string& id) const {
    std::vector<json> found;
    for (const json& check : result.at("checks")) {
      if (check.at("id") == id) found.push_back(check);
    }
    return found;
  }
  // "WARN" or worse, by id.
  std::vector<std::string> Complaints() const {
    std::vector<std::string> ids;
    for (const json& check : result.at("checks")) {
      if (check.at("level") != "PASS") ids.push_back(check.at("id"));
    }
    return ids;
  }
};

class Check : public ::testing::Test {
 protected:
  Report Run(std::vector<std::string> extra = {}) {
    return RunWith(pair_.source_conninfo(), pair_.target_conninfo(), std::move(extra));
  }
  Report RunWith(const std::string& source, const std::string& target, std::vector<std::string> extra = {}) {
    std::vector<std::string> arguments = {"check",    "--json", "--source", source,
                                          "--target", target,   "--name",   pair_.name()};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    const WalferryRun run = RunWalferry(arguments);
    const json result = json::parse(run.out, nullptr, false);
    EXPECT_FALSE(result.is_discarded()) << run.out << run.err;
    return {run.exit_code, result};
  }
  // One finding, of this level.
  static json Expect(const Report& report, const std::string& id, const std::string& level) {
    const std::vector<json> found = report.Of(id);
    EXPECT_EQ(found.size(), 1U) << id;
    if (found.empty()) return {};
    EXPECT_EQ(found[0].at("level"), level) << found[0];
    if (level != "PASS") {
      EXPECT_NE(found[0].at("fix"), "");
    }
    return found[0];
  }
  static json ExpectBlock(const Report& report, const std::string& id) {
    EXPECT_EQ(report.exit_code, 3);
    EXPECT_FALSE(report.result.at("ok").get<bool>());
    return Expect(report, id, "BLOCK");
  }

  DatabasePair pair_;
};

TEST_F(Check, ReadyPairPassesAndNothingIsChanged) {
  pair_.RunOnSource("create table t (id int primary key, a text); insert into t values (1, 'x')");
  const std::string census =
      "select (select count(*) from pg_class), (select count(*) from pg_namespace), (select count(*) from "
      "pg_proc), "
      "(select count(*) from pg_publication), (select count(*) from pg_replication_slots where database = "
      "current_database())";
  const std::string source = QueryText(pair_.source(), census);
  const std::string target = QueryText(pair_.target(), census);
  const Report report = Run();
  EXPECT_EQ(report.exit_code, 0) << report.result;
  EXPECT_TRUE(report.result.at("ok").get<bool>());
  EXPECT_THAT(report.Complaints(), IsEmpty()) << report.result;
  for (const json& check : report.result.at("checks")) {
    for (const char* field : {"id", "side", "level", "subject", "evidence", "fix"}) {
      EXPECT_TRUE(check.at(field).is_string()) << check;
    }
  }
  EXPECT_EQ(QueryText(pair_.source(), census), source);
  EXPECT_EQ(QueryText(pair_.target(), census), target);
}

TEST_F(Check, TextEndsWithASummary) {
  pair_.RunOnSource("create table t (a int primary key); create unlogged table u (a int)");
  const WalferryRun run = RunWalferry(
      {"check", "--source", pair_.source_conninfo(), "--target", pair_.target_conninfo(), "--quiet"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("WARN  not replicated"), HasSubstr("\n0 blockers, 1 warning, "),
                             ::testing::EndsWith(" passed: ready to migrate\n")));
  EXPECT_THAT(run.out, ::testing::Not(HasSubstr("PASS")));
}

TEST_F(Check, UpdatedTableWithoutIdentityBlocksAndNamesTheIndexThatWouldDo) {
  pair_.RunOnSource(
      "create table \"Odd Name\" (a int, b int not null, c int not null unique deferrable);"
      "create unique index odd_partial on \"Odd Name\" (b) where a > 0;"
      "create unique index odd_b on \"Odd Name\" (b);"
      "insert into \"Odd Name\" values (1, 1, 1); update \"Odd Name\" set a = 2;");
  ASSERT_TRUE(WaitUntil([&] {
    return QueryText(pair_.source(),
                     "select n_tup_upd from pg_stat_user_tables where relname = 'Odd Name'") == "1";
  }));
  const json check = ExpectBlock(Run(), "replica-identity");
  EXPECT_THAT(check.at("evidence").get<std::string>(), HasSubstr("public.Odd Name"));
  EXPECT_EQ(check.at("fix"), "ALTER TABLE \"public\".\"Odd Name\" REPLICA IDENTITY USING INDEX \"odd_b\"");
  pair_.RunOnSource(check.at("fix"));
  Expect(Run(), "replica-identity", "PASS");
}

// The first upsert of it after it was published would be refused to the application.
TEST_F(Check, TableWithoutIdentityBlocksUnlessItsInsertsAloneArePublished) {
  pair_.RunOnSource("create table log (a int); insert into log values (1)");
  const Report report = Run();
  EXPECT_EQ(report.exit_code, 3);
  EXPECT_EQ(Expect(report, "replica-identity", "BLOCK").at("fix"),
            "ALTER TABLE \"public\".\"log\" REPLICA IDENTITY FULL");
  const Report inserts = Run({"--no-identity", "insert-only"});
  EXPECT_EQ(inserts.exit_code, 0);
  Expect(inserts, "replica-identity", "WARN");
  Expect(Run({"--exclude-tables", "public.log", "--tables", "public.log"}), "tables", "BLOCK");
}

TEST_F(Check, DeferrablePrimaryKeyIsNoIdentity) {
  pair_.RunOnSource("create table t (id int primary key deferrable)");
  EXPECT_THAT(Run().Complaints(), ::testing::Contains("replica-identity"));
}

TEST_F(Check, IdentityWithAGeneratedColumnIsNamedWithTheWayOut) {
  const auto updates = [&](const std::string& table) {
    return QueryText(pair_.source(),
                     "select n_tup_upd from pg_stat_user_tables where relname = '" + table + "'");
  };
  pair_.RunOnSource(
      "create table acc (tenant int, email text not null, le text generated always as (lower(email)) stored, "
      "primary "
      "key (tenant, le)); create unique index acc_le on acc (le, tenant);"
      "create table plain (id int primary key, g int generated always as (id) stored);"
      "create table quiet (like acc including all)");
  EXPECT_THAT(
      Expect(Run({"--tables", "public.acc"}), "whole-identity", "WARN").at("evidence").get<std::string>(),
      AllOf(HasSubstr("public.acc"), HasSubstr("(le)"), HasSubstr("stops the stream")));
  Expect(Run({"--tables", "public.plain"}), "whole-identity", "PASS");
  pair_.RunOnSource("insert into acc values (1, 'A'); update acc set email = 'B'");
  ASSERT_TRUE(WaitUntil([&] { return updates("acc") == "1"; }));
  const json check = ExpectBlock(Run({"--tables", "public.acc"}), "whole-identity");
  EXPECT_EQ(check.at("fix"), "ALTER TABLE \"public\".\"acc\" REPLICA IDENTITY FULL");
  EXPECT_EQ(Run().Of("whole-identity").size(), 2U);
  pair_.RunOnSource("create unique index acc_email on acc (tenant, email)");
  const json other = ExpectBlock(Run({"--tables", "public.acc"}), "whole-identity");
  EXPECT_EQ(other.at("fix"), "ALTER TABLE \"public\".\"acc\" REPLICA IDENTITY USING INDEX \"acc_email\"");
  pair_.RunOnSource(other.at("fix"));
  Expect(Run({"--tables", "public.acc"}), "whole-identity", "PASS");
}

TEST_F(Check, IndexWithAGeneratedColumnIsNotOfferedAsIdentity) {
  pair_.RunOnSource(
      "create table t (a int, g int generated always as (a) stored not null); create unique index t_g on t "
      "(g)");
  EXPECT_EQ(Expect(Run(), "replica-identity", "BLOCK").at("fix"),
            "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL");
}

TEST_F(Check, TargetWithoutAKeyWithinTheIdentityIsAWarning) {
  pair_.RunOnSource(
      "create table t (id int primary key, tenant int); create table f (a int); alter table f replica "
      "identity full");
  pair_.RunOnTarget("create table t (id int, tenant int, primary key (id, tenant)); create table f (a int)");
  const json check = Expect(Run({"--schema", "none"}), "target-keys", "WARN");
  EXPECT_THAT(check.at("evidence").get<std::string>(), AllOf(HasSubstr("public.t"), HasSubstr("(id)")));
  EXPECT_EQ(check.at("fix"), "on the target: CREATE UNIQUE INDEX ON \"public\".\"t\" (\"id\")");
  pair_.RunOnTarget("CREATE UNIQUE INDEX ON \"public\".\"t\" (\"id\")");
  Expect(Run({"--schema", "none"}), "target-keys", "PASS");
}

TEST_F(Check, TargetTablesMustNotBeThereOrMustBeEmpty) {
  pair_.RunOnBoth("create table t (id int primary key)");
  ExpectBlock(Run(), "tables-exist");
  EXPECT_EQ(Run({"--schema", "none"}).exit_code, 0);
  pair_.RunOnTarget("insert into t values (1)");
  EXPECT_THAT(ExpectBlock(Run({"--schema", "none"}), "tables-empty").at("evidence").get<std::string>(),
              HasSubstr("public.t"));
}

TEST_F(Check, MissingTableAndColumnsThatDoNotFitBlockWithoutSchemaCopy) {
  pair_.RunOnSource("create table a (id int primary key, x int); create table b (id int primary key)");
  pair_.RunOnTarget("create table a (id int primary key, extra text not null)");
  const Report report = Run({"--schema", "none"});
  EXPECT_THAT(ExpectBlock(report, "tables-exist").at("evidence").get<std::string>(), HasSubstr("public.b"));
  EXPECT_THAT(
      ExpectBlock(report, "columns").at("evidence").get<std::string>(),
      AllOf(HasSubstr("public.a.x is missing"), HasSubstr("public.a.extra exists on the target only")));
  EXPECT_EQ(Run({"--schema", "none", "--tables", "public.zzz"}).exit_code, 3);
}

TEST_F(Check, DifferentColumnTypesAreAWarning) {
  pair_.RunOnSource("create table a (id int primary key)");
  pair_.RunOnTarget("create table a (id bigint primary key)");
  const Report report = Run({"--schema", "none"});
  EXPECT_EQ(report.exit_code, 0) << report.result;
  EXPECT_THAT(Expect(report, "columns", "WARN").at("evidence").get<std::string>(),
              HasSubstr("public.a.id is integer on the source, bigint on the target"));
}

TEST_F(Check, TakenNamesBlock) {
  pair_.RunOnSource("create table t (id int primary key); create publication " + pair_.name() +
                    " for table t");
  EXPECT_THAT(ExpectBlock(Run(), "names-taken").at("fix").get<std::string>(),
              HasSubstr("DROP PUBLICATION \"" + pair_.name() + "\""));
}

TEST_F(Check, InactiveSlotsOfOthersAreNamed) {
  pair_.RunOnSource("create table t (id int primary key)");
  const std::string slot = pair_.name() + "_left_over";
  pair_.RunOnSource("select pg_create_logical_replication_slot('" + slot + "', 'pgoutput')");
  const Report report = Run();
  EXPECT_EQ(report.exit_code, 0);
  EXPECT_THAT(Expect(report, "slots-inactive", "WARN").at("evidence").get<std::string>(), HasSubstr(slot));
}

TEST_F(Check, WhatReplicationDoesNotCarryIsNamed) {
  pair_.RunOnSource(
      "create table t (id int primary key); create unlogged table fast (a int);"
      "create materialized view mv as select 1 as one;"
      "create sequence s as smallint; select setval('s', 30000);");
  const Report report = Run();
  EXPECT_EQ(report.exit_code, 0) << report.result;
  EXPECT_THAT(Expect(report, "not-replicated", "WARN").at("evidence").get<std::string>(),
              AllOf(HasSubstr("unlogged table public.fast"), HasSubstr("materialized view public.mv")));
  EXPECT_THAT(Expect(report, "sequences", "WARN").at("evidence").get<std::string>(), HasSubstr("public.s"));
}

// A role that may log in, and nothing more, as the user of both sides.
class CheckAsNobody : public Check {
 protected:
  CheckAsNobody() : role_(pair_.name() + "_nobody") {
    pair_.RunOnSource("create role " + role_ + " login");
    pair_.RunOnTarget("create role " + role_ + " login");
  }
  ~CheckAsNobody() override {
    pair_.RunOnSource("drop owned by " + role_ + "; drop role " + role_);
    pair_.RunOnTarget("drop owned by " + role_ + "; drop role " + role_);
  }
  std::string As(const std::string& conninfo) const { return conninfo + " user=" + role_; }
  Report RunAsNobody(std::vector<std::string> extra = {}) {
    return RunWith(As(pair_.source_conninfo()), As(pair_.target_conninfo()), std::move(extra));
  }
  const std::string role_;
};

TEST_F(CheckAsNobody, EveryMissingPrivilegeBlocksWithItsGrant) {
  pair_.RunOnSource("create table t (id int primary key)");
  pair_.RunOnTarget("revoke create on database " + pair_.name() + " from public");
  const Report report = RunAsNobody();
  EXPECT_EQ(ExpectBlock(report, "replication-privilege").at("fix"),
            "ALTER ROLE \"" + role_ + "\" REPLICATION");
  ExpectBlock(report, "replication-connection");
  ExpectBlock(report, "publication-privilege");
  ExpectBlock(report, "table-owner");
  EXPECT_EQ(ExpectBlock(report, "select-privilege").at("fix"), "GRANT pg_read_all_data TO \"" + role_ + "\"");
  ExpectBlock(report, "create-privilege");
  EXPECT_EQ(Expect(report, "replica-role", "WARN").at("fix"),
            "GRANT SET ON PARAMETER session_replication_role TO \"" + role_ + "\"");
}

TEST_F(CheckAsNobody, PrivilegesGrantedAsToldAreEnough) {
  pair_.RunOnSource("create table t (id int primary key)");
  pair_.RunOnSource("alter role " + role_ + " replication; grant postgres to " + role_ +
                    "; grant create on database " + pair_.name() + " to " + role_);
  pair_.RunOnTarget("grant set on parameter session_replication_role to " + role_ +
                    "; grant create on database " + pair_.name() + " to " + role_ +
                    "; grant create on schema public to " + role_);
  const Report report = RunAsNobody();
  EXPECT_EQ(report.exit_code, 0) << report.result;
}

TEST_F(CheckAsNobody, MarkerThatMayNotBeWrittenIsAWarningWithItsGrant) {
  Expect(Run(), "marker", "PASS");
  const std::string function = "function pg_logical_emit_message(boolean, text, text)";
  pair_.RunOnSource("revoke execute on " + function + " from public");
  const json found = Expect(RunAsNobody(), "marker", "WARN");
  EXPECT_THAT(found.at("fix").get<std::string>(),
              HasSubstr("GRANT EXECUTE ON FUNCTION pg_catalog.pg_logical_emit_message(boolean,text,text)"));
  pair_.RunOnSource("grant execute on " + function + " to public");
}

TEST_F(CheckAsNobody, LimitsOfSessionsAreFoundWhereTheyAre) {
  EXPECT_THAT(Expect(Run(), "source-connections", "PASS").at("evidence").get<std::string>(),
              HasSubstr("max_connections"));
  for (Connection* side : {&pair_.source(), &pair_.target()}) {
    RunSql(*side, "alter role " + role_ + " connection limit 4");
  }
  const Report few = RunAsNobody();
  EXPECT_THAT(ExpectBlock(few, "target-connections").at("evidence").get<std::string>(),
              HasSubstr("CONNECTION LIMIT of role"));
  EXPECT_THAT(Expect(few, "source-connections", "WARN").at("evidence").get<std::string>(),
              HasSubstr("CONNECTION LIMIT of role"));
}

// Seen to fail: the type of other roles' sessions is hidden, and they were not counted.
TEST_F(CheckAsNobody, SessionsAndTransactionsOfOtherRolesCount) {
  const auto free_sessions = [&] {
    return std::stoi(Expect(RunAsNobody(), "source-connections", "PASS").at("evidence").get<std::string>());
  };
  const int before = free_sessions();
  std::vector<Connection> sessions;
  for (int i = 0; i < 15; ++i) sessions.push_back(MustConnect(pair_.source_conninfo()));
  EXPECT_LE(free_sessions(), before - 10);
  RunSql(sessions.front(), "begin; select txid_current()");
  EXPECT_THAT(Expect(RunAsNobody(), "open-transactions", "WARN").at("evidence").get<std::string>(),
              HasSubstr(absl::StrFormat("pid %d in database", sessions.front().backend_pid())));
}

TEST_F(CheckAsNobody, RowSecurityThatHidesRowsBlocks) {
  pair_.RunOnSource("create table t (id int primary key); alter table t enable row level security");
  Expect(Run(), "row-security", "PASS");
  ExpectBlock(RunAsNobody(), "row-security");
}

TEST_F(CheckAsNobody, TriggersThatWouldFireBlockWithoutReplicaRole) {
  pair_.RunOnBoth("create table a (id int primary key); create table b (id int primary key references a)");
  ExpectBlock(RunAsNobody({"--schema", "none"}), "replica-role");
}

TEST_F(Check, WalLevelReplicaBlocks) {
  ThrowawayServerOptions options;
  options.name = "replica-level";
  options.settings = {{"wal_level", "replica"}};
  const auto server = ThrowawayServer::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  const Report report = RunWith((*server)->Conninfo("postgres"), pair_.target_conninfo());
  const json check = ExpectBlock(report, "wal-level");
  EXPECT_THAT(check.at("evidence").get<std::string>(), HasSubstr("wal_level is replica"));
  EXPECT_THAT(check.at("fix").get<std::string>(), HasSubstr("ALTER SYSTEM SET wal_level = logical"));
}

TEST_F(Check, BeingASynchronousStandbyBlocks) {
  pair_.RunOnSource("create table t (id int primary key)");
  const auto set_names = [&](const std::string& names) {
    pair_.RunOnSource("alter system set synchronous_standby_names = " + QuoteLiteral(names));
    pair_.RunOnSource("select pg_reload_conf()");
    return WaitUntil([&] { return QueryText(pair_.source(), "show synchronous_standby_names") == names; });
  };
  ASSERT_TRUE(set_names("ANY 1 (somebody, *)"));
  const Report any = Run();
  ASSERT_TRUE(set_names("somebody, \"walferry " + pair_.name() + "\""));
  const Report named = Run();
  const Report other = RunWith(pair_.source_conninfo() + " application_name=other", pair_.target_conninfo());
  ASSERT_TRUE(set_names("somebody"));
  const Report real = Run();
  ASSERT_TRUE(set_names(""));
  EXPECT_THAT(ExpectBlock(any, "synchronous-standby").at("fix").get<std::string>(),
              HasSubstr("synchronous_standby_names = 'FIRST"));
  ExpectBlock(named, "synchronous-standby");
  Expect(other, "synchronous-standby", "PASS");
  Expect(real, "synchronous-standby", "PASS");
}

TEST_F(Check, AmountsThatWouldBeOthersBlock) {
  pair_.RunOnSource("create domain price as money; create table t (id int primary key, m price)");
  Expect(Run(), "money", "PASS");
  pair_.RunOnTarget("alter database " + QuoteIdentifier(pair_.name()) + " set lc_monetary = 'ja_JP.utf8'");
  EXPECT_THAT(ExpectBlock(Run(), "money").at("evidence").get<std::string>(), HasSubstr("lc_monetary"));
  pair_.RunOnSource("alter database " + QuoteIdentifier(pair_.name()) + " set lc_monetary = 'ja_JP.utf8'");
  Expect(Run(), "money", "PASS");
}

TEST_F(Check, OwnMigrationIsNoObstacleUnlessItsSlotIsLost) {
  ThrowawayServerOptions options;
  options.name = "keeps-little";
  options.settings = {{"max_slot_wal_keep_size", "1MB"}};
  const auto server = ThrowawayServer::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string source = (*server)->Conninfo("postgres");
  Connection connection = MustConnect(source);
  RunSql(connection, "create table t (id int primary key); insert into t values (1)");
  const WalferryRun migrate = RunWalferry({"migrate", "--source", source, "--target", pair_.target_conninfo(),
                                           "--name", pair_.name(), "--until", "caught-up"});
  ASSERT_EQ(migrate.exit_code, 0) << migrate.err;
  const Report running = RunWith(source, pair_.target_conninfo());
  EXPECT_EQ(running.exit_code, 0) << running.result;
  Expect(running, "names-taken", "PASS");
  Expect(running, "tables-empty", "PASS");

  ASSERT_TRUE(WaitUntil([&] {
    RunSql(connection, "insert into t select max(id) + 1 from t");
    QueryText(connection, "select pg_switch_wal()");
    RunSql(connection, "checkpoint");
    return QueryText(connection, "select wal_status from pg_replication_slots") == "lost";
  }));
  EXPECT_THAT(
      ExpectBlock(RunWith(source, pair_.target_conninfo()), "names-taken").at("evidence").get<std::string>(),
      HasSubstr("cannot go on"));
}

TEST_F(Check, UnreachableTargetIsNotAVerdict) {
  pair_.RunOnSource("create table t (id int primary key)");
  const Report report = RunWith(pair_.source_conninfo(), "host=127.0.0.1 port=1");
  EXPECT_EQ(report.exit_code, 5);
  EXPECT_FALSE(report.result.at("ok").get<bool>());
  EXPECT_THAT(report.result.at("error").get<std::string>(), HasSubstr("cannot connect to the target"));
}

constexpr const char* kPgBouncer = "/usr/sbin/pgbouncer";

// A port of the loopback interface that was free a moment ago.
int FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(::bind(fd, generic, length), 0);
  EXPECT_EQ(::getsockname(fd, generic, &length), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

// A PgBouncer before a server, in transaction mode.
class Pooler {
 public:
  explicit Pooler(const ThrowawayServer& server) : port_(FreePort()) {
    std::string path = (std::filesystem::temp_directory_path() / "walferry-pooler-XXXXXX").string();
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    directory_ = path;
    std::filesystem::permissions(directory_, std::filesystem::perms::all);
    std::ofstream(directory_ / "pgbouncer.ini")
        << "[databases]\n* = host=127.0.0.1 user=postgres port=" << server.port()
        << "\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = " << port_
        << "\nauth_type = any\npool_mode = transaction\nunix_socket_dir =\n"
        << (::geteuid() == 0 ? "user = postgres\n" : "");
    ChildOptions options;
    options.argv = {kPgBouncer, directory_ / "pgbouncer.ini"};
    options.stderr_path = directory_ / "log";
    absl::StatusOr<ChildProcess> child = ChildProcess::Start(options);
    EXPECT_TRUE(child.ok()) << child.status();
    child_ = *std::move(child);
  }
  ~Pooler() {
    child_.reset();
    std::filesystem::remove_all(directory_);
  }
  // host=127.0.0.1 …, once it answers.
  std::string Conninfo(const std::string& database) {
    const std::string conninfo =
        "host=127.0.0.1 user=postgres port=" + std::to_string(port_) + " dbname=" + database;
    ConnectOptions options;
    options.conninfo = conninfo;
    EXPECT_TRUE(WaitUntil([&] { return Connection::Open(options).ok(); }))
        << ReadTextFile(directory_ / "log");
    return conninfo;
  }

 private:
  const int port_;
  std::filesystem::path directory_;
  std::optional<ChildProcess> child_;
};

TEST_F(Check, TransactionPoolerBlocksOnEitherSide) {
  if (!std::filesystem::exists(kPgBouncer)) GTEST_SKIP() << kPgBouncer << " is not installed";
  pair_.RunOnSource("create table t (id int primary key)");
  {
    Pooler pooler(TargetServer());
    const Report report = RunWith(pair_.source_conninfo(), pooler.Conninfo(pair_.name()));
    EXPECT_THAT(ExpectBlock(report, "target-pooler").at("evidence").get<std::string>(),
                HasSubstr("transaction mode"));
  }
  Pooler pooler(SourceServer());
  const Report report = RunWith(pooler.Conninfo(pair_.name()), pair_.target_conninfo());
  ExpectBlock(report, "source-pooler");
  EXPECT_THAT(ExpectBlock(report, "replication-connection").at("fix").get<std::string>(),
              HasSubstr("pooler"));
}

}  // namespace
}  // namespace walferry
