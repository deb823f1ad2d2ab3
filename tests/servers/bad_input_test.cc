// Whatever is wrong with what walferry is given: it says so in one sentence that tells what to do, with the
// exit code that scripts rely on, and leaves both databases as they were.
#include "tests/servers/bad_input.h"

#include <sys/resource.h>

#include <filesystem>
#include <fstream>

#include "absl/time/clock.h"
#include "stream/child_process.h"

namespace walferry {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::unique_ptr<ThrowawayServer> StartServer(const ThrowawayServerOptions& options) {
  auto server = ThrowawayServer::Start(options);
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

// A role of a server for the length of a test.
class Role {
 public:
  Role(Connection& connection, const std::string& name, const std::string& attributes)
      : connection_(connection), name_(name) {
    RunSql(connection_, "create role " + name_ + " login " + attributes);
  }
  ~Role() { RunSql(connection_, "drop owned by " + name_ + "; drop role " + name_); }
  Role(const Role&) = delete;
  Role& operator=(const Role&) = delete;

 private:
  Connection& connection_;
  const std::string name_;
};

TEST_F(BadInput, ConnectionStringThatCannotBeReadIsWrongUsage) {
  for (const std::string command : {"migrate", "copy", "stream", "cleanup", "status"}) {
    ExpectRefused({command, "--target", "host=127.0.0.1 prot=1"}, 2, {"--target", "\"prot\""});
  }
  ExpectRefused({"migrate", "--source", "host=127.0.0.1 prot=1"}, 2, {"--source", "\"prot\""});
  ExpectRefused({"check", "--source", "host=127.0.0.1 prot=1"}, 5, {"--source", "\"prot\""});
  ExpectRefused({"verify", "--source", "host=127.0.0.1 prot=1"}, 5, {"--source", "\"prot\""});
}

TEST_F(BadInput, ServerThatIsNotThereFailsAtOnce) {
  const absl::Time begin = absl::Now();
  for (const std::string command : {"migrate", "copy", "stream", "cleanup"}) {
    ExpectRefused({command, "--source", "host=127.0.0.1 port=1 user=x dbname=x"}, 75,
                  {"cannot connect to the source", "port 1", "Connection refused"});
  }
  for (const std::string command : {"migrate", "copy", "stream", "cleanup", "status"}) {
    ExpectRefused({command, "--target", "host=127.0.0.1 port=1 user=x dbname=x"}, 75,
                  {"cannot connect to the target", "port 1", "Connection refused"});
  }
  ExpectRefused({"migrate", "--source", "host=no-such-host.invalid user=x dbname=x"}, 75,
                {"cannot connect to the source", "no-such-host.invalid"});
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20))
      << "the first connection must not be tried for --retry-for";
}

TEST_F(BadInput, DatabaseOrRoleThatIsNotThereIsNamed) {
  ExpectRefused({"migrate", "--source", SourceServer().Conninfo("nowhere")}, 1,
                {"cannot connect to the source", "database \"nowhere\" does not exist"});
  ExpectRefused({"migrate", "--target", TargetServer().Conninfo("nowhere")}, 1,
                {"cannot connect to the target", "database \"nowhere\" does not exist"});
  ExpectRefused({"migrate", "--target", pair.target_conninfo() + " user=nobody_here"}, 1,
                {"cannot connect to the target", "role \"nobody_here\" does not exist"});
}

TEST_F(BadInput, WrongPasswordIsSaidAndNotShown) {
  ThrowawayServerOptions options;
  options.name = "scram";
  options.password = "rightOne7";
  const auto server = StartServer(options);
  const std::string wrong =
      absl::StrFormat("postgresql://postgres:wrongOne7@127.0.0.1:%d/postgres", server->port());
  for (const std::string command : {"migrate", "copy", "stream", "cleanup", "status"}) {
    const WalferryRun run = RunWalferry(Arguments({command, "--target", wrong}));
    EXPECT_EQ(run.exit_code, 1) << command << run.err;
    EXPECT_THAT(run.err, HasSubstr("password authentication failed for user \"postgres\""));
    EXPECT_THAT(run.err + run.out, Not(HasSubstr("wrongOne7")));
  }
  ExpectRefused({"migrate", "--source", wrong}, 1,
                {"cannot connect to the source", "password authentication"});
  ExpectRefused(
      {"migrate", "--source", absl::StrFormat("host=127.0.0.1 port=%d user=postgres", server->port())}, 1,
      {"cannot connect to the source", "no password supplied"}, {{"HOME", "/nonexistent"}});
}

