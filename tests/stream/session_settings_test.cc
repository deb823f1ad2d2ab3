#include "stream/session_settings.h"

#include <map>
#include <set>

#include "stream/synchronous_standby.h"
#include "tests/stream/stream_fixture.h"

namespace walferry {
namespace {

// Another value than ours for each, as a database may have it.
const std::map<std::string, std::string>& HostileValues() {
  static const std::map<std::string, std::string> values = {
      {"client_encoding", "LATIN1"},
      {"standard_conforming_strings", "off"},
      {"escape_string_warning", "on"},
      {"backslash_quote", "off"},
      {"transform_null_equals", "on"},
      {"search_path", "pg_temp, public"},
      {"row_security", "on"},
      {"DateStyle", "German, DMY"},
      {"IntervalStyle", "sql_standard"},
      {"TimeZone", "Asia/Kathmandu"},
      {"extra_float_digits", "-15"},
      {"bytea_output", "escape"},
      {"lc_monetary", "C.UTF-8"},
      {"array_nulls", "off"},
      {"xmloption", "document"},
      {"quote_all_identifiers", "on"},
      {"statement_timeout", "1h"},
      {"lock_timeout", "1h"},
      {"idle_in_transaction_session_timeout", "1h"},
      {"idle_session_timeout", "1h"},
      {"transaction_timeout", "1h"},
      {"exit_on_error", "on"},
      {"default_transaction_read_only", "on"},
      {"default_transaction_isolation", "serializable"},
      {"default_transaction_deferrable", "on"},
      {"synchronous_commit", "off"},
      {"tcp_keepalives_idle", "7000"},
      {"tcp_keepalives_interval", "70"},
      {"tcp_keepalives_count", "7"},
      {"tcp_user_timeout", "7000"},
      {"client_connection_check_interval", "1h"},
      {"client_min_messages", "debug1"},
      {"jit", "on"},
      {"synchronize_seqscans", "on"},
      {"default_with_oids", "on"},
      {"default_table_access_method", "other_heap"},
  };
  return values;
}

class SessionSettings : public DatabaseTest {
 protected:
  std::vector<SessionSetting> Known() const {
    std::vector<SessionSetting> known;
    for (const SessionSetting& setting : walferry::SessionSettings()) {
      if (version_ >= setting.since && version_ < setting.until) known.push_back(setting);
    }
    return known;
  }
  static std::string Show(Connection& connection, const std::string& name) {
    return std::string(Must(connection.Execute("SHOW " + name)).Get(0, 0));
  }
  // Its value as the server shows it.
  std::string Shown(const SessionSetting& setting) {
    if (*setting.value == '\0') return "\"\"";
    return std::string(
        Must(admin_.Execute("SELECT set_config($1, $2, true)", {setting.name, setting.value})).Get(0, 0));
  }
  void MakeHostile(const std::string& whose) {
    for (const SessionSetting& setting : Known()) {
      Must(admin_.Execute("ALTER " + whose + " SET " + setting.name + " TO " +
                          (std::string_view(setting.name) == "search_path"
                               ? HostileValues().at(setting.name)
                               : QuoteLiteral(HostileValues().at(setting.name)))));
    }
  }
  void ExpectAllPinned(const std::string& conninfo) {
    for (const bool replication : {false, true}) {
      Connection connection = Connect(conninfo, replication);
      for (const SessionSetting& setting : Known()) {
        EXPECT_EQ(Show(connection, setting.name), Shown(setting)) << setting.name << " " << replication;
      }
    }
  }

