// Tested by tests/apply/schema_settings_test.cc.
#include "apply/dump_session.h"

#include <cstdlib>

#include "apply/dump_program.h"
#include "apply/retry.h"
#include "apply/schema.h"
#include "stream/publication.h"

namespace walferry {
namespace {

// As kSourceLockTimeout.
constexpr char kLockTimeout[] = "--lock-wait-timeout=5s";

// Amounts in definitions are seldom, and need a type that is one: money, or an array of it.
constexpr char kPrintSettings[] = R"sql(
SELECT w.name, w.value
FROM (VALUES ('standard_conforming_strings', 'on'), ('quote_all_identifiers', 'off'), ('bytea_output', 'hex'),
             ('lc_monetary', 'C')) w (name, value)
JOIN pg_catalog.pg_settings s ON s.name = w.name
WHERE s.reset_val <> w.value AND (w.name <> 'lc_monetary'
  OR EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE atttypid IN (790, 791))
  OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE typbasetype IN (790, 791))
  OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE oid >= 16384 AND 790 = ANY (proargtypes)))
ORDER BY 1)sql";

// The value of an option that is added to a conninfo string.
std::string QuoteConninfoValue(const std::string& value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}

absl::StatusOr<Connection> Connect(const std::string& source, const StopSignal& stop) {
  return Connection::Open({.conninfo = source, .settings = {}, .stop = &stop});
}

// A dump that failed at its locks, in whatever language the server says so: as an error that passes, with
// who holds the lock.
absl::Status ExplainLocked(const absl::Status& failed, const std::string& source, const StopSignal& stop) {
  if (MessageOf(failed).find("LOCK TABLE") == std::string_view::npos) return failed;
  WF_ASSIGN_OR_RETURN(Connection connection, Connect(source, stop));
  WF_ASSIGN_OR_RETURN(const std::string holder, DescribeLockHolder(connection, {}, kAgainstAccessShare));
  if (holder.empty()) return failed;
  return Errorf(absl::StatusCode::kUnavailable, "%s (%s)", holder, MessageOf(failed));
}

}  // namespace

absl::StatusOr<ChildConninfo> DumpConninfo(const std::string& source, const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(ChildConninfo conninfo, ConninfoForChild(source));
  WF_ASSIGN_OR_RETURN(Connection connection, Connect(source, stop));
  WF_ASSIGN_OR_RETURN(const Result needed, connection.Execute(kPrintSettings));
  if (needed.rows() == 0) return conninfo;
  WF_ASSIGN_OR_RETURN(const ConninfoOptions given, ParseConninfo(source));
  const char* const in_environment = std::getenv("PGOPTIONS");
  std::string options(ValueOf(given, "options"));
  if (options.empty() && in_environment != nullptr) options = in_environment;
  for (int row = 0; row < needed.rows(); ++row) {
    options += absl::StrFormat(" -c %s=%s", needed.Get(row, 0), needed.Get(row, 1));
  }
  conninfo.conninfo += " options=" + QuoteConninfoValue(options);  // The last one counts.
  return conninfo;
}

absl::StatusOr<std::string> RunDump(std::vector<std::string> argv,
                                    const std::vector<std::pair<std::string, std::string>>& environment,
                                    const SchemaDumpOptions& options, const StopSignal& stop) {
  const LockRetry& retry = options.lock_retry;
  const bool lists_anew = options.snapshot.empty() && options.only_tables.empty();
  argv.emplace_back(kLockTimeout);
  std::string script;
  bool is_first = true;
  const absl::Status run = RetryFor(retry.retry_for, stop, [&]() -> absl::Status {
    absl::StatusOr<std::string> output = RunForOutput(argv, environment, stop);
    if (!output.ok()) {
      absl::Status failed = ExplainLocked(output.status(), options.source, stop);
      if (absl::IsAborted(failed) && lists_anew)
        failed = Errorf(absl::StatusCode::kUnavailable, "%s", MessageOf(failed));
      if (std::exchange(is_first, false) && retry.waiting && IsRetryable(failed)) {
        retry.waiting(std::string(MessageOf(failed)) + ": trying again");
      }
      return failed;
    }
    script = *std::move(output);
    return absl::OkStatus();
  });
  WF_RETURN_IF_ERROR(run);
  return script;
}

}  // namespace walferry
