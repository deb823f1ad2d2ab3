#include "tools/open_transactions.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "tools/quantity.h"

namespace walferry {
namespace {

// backend_xid is shown to every role. backend_type and xact_start of other roles' sessions are NULL to
// whoever is no member of pg_read_all_stats: what cannot be told apart counts as an application. Autovacuum
// has no user.
constexpr char kOpen[] = R"sql(
SELECT a.pid, a.backend_xid::text, a.application_name, a.usename,
  extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::bigint
FROM pg_catalog.pg_stat_activity a
WHERE a.backend_xid IS NOT NULL AND a.datname = pg_catalog.current_database()
  AND a.pid <> pg_catalog.pg_backend_pid()
  AND CASE WHEN a.backend_type IS NULL THEN a.usesysid IS NOT NULL
           ELSE a.backend_type NOT IN ('autovacuum worker', 'walsender') END
ORDER BY a.xact_start NULLS FIRST, a.pid)sql";

constexpr char kPrepared[] = R"sql(
SELECT gid, owner, extract(epoch FROM pg_catalog.clock_timestamp() - prepared)::bigint
FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database() ORDER BY prepared)sql";

// What an application has open for longer is worth a word.
constexpr absl::Duration kMoment = absl::Seconds(1);
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(100);

std::string Age(const Result& rows, int row, int column) {
  if (rows.IsNull(row, column)) return "";
  return ", open for " + FormatTimeSpan(absl::Seconds(rows.GetInt(row, column)));
}

}  // namespace

absl::StatusOr<std::vector<OpenTransaction>> ListOpenTransactions(Connection& source) {
  std::vector<OpenTransaction> open;
  WF_ASSIGN_OR_RETURN(const Result running, source.Execute(kOpen));
  for (int row = 0; row < running.rows(); ++row) {
    open.push_back(
        {.pid = running.GetInt(row, 0),
         .identity = absl::StrFormat("%s of %s", running.Get(row, 1), running.Get(row, 0)),
         .description = absl::StrFormat("pid %s (application \"%s\", user %s%s)", running.Get(row, 0),
                                        running.Get(row, 2), running.Get(row, 3), Age(running, row, 4)),
         .command = absl::StrFormat("SELECT pg_terminate_backend(%s);", running.Get(row, 0))});
  }
  // After the others: one that is being prepared is then seen in one list at least.
  WF_ASSIGN_OR_RETURN(const Result prepared, source.Execute(kPrepared));
  for (int row = 0; row < prepared.rows(); ++row) {
    const std::string name = QuoteLiteral(prepared.Get(row, 0));
    open.push_back({.pid = 0,
                    .identity = "prepared " + name,
                    .description = absl::StrFormat("prepared transaction %s (user %s%s)", name,
                                                   prepared.Get(row, 1), Age(prepared, row, 2)),
                    .command = absl::StrFormat("COMMIT PREPARED %s; or ROLLBACK PREPARED %s;", name, name)});
  }
  return open;
}

absl::StatusOr<std::vector<OpenTransaction>> ListLastingTransactions(Connection& source) {
  WF_ASSIGN_OR_RETURN(std::vector<OpenTransaction> lasting, ListOpenTransactions(source));
  const absl::Time until = absl::Now() + kMoment;
  const auto is_prepared = [](const OpenTransaction& transaction) { return transaction.pid == 0; };
  while (!std::all_of(lasting.begin(), lasting.end(), is_prepared) && absl::Now() < until) {
    absl::SleepFor(kBetweenLooks);
    WF_ASSIGN_OR_RETURN(const std::vector<OpenTransaction> now, ListOpenTransactions(source));
    KeepStillOpen(lasting, now);
  }
  return lasting;
}

void KeepStillOpen(std::vector<OpenTransaction>& transactions, const std::vector<OpenTransaction>& now) {
  std::erase_if(transactions, [&](const OpenTransaction& transaction) {
    return std::none_of(now.begin(), now.end(),
                        [&](const OpenTransaction& other) { return other.identity == transaction.identity; });
  });
}

std::string Describe(const std::vector<OpenTransaction>& transactions) {
  std::string text;
  for (const OpenTransaction& transaction : transactions) {
    if (!text.empty()) text += ", ";
    text += transaction.description;
  }
  return text;
}

}  // namespace walferry
