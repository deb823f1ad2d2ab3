// A migration between servers that want TLS and SCRAM passwords, end to end, and where no password may show.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include "tests/support/server_pair.h"
#include "tests/support/walferry_process.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kSourcePassword = "sourceSecret11";
constexpr const char* kTargetPassword = "targetSecret22";

std::string MachineAddress() {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return "";
  std::string found;
  for (const ifaddrs* one = all; one != nullptr && found.empty(); one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    if ((one->ifa_flags & IFF_LOOPBACK) != 0 || (one->ifa_flags & IFF_UP) == 0) continue;
    char text[INET_ADDRSTRLEN] = "";
    const auto* address = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
    if (inet_ntop(AF_INET, &address->sin_addr, text, sizeof text) != nullptr) found = text;
  }
  freeifaddrs(all);
  return found;
}

std::unique_ptr<ThrowawayServer> StartTlsServer(const std::string& name, const std::string& password) {
  ThrowawayServerOptions options;
  options.name = name;
  options.password = password;
  options.tls = true;
  if (const std::string address = MachineAddress(); !address.empty()) {
    options.settings = {{"listen_addresses", "127.0.0.1," + address}};
  }
  auto server = ThrowawayServer::Start(options);
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

// A file that only we may read, as libpq demands of password files.
class PrivateFile {
 public:
  explicit PrivateFile(const std::string& text) {
    path_ = testing::TempDir() + "walferry-passwords-XXXXXX";
    const int fd = mkstemp(path_.data());
    EXPECT_GE(fd, 0);
    close(fd);
    std::ofstream(path_) << text;
  }
  ~PrivateFile() { std::filesystem::remove(path_); }
  PrivateFile(const PrivateFile&) = delete;
  PrivateFile& operator=(const PrivateFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class Tls : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    source_server = StartTlsServer("tls-source", kSourcePassword);
    target_server = StartTlsServer("tls-target", kTargetPassword);
  }
  static void TearDownTestSuite() {
    source_server.reset();
    target_server.reset();
  }

  void SetUp() override {
    for (ThrowawayServer* server : {source_server.get(), target_server.get()}) {
      Connection connection = MustConnect(server->Conninfo("postgres"));
      RunSql(connection, "drop database if exists shop with (force)");
      RunSql(connection, "create database shop");
    }
    source.emplace(MustConnect(source_server->Conninfo("shop")));
    target.emplace(MustConnect(target_server->Conninfo("shop")));
    RunSql(*source,
           "create table item (id int primary key, name text); create table root (id int) partition by range "
           "(id); "
           "insert into item select g, 'item ' || g from generate_series(1, 2000) g");
  }

  void TearDown() override {
    RunWalferry({"cleanup", "--yes", "--source", source_server->Conninfo("shop"), "--target",
                 target_server->Conninfo("shop")});
  }

  static std::string Verified(const ThrowawayServer& server, const std::string& more = "") {
    return absl::StrFormat(
        "host=localhost port=%d user=postgres dbname=shop sslmode=verify-full sslrootcert=%s %s",
        server.port(), server.ca_file(), more);
  }

  static std::string VerifiedUri(const ThrowawayServer& server, const std::string& password) {
    return absl::StrFormat("postgresql://postgres:%s@localhost:%d/shop?sslmode=verify-full&sslrootcert=%s",
                           password, server.port(), server.ca_file());
  }

  static std::string PasswordLines() {
    return absl::StrFormat("localhost:%d:*:postgres:%s\nlocalhost:%d:*:postgres:%s\n", source_server->port(),
                           kSourcePassword, target_server->port(), kTargetPassword);
  }

  // What `ps` shows of a process and its children.
  static std::string CommandLines(pid_t parent) {
    std::string lines;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string pid = entry.path().filename();
      if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
      const std::string status = ReadTextFile(entry.path() / "status");
      const bool child = status.find(absl::StrFormat("\nPPid:\t%d\n", parent)) != std::string::npos;
      if (child || pid == std::to_string(parent)) lines += ReadTextFile(entry.path() / "cmdline") + "\n";
    }
    std::replace(lines.begin(), lines.end(), '\0', ' ');
    return lines;
  }

  static std::string StateText(Connection& connection) {
    std::string text;
    for (const std::string table : {"migration", "lane", "table_state", "schema_object", "event"}) {
      text += QueryText(connection, "select t::text from walferry." + table + " t") + "\n";
    }
    return text;
  }

  static void ExpectNoPassword(const std::string& text) {
    EXPECT_THAT(text, AllOf(Not(HasSubstr(kSourcePassword)), Not(HasSubstr(kTargetPassword))));
  }

  // Migrates, looks at the connections, the processes and the state while it follows, and compares.
  void ExpectMigrates(const std::vector<std::string>& connections, const Environment& environment) {
    std::vector<std::string> arguments = {"migrate", "--log-level", "debug"};
    arguments.insert(arguments.end(), connections.begin(), connections.end());
    WalferryProcess walferry(arguments, environment);
    ASSERT_TRUE(WaitUntil([&] { return walferry.err().find("Streaming from") != std::string::npos; }))
        << walferry.err();
    for (Connection* side : {&*source, &*target}) {
      EXPECT_EQ(
          QueryText(*side,
                    "select count(*) from pg_stat_activity join pg_stat_ssl using (pid) where not ssl and "
                    "application_name like 'walferry %'"),
          "0");
      EXPECT_NE(QueryText(*side,
                          "select count(*) from pg_stat_activity join pg_stat_ssl using (pid) where ssl and "
                          "application_name like 'walferry %'"),
                "0");
    }
    RunSql(*source, "update item set name = 'changed' where id % 3 = 0");
    EXPECT_TRUE(WaitUntil(
        [&] { return QueryText(*target, "select count(*) from item where name = 'changed'") == "666"; }));
    ExpectNoPassword(CommandLines(walferry.pid()));
    ExpectNoPassword(StateText(*target));
    walferry.Signal(SIGTERM);
    EXPECT_EQ(walferry.Wait(), 0);
    ExpectNoPassword(walferry.err() + walferry.out());
    EXPECT_EQ(TableContents(*source), TableContents(*target));
  }

  static std::unique_ptr<ThrowawayServer> source_server;
  static std::unique_ptr<ThrowawayServer> target_server;
  std::optional<Connection> source;
  std::optional<Connection> target;
};

