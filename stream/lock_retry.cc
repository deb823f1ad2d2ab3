// Tested by tests/stream/lock_retry_test.cc
#include "stream/lock_retry.h"

#include "absl/time/clock.h"
#include "stream/backoff.h"
#include "stream/publication.h"
#include "stream/session_settings.h"

namespace walferry {
namespace {

// Those that hold come before those that wait for the same, and the oldest transaction first.
constexpr char kHolders[] = R"sql(
SELECT n.nspname || '.' || c.relname, l.pid, coalesce(nullif(a.application_name, ''), '-'), coalesce(a.usename, '-'),
       coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::bigint, 0)
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.pid <> pg_catalog.pg_backend_pid() AND l.mode = ANY ($1::text[])
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND c.relkind IN ('r', 'p') AND n.nspname <> 'pg_catalog' AND %s
ORDER BY l.granted DESC, a.xact_start LIMIT 1)sql";

std::string IsOneOf(const std::vector<TableName>& tables) {
  if (tables.empty()) return "true";
  std::string list;
  for (const TableName& table : tables) {
    if (!list.empty()) list += ", ";
    list += "(" + QuoteLiteral(table.schema) + ", " + QuoteLiteral(table.name) + ")";
  }
  return "(n.nspname, c.relname) IN (" + list + ")";
}

}  // namespace

bool IsLockNotAvailable(const absl::Status& status) {
  return SqlstateOf(status) == "55P03";
}

absl::StatusOr<std::string> DescribeLockHolder(Connection& source, const std::vector<TableName>& tables,
                                               const std::string& modes) {
  WF_ASSIGN_OR_RETURN(const Result rows, source.Execute(absl::StrFormat(kHolders, IsOneOf(tables)), {modes}));
  if (rows.rows() == 0) return std::string();
  return absl::StrFormat(
      "table %s is locked by a session of the source (pid %s, application %s, role %s, in a transaction for "
      "%d s)",
      rows.Get(0, 0), rows.Get(0, 1), rows.Get(0, 2), rows.Get(0, 3), rows.GetInt(0, 4));
}

absl::Status ExecuteWithLockRetry(Connection& source, const std::string& sql,
                                  const std::vector<TableName>& tables, const std::string& modes,
                                  const LockRetry& retry) {
  const std::string limited = absl::StrFormat("SET LOCAL lock_timeout = '%s'; ", kSourceLockTimeout) + sql;
  const absl::Time give_up = absl::Now() + retry.retry_for;
  Backoff backoff;
  for (bool first = true;; first = false) {
    const absl::Status done = source.Execute(limited).status();
    if (!IsLockNotAvailable(done)) return done;
    WF_ASSIGN_OR_RETURN(std::string holder, DescribeLockHolder(source, tables, modes));
    if (holder.empty()) holder = "a lock of the source was not to be had in time";
    if (first && retry.waiting) retry.waiting(holder + ": trying again");
    const absl::Time next = absl::Now() + backoff.Next();
    if (next > give_up) {
      return WithSqlstate(Errorf(absl::StatusCode::kUnavailable, "%s, and still is after %s", holder,
                                 absl::FormatDuration(retry.retry_for)),
                          SqlstateOf(done));
    }
    // Nothing comes on an idle connection: this is a pause that a stop ends.
    const absl::Status paused = source.Wait(false, next);
    if (absl::IsCancelled(paused)) return paused;
  }
}

}  // namespace walferry
