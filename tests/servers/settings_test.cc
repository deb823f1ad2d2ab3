// Databases and roles whose sessions have settings of their own, on either side: values arrive as they are,
// and verify says so.
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using ::testing::HasSubstr;

// What the text of each of these depends on: a setting, as a rule.
constexpr const char* kTable = R"sql(
CREATE TYPE pair AS (m money, b bytea, a text[]);
CREATE TABLE t (id int PRIMARY KEY, m money, ms money[], a text[], x xml, b bytea, f real, d float8, i interval,
  day date, ts timestamp, tsz timestamptz, ttz timetz, r tstzrange, v text DEFAULT 'a\b', p pair, n numeric, g regtype);
CREATE TABLE keyed (m money, i interval, tsz timestamptz, b bytea, n int, PRIMARY KEY (m, i, tsz, b));
CREATE TABLE lone (m money, a text[]); ALTER TABLE lone REPLICA IDENTITY FULL;
)sql";

constexpr const char* kRows = R"sql(
INSERT INTO t SELECT n, (n * 1234.56)::numeric::money, ARRAY[NULL, (0 - n)::numeric::money], ARRAY[NULL, 'NULL', 'x\y', ''],
  'a<b/>c', '\x00275cff', 1.1754944e-38, 0.1 + n, '-1 year 2 mons -3 days +04:05:06.789', '2024-01-02', '2024-01-02 03:04:05.678',
  '2024-06-30 23:00+00', '12:00+05:45', '[2024-01-02 00:00+00,)', 'c:\temp''s', ROW(n::numeric::money, '\x5c'::bytea, ARRAY[NULL, 'q'])::pair,
  1.50, 'timestamptz' FROM generate_series($1, $1 + 1) n;
INSERT INTO keyed SELECT (n * 1000.25)::numeric::money, '-1 day +02:00', '2024-03-31 01:30+00', '\x5c27', n FROM generate_series($1, $1 + 1) n;
INSERT INTO lone VALUES ($1::numeric::money, ARRAY[NULL, 'a']);
)sql";

constexpr const char* kChanges = R"sql(
UPDATE t SET m = m * 2, a = a || NULL::text WHERE id = 1; DELETE FROM t WHERE id = 2;
UPDATE keyed SET n = 10 WHERE n = 1; DELETE FROM keyed WHERE n = 2;
UPDATE lone SET a = ARRAY[NULL, 'b'] WHERE m = 1::numeric::money;
)sql";

std::string RowsFrom(int first) {
  std::string sql = kRows;
  for (std::size_t at; (at = sql.find("$1")) != std::string::npos;) sql.replace(at, 2, std::to_string(first));
  return sql;
}

// Lists of other values for everything that stream/session_settings.cc pins.
const std::vector<std::string> kOneWay = {"client_encoding = 'LATIN1'",
                                          "standard_conforming_strings = off",
                                          "backslash_quote = off",
                                          "transform_null_equals = on",
                                          "search_path = 'pg_temp'",
                                          "row_security = on",
                                          "DateStyle = 'German, DMY'",
                                          "IntervalStyle = 'sql_standard'",
                                          "TimeZone = 'Asia/Kathmandu'",
                                          "extra_float_digits = -15",
                                          "bytea_output = 'escape'",
                                          "lc_monetary = 'de_DE.utf8'",
                                          "array_nulls = off",
                                          "xmloption = document",
                                          "quote_all_identifiers = on",
                                          "statement_timeout = '1500ms'",
                                          "lock_timeout = '1ms'",
                                          "idle_in_transaction_session_timeout = '300ms'",
                                          "idle_session_timeout = '300ms'",
                                          "exit_on_error = on",
                                          "default_transaction_read_only = on",
                                          "default_transaction_isolation = serializable",
                                          "default_transaction_deferrable = on",
                                          "synchronous_commit = off",
                                          "client_min_messages = debug1",
                                          "lc_numeric = 'de_DE.utf8'",
                                          "lc_time = 'de_DE.utf8'",
                                          "xmlbinary = hex",
                                          "timezone_abbreviations = 'India'",
                                          "default_transaction_deferrable = on",
                                          "check_function_bodies = on",
                                          "synchronize_seqscans = on"};
const std::vector<std::string> kAnotherWay = {"DateStyle = 'SQL, DMY'",        "IntervalStyle = 'iso_8601'",
                                              "TimeZone = 'America/St_Johns'", "extra_float_digits = 0",
                                              "lc_monetary = 'es_EC.utf8'",    "bytea_output = 'escape'",
                                              "lc_numeric = 'fr_FR.utf8'"};