std::unique_ptr<ThrowawayServer> Tls::source_server;
std::unique_ptr<ThrowawayServer> Tls::target_server;

TEST_F(Tls, MigratesWithPasswordsOfTheUsersFile) {
  const PrivateFile passwords(PasswordLines());
  ExpectMigrates({"--source", Verified(*source_server), "--target", Verified(*target_server)},
                 {{"PGPASSFILE", passwords.path()}});
}

TEST_F(Tls, MigratesWithAFileNamedInTheConninfo) {
  const PrivateFile passwords(PasswordLines());
  const std::string passfile = "passfile=" + passwords.path();
  ExpectMigrates(
      {"--source", Verified(*source_server, passfile), "--target", Verified(*target_server, passfile)}, {});
}

TEST_F(Tls, MigratesWithUrisOnTheCommandLineAndHidesThem) {
  ExpectMigrates({"--source", VerifiedUri(*source_server, kSourcePassword), "--target",
                  VerifiedUri(*target_server, kTargetPassword)},
                 {});
}

TEST_F(Tls, DumpProgramGetsItsPasswordUnseen) {
  // With a lock on what only pg_dump wants, it is caught at work. `copy` waits for no transaction.
  Connection holder = MustConnect(source_server->Conninfo("shop"));
  RunSql(holder, "begin; lock table root in access exclusive mode");
  WalferryProcess walferry({"copy", "--source", VerifiedUri(*source_server, kSourcePassword), "--target",
                            VerifiedUri(*target_server, kTargetPassword)});
  const auto dump_waits = [&] {
    return QueryText(*source,
                     "select count(*) from pg_stat_activity join pg_stat_ssl using (pid) where ssl and "
                     "query like 'LOCK TABLE%' and wait_event_type = 'Lock'") == "1";
  };
  ASSERT_TRUE(WaitUntil(dump_waits, absl::Seconds(30))) << walferry.err();
  const std::string lines = CommandLines(walferry.pid());
  EXPECT_THAT(lines, HasSubstr("pg_dump"));
  ExpectNoPassword(lines);
  RunSql(holder, "rollback");
  EXPECT_EQ(walferry.Wait(), 0) << walferry.err();
  ExpectNoPassword(walferry.err());
  EXPECT_EQ(TableContents(*source), TableContents(*target));
}