  Connection admin_ = Connect(conninfo());
  const int version_ = admin_.server_version();
};

TEST_F(SessionSettings, EachIsPinnedOnEveryConnectionWhateverTheDatabaseSays) {
  Must(admin_.Execute("CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler"));
  MakeHostile("DATABASE " + QuoteIdentifier(admin_.database()));
  ExpectAllPinned(conninfo());
}

TEST_F(SessionSettings, EachIsPinnedOnEveryConnectionWhateverTheRoleSays) {
  Must(admin_.Execute("CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler"));
  Must(admin_.Execute("CREATE ROLE hostile LOGIN REPLICATION"));
  MakeHostile("ROLE hostile IN DATABASE " + QuoteIdentifier(admin_.database()));
  ExpectAllPinned(conninfo() + " user=hostile");
  Must(admin_.Execute("DROP ROLE hostile"));
}

TEST_F(SessionSettings, EachHasAReason) {
  std::set<std::string> names;
  for (const SessionSetting& setting : walferry::SessionSettings()) {
    EXPECT_TRUE(names.insert(setting.name).second) << setting.name;
    EXPECT_NE(std::string(setting.reason), "");
    EXPECT_TRUE(HostileValues().contains(setting.name)) << setting.name << " is not tested";
  }
}

TEST_F(SessionSettings, OneThatIsRefusedAndNotNeededIsLeftOut) {
  // In this database alone.
  Must(admin_.Execute("UPDATE pg_am SET amname = 'gone' WHERE amname = 'heap'"));
  Must(admin_.Execute("ALTER DATABASE " + QuoteIdentifier(admin_.database()) + " SET array_nulls = off"));
  Connection connection = Connect(conninfo());
  EXPECT_EQ(Show(connection, "array_nulls"), "on");
  EXPECT_EQ(Show(connection, "client_min_messages"), "warning");
  Must(admin_.Execute("UPDATE pg_am SET amname = 'heap' WHERE amname = 'gone'"));
}

TEST_F(SessionSettings, TheDatabasesOwnComeBackForAUsersExpressions) {
  Must(admin_.Execute("CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler"));
  MakeHostile("DATABASE " + QuoteIdentifier(admin_.database()));
  Connection connection = Connect(conninfo());
  Must(connection.Execute("BEGIN; " + DatabaseDefaultsSql(version_)));
  EXPECT_EQ(Show(connection, "TimeZone"), "Asia/Kathmandu");
  EXPECT_EQ(Show(connection, "DateStyle"), "German, DMY");
  EXPECT_EQ(Show(connection, "lc_monetary"), "C.UTF-8");
  EXPECT_EQ(Show(connection, "search_path"), "\"\"");
  Must(connection.Execute("COMMIT"));
  EXPECT_EQ(Show(connection, "TimeZone"), "UTC");
}

// A foreign server that cannot be reached is reported by a session that lives.
TEST_F(SessionSettings, AConnectionErrorOfAStatementIsNoLostConnection) {
  const absl::Status status =
      admin_.Execute("DO $$ BEGIN RAISE 'could not connect to server \"s\"' USING ERRCODE = '08001'; END $$")
          .status();
  EXPECT_EQ(SqlstateOf(status), "08001");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(IsRetryable(status));
  EXPECT_TRUE(admin_.alive());
}

TEST(SynchronousStandby, NamesAreReadAsTheServerReadsThem) {
  for (const char* names : {"*", "FIRST 1 (a, *)", "ANY 2 (a, \"walferry m\", b)", "1 (Walferry M)",
                            "a,\"WALFERRY M\"", "\"*\""}) {
    // Without quotes a name ends at a blank: it is the server's to refuse.
    const bool unquoted = std::string_view(names) == "1 (Walferry M)";
    EXPECT_EQ(NamesAsSynchronousStandby(names, "walferry m"), !unquoted) << names;
  }
  for (const char* names : {"", "a, b", "FIRST 1 (walferry, b)", "\"walferry \"\"m\"\"\"", "\"unfinished"}) {
    EXPECT_FALSE(NamesAsSynchronousStandby(names, "walferry m")) << names;
  }
  EXPECT_TRUE(NamesAsSynchronousStandby("\"a\"\"b\"", "A\"b"));
  EXPECT_TRUE(NamesAsSynchronousStandby("s1,walferry", "walferry"));
}

}  // namespace
}  // namespace walferry