TEST_F(BadInput, RoleWithoutRightsOnTheSourceIsToldWhatToGrant) {
  Role weak(pair.source(), "weak_reader", "");
  const std::string source = pair.source_conninfo() + " user=weak_reader";
  ExpectRefused({"migrate", "--source", source}, 3,
                {"ALTER ROLE \"weak_reader\" REPLICATION", "GRANT CREATE ON DATABASE",
                 "only the owner of a table can publish it; not owned: public.t", "may not read public.t"});
  ExpectRefused({"copy", "--source", source}, 3, {"may not read public.t", "GRANT pg_read_all_data"});
  // Reading is all that a copy needs.
  RunSql(pair.source(), "grant select on t to weak_reader");
  const WalferryRun copy = RunWalferry(Arguments({"copy", "--source", source}));
  EXPECT_EQ(copy.exit_code, 0) << copy.err;
  ExpectEqualContent(pair);
}

TEST_F(BadInput, RoleWithoutRightsOnTheTargetIsToldWhatToGrant) {
  Role weak(pair.target(), "weak_writer", "");
  const std::string target = pair.target_conninfo() + " user=weak_writer";
  for (const std::string command : {"migrate", "copy"}) {
    ExpectRefused({command, "--target", target}, 3,
                  {"schema walferry", "GRANT CREATE ON DATABASE", "weak_writer"});
  }
  pair.RunOnTarget("create table t (id int primary key, a text); grant all on t to weak_writer");
  pair.RunOnSource("create publication p for table t");
  pair.RunOnSource("select pg_create_logical_replication_slot('weak_s', 'pgoutput')");
  ExpectRefused({"stream", "--target", target, "--slot", "weak_s", "--publication", "p"}, 1,
                {"GRANT CREATE ON DATABASE", "weak_writer"});
  // The state of somebody else's migration.
  pair.RunOnTarget("drop table t");
  ASSERT_EQ(RunWalferry(Arguments({"migrate", "--until", "caught-up", "--name", "other"})).exit_code, 0);
  for (const std::string command : {"migrate", "copy", "stream", "status", "cleanup"}) {
    ExpectRefused({command, "--target", target}, 1, {"weak_writer", "schema walferry"});
  }
}

TEST_F(BadInput, SourceThatCannotDecodeIsRefused) {
  ThrowawayServerOptions options;
  options.name = "replica-level";
  options.settings = {{"wal_level", "replica"}};
  const auto server = StartServer(options);
  Connection other = MustConnect(server->Conninfo("postgres"));
  RunSql(other, "create table t (id int primary key)");
  ExpectRefused({"migrate", "--source", server->Conninfo("postgres")}, 3,
                {"wal_level is replica", "ALTER SYSTEM SET wal_level = logical"});
  const WalferryRun copy = RunWalferry(Arguments({"copy", "--source", server->Conninfo("postgres")}));
  EXPECT_EQ(copy.exit_code, 0) << "a copy needs no decoding: " << copy.err;
}

TEST_F(BadInput, SourceWithoutFreeSlotIsRefused) {
  ThrowawayServerOptions options;
  options.name = "one-slot";
  options.settings = {{"max_replication_slots", "1"}};
  const auto server = StartServer(options);
  Connection other = MustConnect(server->Conninfo("postgres"));
  RunSql(other, "create table t (id int primary key)");
  RunSql(other, "select pg_create_logical_replication_slot('taken', 'pgoutput')");
  ExpectRefused({"migrate", "--source", server->Conninfo("postgres")}, 3,
                {"1 of 1 in use (max_replication_slots)", "needs 1 free"});
}