TEST_F(Tls, ServerWhoseCertificateDoesNotFitIsRefusedAtOnce) {
  const PrivateFile passwords(PasswordLines());
  const Environment environment = {{"PGPASSFILE", passwords.path()}};
  const std::string other_authority =
      absl::StrFormat("host=localhost port=%d user=postgres dbname=shop sslmode=verify-full sslrootcert=%s",
                      source_server->port(), target_server->ca_file());
  const WalferryRun untrusted = RunWalferry(
      {"migrate", "--source", other_authority, "--target", Verified(*target_server)}, environment);
  EXPECT_EQ(untrusted.exit_code, 1);
  EXPECT_THAT(untrusted.err,
              AllOf(HasSubstr("cannot connect to the source"), HasSubstr("certificate verify failed")));
  const std::string other_name = absl::StrFormat(
      "host=elsewhere hostaddr=127.0.0.1 port=%d user=postgres dbname=shop sslmode=verify-full "
      "sslrootcert=%s password=%s",
      target_server->port(), target_server->ca_file(), kTargetPassword);
  const WalferryRun misnamed =
      RunWalferry({"migrate", "--source", Verified(*source_server), "--target", other_name}, environment);
  EXPECT_EQ(misnamed.exit_code, 1);
  EXPECT_THAT(misnamed.err, AllOf(HasSubstr("cannot connect to the target"), HasSubstr("elsewhere")));
}

TEST_F(Tls, TargetOnAnotherMachineNeedsVerifiedTls) {
  const std::string address = MachineAddress();
  if (address.empty()) GTEST_SKIP() << "this machine has no address but the loopback's";
  std::ofstream(target_server->directory() + "/data/pg_hba.conf", std::ios::app)
      << "host all all " << address << "/32 scram-sha-256\n";
  Connection admin = MustConnect(target_server->Conninfo("postgres"));
  RunSql(admin, "select pg_reload_conf()");
  const std::string insecure = absl::StrFormat("host=%s port=%d user=postgres dbname=shop password=%s",
                                               address, target_server->port(), kTargetPassword);
  const std::string source_conninfo = source_server->Conninfo("shop");
  ConnectOptions probe;
  probe.conninfo = insecure;
  ASSERT_TRUE(WaitUntil([&] { return Connection::Open(probe).ok(); }, absl::Seconds(20)));
  for (const std::string command : {"migrate", "copy", "stream"}) {
    for (const std::string mode : {"disable", "require"}) {
      const WalferryRun refused =
          RunWalferry({command, "--source", source_conninfo, "--target", insecure + " sslmode=" + mode});
      EXPECT_EQ(refused.exit_code, 1) << command << mode << refused.err;
      EXPECT_THAT(refused.err, AllOf(HasSubstr("sslmode=verify-full"), HasSubstr("--allow-insecure-target")));
    }
  }
  EXPECT_EQ(QueryText(*target, "select count(*) from pg_class where relname in ('item', 'migration')"), "0");
  const std::vector<std::string> copy = {"copy", "--source", source_conninfo, "--target"};
  auto accepted = copy;
  accepted.insert(accepted.end(), {insecure, "--allow-insecure-target"});
  const WalferryRun risk_taken = RunWalferry(accepted);
  EXPECT_EQ(risk_taken.exit_code, 0) << risk_taken.err;
  RunSql(*target, "drop table item, root");
  auto verified = copy;
  verified.push_back(Verified(*target_server, "hostaddr=" + address + " password=" + kTargetPassword));
  const WalferryRun safe = RunWalferry(verified);
  EXPECT_EQ(safe.exit_code, 0) << safe.err;
  EXPECT_EQ(TableContents(*source), TableContents(*target));
}

}  // namespace
}  // namespace walferry
