// How connections come about: all forms of a conninfo, several hosts, passwords, TLS, limits of time,
// settings.
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "tests/stream/stream_fixture.h"

namespace walferry {
namespace {

using testing::HasSubstr;
using testing::Not;

// A port of the loopback interface at which connections are neither accepted nor refused: its queue is full.
class SilentPort {
 public:
  SilentPort() : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(listener_, generic, length), 0);
    EXPECT_EQ(listen(listener_, 0), 0);
    EXPECT_EQ(getsockname(listener_, generic, &length), 0);
    port_ = ntohs(address.sin_port);
    for (int& filler : fillers_) {
      filler = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      connect(filler, generic, length);
    }
  }
  ~SilentPort() {
    for (const int filler : fillers_) close(filler);
    close(listener_);
  }
  std::string port() const { return std::to_string(port_); }

 private:
  int listener_;
  int port_ = 0;
  std::array<int, 4> fillers_{};
};

std::string PortText() {
  return std::to_string(SharedServer().port());
}

std::string Answer(Connection connection) {
  return std::string(Must(connection.Execute("SELECT current_user || '@' || current_database()")).Get(0, 0));
}

absl::Status LoginError(const std::string& conninfo) {
  ConnectOptions options;
  options.conninfo = conninfo;
  const absl::StatusOr<Connection> connection = Connection::Open(options);
  EXPECT_FALSE(connection.ok());
  EXPECT_THAT(connection.status().ToString(), Not(HasSubstr("\n")));
  return connection.status();
}

TEST(LoginTest, AStringAUriAndAServiceLeadToTheSameServer) {
  char directory[] = "/tmp/walferry-service-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  const std::string file = std::string(directory) + "/services.conf";
  std::ofstream(file) << "[shop]\nhost=127.0.0.1\nport=" << PortText()
                      << "\nuser=postgres\ndbname=postgres\n";
  setenv("PGSERVICEFILE", file.c_str(), 1);
  EXPECT_EQ(Answer(Connect("host=127.0.0.1 user=postgres dbname=postgres port=" + PortText())),
            "postgres@postgres");
  EXPECT_EQ(Answer(Connect("postgresql://postgres@127.0.0.1:" + PortText() + "/postgres")),
            "postgres@postgres");
  EXPECT_EQ(Answer(Connect("service=shop")), "postgres@postgres");
  EXPECT_EQ(Answer(Connect("service=shop dbname=template1")), "postgres@template1");
  const absl::Status unknown = LoginError("service=nope");
  EXPECT_EQ(unknown.code(), absl::StatusCode::kFailedPrecondition) << unknown;
  unsetenv("PGSERVICEFILE");
  unlink(file.c_str());
  rmdir(directory);
}

TEST(LoginTest, ADeadFirstHostIsPassedOver) {
  EXPECT_EQ(Answer(Connect("host=127.0.0.1,127.0.0.1 user=postgres dbname=postgres port=1," + PortText())),
            "postgres@postgres");
}

TEST(LoginTest, ASilentFirstHostIsPassedOverAfterTheTimeout) {
  const SilentPort silent;
  const absl::Time begin = absl::Now();
  EXPECT_EQ(Answer(Connect("host=127.0.0.1,127.0.0.1 user=postgres dbname=postgres connect_timeout=1 port=" +
                           silent.port() + "," + PortText())),
            "postgres@postgres");
  EXPECT_GE(absl::Now() - begin, absl::Seconds(1));
}

TEST(LoginTest, SilentHostsAreUnavailableAfterTheTimeoutOfEach) {
  const SilentPort first;
  const SilentPort second;
  ConnectOptions options;
  options.conninfo = "host=127.0.0.1,127.0.0.1 port=" + first.port() + "," + second.port();
  options.connect_timeout = absl::Milliseconds(200);
  const absl::Time begin = absl::Now();
  const absl::Status status = Connection::Open(options).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("did not answer in time"));
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(400));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
}

TEST(LoginTest, AStopEndsAnAttemptToConnect) {
  const SilentPort silent;
  StopSignal stop;
  ConnectOptions options;
  options.conninfo = "host=127.0.0.1 port=" + silent.port();
  options.connect_timeout = absl::Seconds(60);
  options.stop = &stop;
  std::thread stopper([&] { stop.Request(); });
  EXPECT_TRUE(absl::IsCancelled(Connection::Open(options).status()));
  stopper.join();
}