TEST_F(BadInput, StreamNeedsSlotPublicationAndTablesThatAreThere) {
  ExpectRefused({"stream"}, 2, {"--slot", "--publication"});
  ExpectRefused({"stream", "--slot", "bad_s", "--publication", "p"}, 1,
                {"slot bad_s does not exist", "--slot"});
  pair.RunOnSource("select pg_create_logical_replication_slot('bad_other', 'test_decoding')");
  ExpectRefused({"stream", "--slot", "bad_other", "--publication", "p"}, 1, {"test_decoding", "pgoutput"});
  pair.RunOnSource("select pg_create_logical_replication_slot('bad_s', 'pgoutput')");
  ExpectRefused({"stream", "--slot", "bad_s", "--publication", "p"}, 1,
                {"publication p does not exist", "--publication"});
  pair.RunOnSource("create publication p for table t");
  ExpectRefused({"stream", "--slot", "bad_s", "--publication", "p"}, 1,
                {"the target lacks public.t", "create it"});
  pair.RunOnTarget("create table t (id int primary key)");
  ExpectRefused({"stream", "--slot", "bad_s", "--publication", "p"}, 1, {"public.t.a", "ADD COLUMN"});
  pair.RunOnTarget("alter table t add a text");
  ExpectRefused({"stream", "--slot", "bad_s", "--publication", "p", "--tables", "public.nothing"}, 1,
                {"public.nothing", "--tables"});
}

TEST_F(BadInput, SlotInUseElsewhereIsGivenUpForNow) {
  pair.RunOnTarget("create table t (id int primary key, a text)");
  pair.RunOnSource("create publication p for table t");
  pair.RunOnSource("select pg_create_logical_replication_slot('busy_s', 'pgoutput')");
  ConnectOptions options;
  options.conninfo = pair.source_conninfo();
  options.replication = true;
  std::optional<Connection> other = Connection::Open(options).value();
  ASSERT_TRUE(
      other->Execute("START_REPLICATION SLOT busy_s LOGICAL 0/0 (proto_version '1', publication_names 'p')")
          .ok());
  ASSERT_TRUE(WaitUntil([&] {
    return QueryText(pair.source(), "select active from pg_replication_slots where slot_name = 'busy_s'") ==
           "t";
  }));
  const std::vector<std::string> stream = {
      "stream", "--slot", "busy_s", "--publication", "p", "--until", "caught-up", "--retry-for", "1s"};
  const WalferryRun refused = RunWalferry(Arguments(stream));
  EXPECT_EQ(refused.exit_code, 75) << refused.err;
  const std::string last = Complaints(refused.err).back();
  ExpectReadable(last);
  EXPECT_THAT(last, testing::AllOf(HasSubstr("slot busy_s is in use by process"), HasSubstr("stop")));
  other.reset();
  const WalferryRun again = RunWalferry(Arguments(stream));
  EXPECT_EQ(again.exit_code, 0) << again.err;
}

TEST_F(BadInput, TablesOfTheTargetThatDoNotFitAreNamed) {
  for (const std::string command : {"migrate", "copy"}) {
    ExpectRefused({command, "--schema", "none"}, 3, {"missing on the target: public.t", "create them"});
  }
  pair.RunOnTarget("create table t (id int primary key)");
  for (const std::string command : {"migrate", "copy"}) {
    ExpectRefused({command, "--schema", "none"}, 3, {"public.t.a is missing", "ALTER TABLE"});
    ExpectRefused({command}, 3, {"there already: public.t", "--schema none"});
  }
  pair.RunOnTarget("alter table t add a text; insert into t values (1, 'mine')");
  for (const std::string command : {"migrate", "copy"}) {
    ExpectRefused({command, "--schema", "none"}, 3, {"not empty on the target: public.t", "TRUNCATE"});
  }
  EXPECT_EQ(QueryText(pair.target(), "select * from t"), "1|mine");
}

TEST_F(BadInput, TablesThatMatchNothingAreNamed) {
  for (const std::string command : {"migrate", "copy"}) {
    ExpectRefused({command, "--tables", "public.nothing"}, 3,
                  {"no table of the source matches public.nothing"});
    ExpectRefused({command, "--tables", "public.t,public.tpyo"}, 3,
                  {"no table of the source matches public.tpyo"});
    ExpectRefused({command, "--exclude-tables", "public.tpyo"}, 3,
                  {"no table of the source matches public.tpyo"});
    ExpectRefused({command, "--exclude-tables", "*.*"}, 3, {"there is no table to migrate"});
    ExpectRefused({command, "--tables", "t"}, 2, {"\"t\"", "schema.table"});
  }
  ExpectRefused({"verify", "--tables", "public.t,public.tpyo"}, 5,
                {"no table of the source matches public.tpyo"});
  const WalferryRun verify = RunWalferry(Arguments({"verify"}));
  EXPECT_EQ(verify.exit_code, 4) << verify.err;
  EXPECT_THAT(verify.out, HasSubstr("public.t  is not on the target"));
}