class Settings : public MigrationTest {
 protected:
  // "DATABASE x" or "ROLE x", by a connection that keeps its own settings.
  static void SetAll(Connection& connection, const std::string& whose,
                     const std::vector<std::string>& settings) {
    for (const std::string& setting : settings) RunSql(connection, "ALTER " + whose + " SET " + setting);
  }
  std::string Database() const { return "DATABASE " + QuoteIdentifier(pair_.name()); }

  // The whole way of a migration as `user`.
  void ExpectAllArrives(const std::string& user, const std::string& binary) {
    RunOnSource(kTable);
    RunOnSource(RowsFrom(1));
    Succeed("migrate", user, {"--until", "caught-up"});
    ExpectSameRows();
    RunOnSource(RowsFrom(11));
    RunOnSource(kChanges);
    Succeed("migrate", user, {"--until", "caught-up", "--binary", binary});
    ExpectSameRows();
    Succeed("verify", user, {});
    RunOnTarget("UPDATE t SET m = m + '0.01'::money WHERE id = 1");
    EXPECT_EQ(Run("verify", user, {}).exit_code, 4);
    RunOnTarget("UPDATE t SET m = m - '0.01'::money WHERE id = 1");
    Succeed("cutover", user, {"--fence", "none"});
    ExpectSame("SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'public.t'::regclass");
  }
  void ExpectSameRows() {
    ExpectEqualContent(pair_);
    ExpectSame(
        "SELECT id, cash_send(m), array_send(ms), array_send(a), float4send(f), float8send(d), "
        "interval_send(i), timestamptz_send(tsz), record_send(p), v FROM t ORDER BY id");
    ExpectSame("SELECT cash_send(m), interval_send(i), timestamptz_send(tsz), b, n FROM keyed ORDER BY n");
    EXPECT_EQ(Target("SELECT count(*) FROM t WHERE a[1] IS NOT NULL OR a[2] IS NULL"), "0");
  }
  WalferryRun Run(const std::string& command, const std::string& user, std::vector<std::string> extra) {
    std::vector<std::string> arguments = Arguments(command, extra);
    for (std::string& argument : arguments) {
      const bool is_conninfo = argument == pair_.source_conninfo() || argument == pair_.target_conninfo();
      if (is_conninfo && !user.empty()) argument += " user=" + user;
    }
    return RunWalferry(arguments);
  }
  void Succeed(const std::string& command, const std::string& user, std::vector<std::string> extra) {
    const WalferryRun run = Run(command, user, std::move(extra));
    EXPECT_EQ(run.exit_code, 0) << command << ": " << run.out << run.err;
  }
};

TEST_F(Settings, OfAHostileSourceDatabase) {
  SetAll(pair_.source(), Database(), kOneWay);
  ExpectAllArrives("", "off");
}

TEST_F(Settings, OfAHostileTargetDatabase) {
  SetAll(pair_.target(), Database(), {kOneWay.begin(), kOneWay.end()});
  // What check would stop at, with good reason.
  RunSql(pair_.target(), "ALTER " + Database() + " RESET default_transaction_read_only");
  ExpectAllArrives("", "off");
}

TEST_F(Settings, OfDatabasesHostileInDifferentWays) {
  SetAll(pair_.source(), Database(), kOneWay);
  SetAll(pair_.target(), Database(), kAnotherWay);
  ExpectAllArrives("", "on");
}

TEST_F(Settings, OfHostileRoles) {
  const std::string role = pair_.name() + "_hostile";
  for (Connection* connection : {&pair_.source(), &pair_.target()}) {
    RunSql(*connection, "CREATE ROLE " + role + " SUPERUSER LOGIN");
    SetAll(*connection, "ROLE " + role, connection == &pair_.source() ? kAnotherWay : kOneWay);
  }
  RunSql(pair_.target(), "ALTER ROLE " + role + " RESET default_transaction_read_only");
  ExpectAllArrives(role, "off");
}

// The number that is stored is 1234 cents, or 1234 yen.
TEST_F(Settings, AmountsWithOtherDigitsOnTheTargetAreRefused) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, m money); INSERT INTO t VALUES (1, '12.34')");
  SetAll(pair_.target(), Database(), {"lc_monetary = 'ja_JP.utf8'"});
  const WalferryRun run = Run("migrate", "", {"--until", "caught-up"});
  EXPECT_NE(run.exit_code, 0);
  EXPECT_THAT(run.err, HasSubstr("lc_monetary"));
  EXPECT_EQ(Target("SELECT count(*) FROM pg_class WHERE relname = 't'"), "0");
}

}  // namespace
}  // namespace walferry