TEST(LoginTest, ARefusedConnectionIsWorthTryingAgain) {
  const absl::Status status = LoginError("host=127.0.0.1 port=1");
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_TRUE(IsRetryable(status));
}

TEST(LoginTest, AMissingDatabaseIsNot) {
  const absl::Status status = LoginError(SharedServer().Conninfo("nowhere"));
  EXPECT_EQ(SqlstateOf(status), "3D000");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(IsRetryable(status));
  EXPECT_THAT(status.ToString(), HasSubstr("database \"nowhere\" does not exist"));
}

TEST(LoginTest, AServerThatIsAReplicaOnlyWhereOneIsWantedIsNotTaken) {
  const absl::Status status =
      LoginError(SharedServer().Conninfo("postgres") + " target_session_attrs=standby");
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

class LoginWithPasswordAndTlsTest : public testing::Test {
 protected:
  static constexpr char kPassword[] = "co'rrect horse";

  static void SetUpTestSuite() {
    server_ = Must(ThrowawayServer::Start({.name = "secure", .password = kPassword, .tls = true})).release();
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }
  // Without a password of its own.
  static std::string Base(const std::string& host) {
    return "host=" + host + " user=postgres dbname=postgres port=" + std::to_string(server_->port());
  }
  static std::string WithPassword(const std::string& host) {
    return Base(host) + " password='co\\'rrect horse'";
  }
  static std::string Verified(const std::string& mode) {
    return " sslmode=" + mode + " sslrootcert=" + server_->ca_file();
  }

  static ThrowawayServer* server_;
};
ThrowawayServer* LoginWithPasswordAndTlsTest::server_ = nullptr;

TEST_F(LoginWithPasswordAndTlsTest, TheRightPasswordOpens) {
  EXPECT_EQ(Answer(Connect(WithPassword("127.0.0.1"))), "postgres@postgres");
  EXPECT_EQ(Answer(Connect("postgres://postgres:co%27rrect%20horse@127.0.0.1:" +
                           std::to_string(server_->port()) + "/postgres")),
            "postgres@postgres");
}

TEST_F(LoginWithPasswordAndTlsTest, APasswordFileOpens) {
  char file[] = "/tmp/walferry-pgpass-XXXXXX";
  close(mkstemp(file));
  std::ofstream(file) << "127.0.0.1:*:*:postgres:" << kPassword << "\n";
  EXPECT_EQ(Answer(Connect(Base("127.0.0.1") + " passfile=" + file)), "postgres@postgres");
  unlink(file);
}

TEST_F(LoginWithPasswordAndTlsTest, AWrongPasswordIsToldByItsSqlstateAndNotShown) {
  const absl::Status status = LoginError(Base("127.0.0.1") + " password=tr0ub4dor");
  EXPECT_EQ(SqlstateOf(status), "28P01");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(IsRetryable(status));
  EXPECT_THAT(status.ToString(), HasSubstr("password authentication failed for user \"postgres\""));
  EXPECT_THAT(status.ToString(), Not(HasSubstr("tr0ub4dor")));
}

TEST_F(LoginWithPasswordAndTlsTest, AMissingPasswordIsForTheOperator) {
  const absl::Status status = LoginError(Base("127.0.0.1") + " passfile=/nonexistent");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
}

TEST_F(LoginWithPasswordAndTlsTest, VerifiedTlsIsKnownAsSuch) {
  EXPECT_TRUE(Connect(WithPassword("localhost") + Verified("verify-full")).has_verified_tls());
  EXPECT_TRUE(
      Connect(WithPassword("db.example") + " hostaddr=127.0.0.1" + Verified("verify-ca")).has_verified_tls());
  EXPECT_FALSE(Connect(WithPassword("localhost") + " sslmode=require").has_verified_tls());
  EXPECT_FALSE(Connect(WithPassword("localhost") + " sslmode=disable").has_verified_tls());
}

TEST_F(LoginWithPasswordAndTlsTest, AnotherHostsCertificateIsForTheOperator) {
  const absl::Status status =
      LoginError(WithPassword("db.example") + " hostaddr=127.0.0.1" + Verified("verify-full"));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("does not match host name"));
}

