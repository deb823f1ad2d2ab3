// Statements on the source that need locks of tables. A request that waits for a lock stands in line before
// all later ones: behind a session that holds a table for long, the source's application would wait for us.
// So each waits for seconds only, is given up, and made again after a pause.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "stream/connection.h"

namespace walferry {

struct TableName;

struct LockRetry {
  // How long to try again; then the last refusal is the error (kUnavailable, 55P03), with who holds the lock.
  absl::Duration retry_for = absl::Minutes(10);
  // If set: told once who holds the lock that is waited for.
  std::function<void(const std::string&)> waiting = nullptr;
};

// Whether the error says that a lock was not to be had in time.
bool IsLockNotAvailable(const absl::Status& status);

// Who keeps us from locking one of the tables: "table public.t is locked by a session of the source (pid 12,
// application psql, role app, in a transaction for 30 s)"; empty where nobody does any more. No tables: any
// of the users'. `modes` are those of pg_locks that are in the way, as an array: "{AccessExclusiveLock}".
absl::StatusOr<std::string> DescribeLockHolder(Connection& source, const std::vector<TableName>& tables,
                                               const std::string& modes);

// What is in the way of LOCK TABLE … IN ACCESS SHARE MODE and of reading, and of CREATE PUBLICATION.
inline constexpr char kAgainstAccessShare[] = "{AccessExclusiveLock}";
inline constexpr char kAgainstShareUpdateExclusive[] =
    "{ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}";

// Executes `sql` outside of a transaction, each time with a limit for locks (kSourceLockTimeout).
absl::Status ExecuteWithLockRetry(Connection& source, const std::string& sql,
                                  const std::vector<TableName>& tables, const std::string& modes,
                                  const LockRetry& retry);

}  // namespace walferry
