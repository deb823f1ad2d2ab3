// Transactions of the source that have written and are not over: what they wrote is in no stream yet, and
// will be when they commit.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "stream/connection.h"

namespace walferry {

struct OpenTransaction {
  std::int64_t pid = 0;     // 0: prepared.
  std::string identity;     // Its xid and pid, or the name that it was prepared under.
  std::string description;  // "pid 4711 (application psql, user app, open for 20 s)"
  std::string command;      // That ends it.
};

// Of the source's database, without walferry's own and autovacuum.
absl::StatusOr<std::vector<OpenTransaction>> ListOpenTransactions(Connection& source);

// Those that are still open after a moment: an application at work always has some that are not.
absl::StatusOr<std::vector<OpenTransaction>> ListLastingTransactions(Connection& source);

// Keeps of `transactions` what is among `now`, too.
void KeepStillOpen(std::vector<OpenTransaction>& transactions, const std::vector<OpenTransaction>& now);

// "pid 4711 (…), and 3 more"
std::string Describe(const std::vector<OpenTransaction>& transactions);

}  // namespace walferry
