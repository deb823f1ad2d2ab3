// Tested by tests/stream/session_settings_test.cc
#include "stream/session_settings.h"

#include <array>

#include "stream/quote.h"

namespace walferry {
namespace {

constexpr int kFirst = 0;
constexpr int kLast = 9'999'999;
constexpr auto kAlways = SettingNeed::kAlways;
constexpr auto kIfAllowed = SettingNeed::kIfAllowed;
constexpr auto kValue = SettingKind::kValue;
constexpr auto kSession = SettingKind::kSession;

// What is left to the database on purpose stands in stream/README.md.
constexpr std::array kSettings = {
    // How our statements and the server's texts are read.
    SessionSetting{"client_encoding", "UTF8", kAlways, kValue, kFirst, kLast, "dhsw",
                   "Rows of both sides have one encoding on their way."},
    SessionSetting{"standard_conforming_strings", "on", kAlways, kValue, kFirst, kLast, "h",
                   "A backslash in a literal of ours, or of pg_dump's script, is a backslash."},
    SessionSetting{"escape_string_warning", "off", kIfAllowed, kValue, kFirst, kLast, "h",
                   "Nobody reads the warnings."},
    SessionSetting{"backslash_quote", "safe_encoding", kIfAllowed, kValue, kFirst, kLast, "",
                   "E'\\'' may be read in UTF-8, whatever the database says."},
    SessionSetting{"transform_null_equals", "off", kAlways, kValue, kFirst, kLast, "",
                   "x = NULL in a statement or a view is what it says."},
    SessionSetting{"search_path", "", kAlways, kValue, kFirst, kLast, "dhsw",
                   "Names of types and tables in values (regclass) are written in full, and no object of a "
                   "user comes before the system's."},
    SessionSetting{"row_security", "off", kAlways, kValue, kFirst, kLast, "dh",
                   "A policy that would hide rows is an error."},
    // How values are written and read.
    SessionSetting{"DateStyle", "ISO, MDY", kAlways, kValue, kFirst, kLast, "ds",
                   "Dates are read as they were written."},
    SessionSetting{"IntervalStyle", "postgres", kAlways, kValue, kFirst, kLast, "ds",
                   "Signs within an interval mean the same on both sides."},
    SessionSetting{"TimeZone", "UTC", kAlways, kValue, kFirst, kLast, "",
                   "Times with zone have one text on both sides, which verify compares."},
    SessionSetting{"extra_float_digits", "3", kAlways, kValue, kFirst, kLast, "ds",
                   "Floating point numbers are written without loss."},
    SessionSetting{"bytea_output", "hex", kAlways, kValue, kFirst, kLast, "",
                   "One text for the same bytes on both sides."},
    SessionSetting{"lc_monetary", "C", kAlways, kValue, kFirst, kLast, "",
                   "The decimal point of money is a point on both sides. The stored number travels, as in "
                   "binary."},
    SessionSetting{"array_nulls", "on", kAlways, kValue, kFirst, kLast, "",
                   "NULL in an array's text is no word."},
    SessionSetting{"xmloption", "content", kAlways, kValue, kFirst, kLast, "h",
                   "An xml value that is no document can be read."},
    SessionSetting{"quote_all_identifiers", "off", kAlways, kValue, kFirst, kLast, "",
                   "Values of type regclass and regproc, and definitions, have one text on both sides."},
    // What may end a session or a statement of it.
    SessionSetting{"statement_timeout", "0", kAlways, kSession, kFirst, kLast, "dh",
                   "A copy takes as long as it takes."},
    SessionSetting{"lock_timeout", "0", kAlways, kSession, kFirst, kLast, "dh",
                   "Who needs a limit asks for it, as every session on the source does."},
    SessionSetting{"idle_in_transaction_session_timeout", "0", kAlways, kSession, kFirst, kLast, "dh",
                   "An exported snapshot lives in a transaction that waits."},
    SessionSetting{"idle_session_timeout", "0", kAlways, kSession, 140000, kLast, "",
                   "A lane without work is idle."},
    SessionSetting{"transaction_timeout", "0", kAlways, kSession, 170000, kLast, "dh",
                   "A copy is one transaction."},
    SessionSetting{"exit_on_error", "off", kAlways, kSession, kFirst, kLast, "",
                   "An error behind a savepoint does not end the session."},
    // What a transaction is.
    SessionSetting{"default_transaction_read_only", "off", kAlways, kSession, kFirst, kLast, "",
                   "Sessions of ours that write may."},
    SessionSetting{"default_transaction_isolation", "read committed", kAlways, kSession, kFirst, kLast, "",
                   "Lanes are made for it: any other fails where lanes meet."},
    SessionSetting{"default_transaction_deferrable", "off", kAlways, kSession, kFirst, kLast, "",
                   "No transaction waits for a safe snapshot."},
    SessionSetting{"synchronous_commit", "on", kAlways, kSession, kFirst, kLast, "",
                   "What was answered is durable, unless a session of ours asks for less: a position must "
                   "not be confirmed before."},
    // Peers that vanish without a word.
    SessionSetting{"tcp_keepalives_idle", "30", kIfAllowed, kSession, kFirst, kLast, "",
                   "The server's side notices within a minute and gives up locks and slot; the default is "
                   "two hours."},
    SessionSetting{"tcp_keepalives_interval", "10", kIfAllowed, kSession, kFirst, kLast, "", "As above."},
    SessionSetting{"tcp_keepalives_count", "3", kIfAllowed, kSession, kFirst, kLast, "", "As above."},
    SessionSetting{"tcp_user_timeout", "0", kIfAllowed, kSession, 120000, kLast, "",
                   "Linux counts a peer that does not read for a while as one that does not acknowledge: a "
                   "slow target must not end the source's walsender."},
    SessionSetting{"client_connection_check_interval", "10s", kIfAllowed, kSession, 140000, kLast, "",
                   "A session that waits for a lock notices that its client is gone."},
    // What would be in the way.
    SessionSetting{"client_min_messages", "warning", kIfAllowed, kSession, kFirst, kLast, "h",
                   "Nobody reads the notices; at debug5 they would be most of the traffic."},
    SessionSetting{"jit", "off", kIfAllowed, kSession, 110000, kLast, "",
                   "Queries about thousands of tables are planned as costly and read little: compiling them "
                   "takes a second each."},
    SessionSetting{"synchronize_seqscans", "off", kIfAllowed, kSession, kFirst, kLast, "d",
                   "Rows are copied in the order in which they lie."},
    SessionSetting{"default_with_oids", "off", kIfAllowed, kSession, kFirst, 120000, "h",
                   "Tables of ours and of the script have no oid column."},
    SessionSetting{"default_table_access_method", "heap", kIfAllowed, kSession, 120000, kLast, "h",
                   "Our state is updated row by row; the script names another method where it wants one."},
};

bool Knows(int server_version, const SessionSetting& setting) {
  return server_version >= setting.since && server_version < setting.until;
}

std::string SetStatement(const SessionSetting& setting) {
  return std::string("SET ") + setting.name + " = " + QuoteLiteral(setting.value);
}

}  // namespace

std::span<const SessionSetting> SessionSettings() {
  return kSettings;
}

std::string SessionSettingsSql(int server_version, SettingNeed need) {
  std::string sql;
  for (const SessionSetting& setting : kSettings) {
    if (setting.need != need || !Knows(server_version, setting)) continue;
    sql += (sql.empty() ? "" : "; ") + SetStatement(setting);
  }
  return sql;
}

std::vector<std::string> OptionalSettingStatements(int server_version) {
  std::vector<std::string> statements;
  for (const SessionSetting& setting : kSettings) {
    if (setting.need == SettingNeed::kIfAllowed && Knows(server_version, setting)) {
      statements.push_back(SetStatement(setting));
    }
  }
  return statements;
}

std::string DatabaseDefaultsSql(int server_version) {
  std::string sql;
  for (const SessionSetting& setting : kSettings) {
    const std::string_view name = setting.name;
    const bool is_ours = name == "client_encoding" || name == "search_path" || name == "row_security";
    if (setting.kind != SettingKind::kValue || is_ours || !Knows(server_version, setting)) continue;
    sql += std::string(sql.empty() ? "" : "; ") + "SET LOCAL " + setting.name + " TO DEFAULT";
  }
  return sql;
}

}  // namespace walferry