TEST_F(BadInput, OptionsThatAreWrongAreWrongUsage) {
  ExpectRefused({"migrate", "--frobnicate"}, 2, {"--frobnicate", "walferry help migrate"});
  ExpectRefused({"migrate", "--until", "yesterday"}, 2, {"--until", "yesterday", "caught-up", "LSN"});
  ExpectRefused({"migrate", "--memory", "1MB"}, 2, {"--memory", "1MB", "32"});
  for (const std::string& name : {std::string("Shop"), std::string("shop-1"), std::string("shop 1"),
                                  std::string(""), std::string("a\"b"), std::string(64, 'a')}) {
    ExpectRefused({"migrate", "--name", name}, 2, {"--name", "lower case letters, digits and underscores"});
  }
  const std::string file = testing::TempDir() + "bad_input_test.toml";
  std::ofstream(file) << "[migrate]\ncopy-job = 4\n";
  ExpectRefused({"migrate", "--config", file}, 2, {"migrate.copy-job"});
  std::filesystem::remove(file);
  ExpectRefused({"migrate", "--config", file}, 2, {file});
}

TEST_F(BadInput, NamesOfFullLengthWork) {
  const std::string name(63, 'n');
  const WalferryRun run = RunWalferry(Arguments({"migrate", "--until", "caught-up", "--name", name}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(QueryText(pair.source(),
                      "select slot_name from pg_replication_slots where database = current_database()"),
            name);
  EXPECT_EQ(RunWalferry(Arguments({"cleanup", "--yes", "--name", name})).exit_code, 0);
}

TEST_F(BadInput, NameThatIsTakenOnTheSourceIsRefused) {
  pair.RunOnSource("create publication taken");
  ExpectRefused({"migrate", "--name", "taken"}, 3, {"publication", "taken", "--name"});
}

TEST_F(BadInput, SecondWalferryOfAMigrationIsRefused) {
  WalferryProcess first(Arguments({"migrate"}));
  ASSERT_TRUE(WaitUntil([&] { return first.err().find("Streaming from") != std::string::npos; }))
      << first.err();
  for (const std::string command : {"migrate", "copy", "stream"}) {
    const WalferryRun second = RunWalferry(Arguments({command}));
    EXPECT_EQ(second.exit_code, 1);
    ASSERT_EQ(Complaints(second.err).size(), 1u) << second.err;
    EXPECT_THAT(second.err, testing::AllOf(HasSubstr("another walferry"), HasSubstr("--name")));
  }
  const WalferryRun cleanup = RunWalferry(Arguments({"cleanup", "--yes"}));
  EXPECT_EQ(cleanup.exit_code, 1);
  EXPECT_THAT(cleanup.err, HasSubstr("is running: stop it first"));
  EXPECT_TRUE(first.running());
  pair.RunOnSource("insert into t values (1000, 'still followed')");
  EXPECT_TRUE(WaitUntil([&] { return QueryText(pair.target(), "select count(*) from t") == "101"; }));
  first.Signal(SIGTERM);
  EXPECT_EQ(first.Wait(), 0);
}

TEST_F(BadInput, AnotherSourceThanTheMigrationsIsRefused) {
  ASSERT_EQ(RunWalferry(Arguments({"migrate", "--until", "caught-up"})).exit_code, 0);
  // A database of the same name in another cluster; another database of the same cluster.
  ExpectRefused({"migrate", "--source", pair.target_conninfo()}, 1, {"of system", "--source", "--name"});
  ExpectRefused({"stream", "--source", SourceServer().Conninfo("postgres")}, 1,
                {"database postgres", "--source"});
  ExpectRefused({"copy"}, 1, {"walferry migrate", "--name"});
}

TEST_F(BadInput, InterruptedCopyIsNotTakenForAMigration) {
  // A view that cannot be made on the target: the copy ends in the middle, and its state stays.
  pair.RunOnTarget("create schema obstacle; create table obstacle.v (a int)");
  pair.RunOnSource("create schema obstacle; create view obstacle.v as select 2 as b");
  EXPECT_EQ(RunWalferry(Arguments({"copy"})).exit_code, 1);
  for (const std::string command : {"migrate", "stream"}) {
    ExpectRefused({command}, 1, {"walferry copy", "walferry cleanup"});
  }
  EXPECT_EQ(RunWalferry(Arguments({"cleanup", "--yes"})).exit_code, 0);
  EXPECT_EQ(QueryText(pair.target(), "select count(*) from pg_namespace where nspname = 'walferry'"), "0");
}

TEST_F(BadInput, FullDiskStopsTheStreamAndLosesNothing) {
  const std::vector<std::string> migrate = {"migrate", "--until",  "caught-up", "--streaming",
                                            "on",      "--memory", "32MB"};
  ASSERT_EQ(RunWalferry(Arguments(migrate)).exit_code, 0);
  pair.RunOnSource("alter database " + pair.name() + " set logical_decoding_work_mem = '64kB'");
  const std::string logical_work_mem = " options='-c logical_decoding_work_mem=64kB'";
  pair.RunOnSource("insert into t select g, repeat(md5(g::text), 30) from generate_series(1001, 40000) g");
  std::vector<std::string> arguments = migrate;
  arguments.insert(arguments.end(), {"--source", pair.source_conninfo() + logical_work_mem});
  {
    WalferryProcess walferry(Arguments(arguments));
    const rlimit limit = {1 << 20, 1 << 20};
    ASSERT_EQ(prlimit(walferry.pid(), RLIMIT_FSIZE, &limit, nullptr), 0);
    EXPECT_EQ(walferry.Wait(), 1);
    const std::string last = Complaints(walferry.err()).back();
    EXPECT_THAT(last, testing::AllOf(HasSubstr("walferry: "), HasSubstr("--work-dir"))) << walferry.err();
    ExpectReadable(last);
  }
  arguments.insert(arguments.end(), {"--work-dir", "/dev/null/walferry"});
  const WalferryRun no_directory = RunWalferry(Arguments(arguments));
  EXPECT_EQ(no_directory.exit_code, 1);
  EXPECT_THAT(no_directory.err, testing::AllOf(HasSubstr("/dev/null/walferry"), HasSubstr("--work-dir")));
  const WalferryRun again = RunWalferry(Arguments(migrate));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  ExpectEqualContent(pair);
}

// Debian's pgbouncer in front of the target, giving out server connections by transaction.
class Pooler {
 public:
  Pooler() {
    directory_ = testing::TempDir() + "walferry-pooler-XXXXXX";
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    std::filesystem::permissions(directory_, std::filesystem::perms::all);
    std::ofstream(directory_ + "/users") << "\"postgres\" \"\"\n";
    port_ = 20000 + getpid() % 9000;
    std::ofstream(directory_ + "/ini") << absl::StrFormat(
        "[databases]\n* = host=127.0.0.1 port=%d\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\n"
        "unix_socket_dir =\nauth_type = trust\nauth_file = %s/users\npool_mode = transaction\n"
        "ignore_startup_parameters = extra_float_digits,options\n%s",
        TargetServer().port(), port_, directory_, geteuid() == 0 ? "user = postgres\n" : "");
    ChildOptions options;
    options.argv = {"/usr/sbin/pgbouncer", directory_ + "/ini"};
    options.stdout_path = options.stderr_path = directory_ + "/log";
    absl::StatusOr<ChildProcess> started = ChildProcess::Start(options);
    EXPECT_TRUE(started.ok()) << started.status();
    if (started.ok()) process_ = *std::move(started);
  }
  ~Pooler() {
    process_.reset();
    std::filesystem::remove_all(directory_);
  }
  Pooler(const Pooler&) = delete;
  Pooler& operator=(const Pooler&) = delete;

  std::string Conninfo(const std::string& database) const {
    return absl::StrFormat("host=127.0.0.1 port=%d user=postgres dbname=%s", port_, database);
  }
  std::string log() const { return ReadTextFile(directory_ + "/log"); }

 private:
  std::string directory_;
  int port_ = 0;
  std::optional<ChildProcess> process_;
};

TEST_F(BadInput, TargetThroughATransactionPoolerIsRefused) {
  if (!std::filesystem::exists("/usr/sbin/pgbouncer")) GTEST_SKIP() << "pgbouncer is not installed";
  const Pooler pooler;
  ConnectOptions options;
  options.conninfo = pooler.Conninfo(pair.name());
  ASSERT_TRUE(WaitUntil([&] { return Connection::Open(options).ok(); }, absl::Seconds(20))) << pooler.log();
  for (const std::string command : {"migrate", "copy"}) {
    ExpectRefused({command, "--target", pooler.Conninfo(pair.name())}, 3,
                  {"pooler in transaction mode", "direct"});
  }
}

}  // namespace
}  // namespace walferry