TEST_F(LoginWithPasswordAndTlsTest, AnUnknownAuthorityIsForTheOperator) {
  const absl::Status status = LoginError(
      WithPassword("localhost") + " sslmode=verify-full sslrootcert=/etc/ssl/certs/ca-certificates.crt");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
}

TEST_F(LoginWithPasswordAndTlsTest, LoopbackIsTheAddressAndNotTheName) {
  EXPECT_TRUE(Connect(WithPassword("localhost")).is_loopback());
  EXPECT_TRUE(Connect(WithPassword("db.example") + " hostaddr=127.0.0.1").is_loopback());
}

class SessionSettingsTest : public DatabaseTest {};

TEST_F(SessionSettingsTest, DefaultsOfRoleAndDatabaseDoNotReachTheTextFormats) {
  Connection admin = Connect(conninfo());
  const std::string database = QuoteIdentifier(admin.database());
  for (const char* setting :
       {"DateStyle = 'German, DMY'", "IntervalStyle = 'iso_8601'", "TimeZone = 'Asia/Kathmandu'",
        "extra_float_digits = 0", "bytea_output = 'escape'", "search_path = 'pg_temp, public'",
        "row_security = on", "statement_timeout = '1h'", "lock_timeout = '1h'",
        "idle_in_transaction_session_timeout = '1h'", "idle_session_timeout = '1h'",
        "default_transaction_read_only = on", "client_encoding = 'LATIN1'"}) {
    Must(admin.Execute("ALTER DATABASE " + database + " SET " + setting));
  }
  for (const bool replication : {false, true}) {
    Connection connection = Connect(conninfo(), replication);
    const auto show = [&](const std::string& name) {
      return std::string(Must(connection.Execute("SHOW " + name)).Get(0, 0));
    };
    EXPECT_EQ(show("DateStyle"), "ISO, MDY");
    EXPECT_EQ(show("IntervalStyle"), "postgres");
    EXPECT_EQ(show("TimeZone"), "UTC");
    EXPECT_EQ(show("extra_float_digits"), "3");
    EXPECT_EQ(show("bytea_output"), "hex");
    EXPECT_EQ(show("search_path"), "\"\"");
    EXPECT_EQ(show("row_security"), "off");
    EXPECT_EQ(show("statement_timeout"), "0");
    EXPECT_EQ(show("lock_timeout"), "0");
    EXPECT_EQ(show("idle_in_transaction_session_timeout"), "0");
    EXPECT_EQ(show("idle_session_timeout"), "0");
    EXPECT_EQ(show("default_transaction_read_only"), "off");
    EXPECT_EQ(connection.ReportedParameter("client_encoding"), "UTF8");
  }
}

TEST_F(SessionSettingsTest, OnesOwnSettingsComeOnTopAndADeniedOneIsNamed) {
  ConnectOptions options;
  options.conninfo = conninfo();
  options.settings = {{"search_path", "it's"}, {"session_replication_role", "replica"}};
  Connection connection = Must(Connection::Open(options));
  EXPECT_EQ(Must(connection.Execute("SHOW search_path")).Get(0, 0), "\"it's\"");
  EXPECT_EQ(Must(connection.Execute("SHOW session_replication_role")).Get(0, 0), "replica");

  Must(connection.Execute("CREATE ROLE session_settings_plain LOGIN"));
  options.conninfo += " user=session_settings_plain";
  const absl::Status status = Connection::Open(options).status();
  EXPECT_EQ(SqlstateOf(status), "42501");
  EXPECT_THAT(status.ToString(), HasSubstr("session_replication_role"));
  Must(connection.Execute("DROP ROLE session_settings_plain"));
}

TEST_F(SessionSettingsTest, TheApplicationNameIsOursUnlessTheConninfoNamesOne) {
  Connection ours = Connect(conninfo());
  EXPECT_EQ(Must(ours.Execute("SHOW application_name")).Get(0, 0), "walferry");
  Connection theirs = Connect(conninfo() + " application_name=mine");
  EXPECT_EQ(Must(theirs.Execute("SHOW application_name")).Get(0, 0), "mine");
}

TEST_F(SessionSettingsTest, ReplicationIsOursToSay) {
  Connection connection = Connect(conninfo() + " replication=database");
  EXPECT_EQ(Must(connection.Execute("SELECT $1::int", {"1"})).GetInt(0, 0), 1);
}

}  // namespace
}  // namespace walferry
