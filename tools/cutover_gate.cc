// Tested by tests/servers/cutover_gate_test.cc.
#include "tools/cutover_gate.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <set>
#include <utility>

#include "stream/slot.h"
#include "tools/catalog_reasons.h"
#include "tools/constraint_reasons.h"
#include "tools/cutover_leftovers.h"
#include "tools/cutover_marker.h"
#include "tools/last_error.h"
#include "tools/open_transactions.h"
#include "tools/quantity.h"
#include "tools/sequence_choice.h"
#include "tools/sequence_obstacles.h"

namespace walferry {
namespace {

using Reasons = std::vector<GateReason>;

// What a cutover cannot be done without (the phase, the slot, the marker's privilege) is not among them.
constexpr std::array<std::string_view, 19> kAcceptable = {
    "open-transactions", "missing-rows",         "conflicts",        "new-tables",
    "dropped-tables",    "detached-partitions",  "renamed-tables",   "columns",
    "needs-copy",        "attached-partitions",  "replica-identity", "sequences",
    "invalid-indexes",   "last-stage",           "insert-only",      "stopped",
    "moved-partitions",  "rewritten-partitions", "unlogged-tables"};

constexpr char kInvalidIndexes[] = R"sql(
SELECT tn.nspname, t.relname, n.nspname, c.relname
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid AND c.relkind = 'i'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
WHERE NOT x.indisvalid ORDER BY 3, 4)sql";

void Append(Reasons& reasons, Reasons more) {
  std::move(more.begin(), more.end(), std::back_inserter(reasons));
}

// "app.a (3), app.b (1)"
std::string CountsOf(const std::vector<TableRecord>& tables, std::int64_t TableCounters::*counter) {
  std::string text;
  for (const TableRecord& table : tables) {
    const std::int64_t count = table.counters.*counter;
    if (count == 0) continue;
    absl::StrAppendFormat(&text, "%s%s (%s)", text.empty() ? "" : ", ", table.table.ToString(),
                          FormatCount(count));
  }
  return text;
}

Reasons CountedReasons(const std::vector<TableRecord>& tables) {
  Reasons reasons;
  const std::string missing = CountsOf(tables, &TableCounters::missing_rows);
  const std::string conflicts = CountsOf(tables, &TableCounters::conflicts);
  if (!missing.empty()) {
    reasons.push_back({"missing-rows", "updates and deletes found no row on the target: " + missing,
                       "walferry verify, and where it finds no difference walferry cutover --accept "
                       "missing-rows"});
  }
  if (!conflicts.empty()) {
    reasons.push_back({"conflicts", "changes that the target refused were skipped: " + conflicts,
                       "walferry verify, and where it finds no difference walferry cutover --accept "
                       "conflicts"});
  }
  return reasons;
}

absl::StatusOr<Reasons> InvalidIndexReasons(Connection& target, const std::vector<TableRecord>& tables) {
  const std::vector<TableName> names = NamesOf(tables);
  const std::set<TableName> ours(names.begin(), names.end());
  WF_ASSIGN_OR_RETURN(const Result rows, target.Execute(kInvalidIndexes));
  Reasons reasons;
  for (int row = 0; row < rows.rows(); ++row) {
    const TableName table{std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1))};
    if (!ours.contains(table)) continue;
    reasons.push_back({"invalid-indexes",
                       absl::StrFormat("index %s.%s of %s is invalid on the target", rows.Get(row, 2),
                                       rows.Get(row, 3), table.ToString()),
                       "REINDEX INDEX " + QuoteName(rows.Get(row, 2), rows.Get(row, 3)) + ";"});
  }
  return reasons;
}

absl::StatusOr<Reasons> SlotReasons(const GateSubject& subject) {
  const MigrationRecord& record = *subject.record;
  WF_ASSIGN_OR_RETURN(const std::optional<SlotInfo> slot,
                      InspectSlotOfDatabase(subject.source, record.slot, record.source_database));
  if (slot && slot->wal_status != "lost") return Reasons();
  return Reasons{
      {"slot",
       absl::StrFormat("slot %s is %s: what was written since %s cannot be had any more", record.slot,
                       slot ? "lost" : "gone from the source", record.confirmed.ToString()),
       "walferry cleanup, then walferry migrate into an empty target"}};
}

absl::StatusOr<Reasons> PrivilegeReasons(const GateSubject& subject) {
  WF_ASSIGN_OR_RETURN(const std::string function, MarkerFunctionWithoutExecute(subject.source));
  if (function.empty()) return Reasons();
  const std::string user = QuoteIdentifier(subject.source.user());
  return Reasons{{"privileges",
                  "user " + subject.source.user() +
                      " may not write the marker into the source's WAL (pg_logical_emit_message)",
                  "GRANT EXECUTE ON FUNCTION " + function + " TO " + user + ";"}};
}

absl::StatusOr<Reasons> SequenceReasons(const GateSubject& subject) {
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, LoadTables(subject.target, subject.name));
  WF_ASSIGN_OR_RETURN(const SequenceChoice choice,
                      ReadSequenceChoice(subject.source, NamesOf(tables), subject.tables));
  WF_ASSIGN_OR_RETURN(std::vector<SequenceObstacle> obstacles,
                      FindSequenceObstacles(subject.source, subject.target, choice));
  Reasons reasons;
  for (SequenceObstacle& obstacle : obstacles) {
    reasons.push_back({"sequences", std::move(obstacle.text), std::move(obstacle.command)});
  }
  return reasons;
}

}  // namespace

absl::StatusOr<std::vector<GateReason>> PhaseReasons(Connection& target,
                                                     const std::optional<MigrationRecord>& record,
                                                     const std::string& name) {
  if (!record) {
    return Reasons{{"no-migration", "there is no migration " + name + " on the target", "walferry migrate"}};
  }
  if (record->phase == Phase::kDone) {
    WF_ASSIGN_OR_RETURN(const std::vector<Leftover> leftovers, ListLeftovers(target, name));
    if (leftovers.empty()) {
      return Reasons{{"phase", "migration " + name + " was cut over already", "walferry cleanup"}};
    }
    return Reasons{{"left-over",
                    "migration " + name + " was cut over, but this is left over: " + Describe(leftovers),
                    "walferry cutover again"}};
  }
  if (record->phase < Phase::kCatchUp) {
    return Reasons{
        {"phase",
         absl::StrFormat("migration %s is in phase %s and has to finish the copy and catch up first", name,
                         PhaseName(record->phase)),
         "walferry migrate"}};
  }
  return Reasons();
}

absl::StatusOr<std::vector<GateReason>> OpenTransactionReasons(Connection& source) {
  WF_ASSIGN_OR_RETURN(const std::vector<OpenTransaction> open, ListLastingTransactions(source));
  Reasons reasons;
  for (const OpenTransaction& transaction : open) {
    reasons.push_back({"open-transactions",
                       transaction.description + " has written on the source and is not over",
                       transaction.command});
  }
  return reasons;
}

absl::StatusOr<std::vector<GateReason>> TargetReasons(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, LoadTables(target, name));
  Reasons reasons = CountedReasons(tables);
  WF_ASSIGN_OR_RETURN(const std::optional<EventRecord> error, LoadLastError(target, name));
  if (error) {
    reasons.push_back({"stopped", "the stream ended with an error at " + error->at + ": " + error->detail,
                       "walferry migrate, after what it says"});
  }
  WF_ASSIGN_OR_RETURN(Reasons indexes, InvalidIndexReasons(target, tables));
  Append(reasons, std::move(indexes));
  return reasons;
}

absl::StatusOr<std::vector<GateReason>> StandingReasons(const GateSubject& subject) {
  WF_ASSIGN_OR_RETURN(Reasons reasons, SlotReasons(subject));
  WF_ASSIGN_OR_RETURN(Reasons catalog, CatalogReasons(subject));
  Append(reasons, std::move(catalog));
  WF_ASSIGN_OR_RETURN(Reasons target, TargetReasons(subject.target, subject.name));
  Append(reasons, std::move(target));
  WF_ASSIGN_OR_RETURN(Reasons constraints, ConstraintReasons(subject));
  Append(reasons, std::move(constraints));
  WF_ASSIGN_OR_RETURN(Reasons privileges, PrivilegeReasons(subject));
  Append(reasons, std::move(privileges));
  WF_ASSIGN_OR_RETURN(Reasons sequences, SequenceReasons(subject));
  Append(reasons, std::move(sequences));
  if (!subject.tries_last_stage) return reasons;
  WF_ASSIGN_OR_RETURN(Reasons last_stage, LastStageReasons(subject));
  Append(reasons, std::move(last_stage));
  return reasons;
}

absl::StatusOr<std::vector<GateReason>> CutoverGate(const GateSubject& subject) {
  WF_ASSIGN_OR_RETURN(Reasons reasons, PhaseReasons(subject.target, subject.record, subject.name));
  if (!reasons.empty()) return reasons;
  WF_ASSIGN_OR_RETURN(reasons, StandingReasons(subject));
  WF_ASSIGN_OR_RETURN(Reasons open, OpenTransactionReasons(subject.source));
  Append(reasons, std::move(open));
  return reasons;
}

bool CanBeAccepted(const std::string& kind) {
  return std::find(kAcceptable.begin(), kAcceptable.end(), kind) != kAcceptable.end();
}

std::string AcceptableKinds() {
  std::string text;
  for (const std::string_view kind : kAcceptable) {
    text.append(text.empty() ? "" : ", ").append(kind);
  }
  return text;
}

std::vector<GateReason> NotAccepted(std::vector<GateReason> reasons,
                                    const std::vector<std::string>& accepted) {
  std::erase_if(reasons, [&](const GateReason& reason) {
    return std::find(accepted.begin(), accepted.end(), reason.kind) != accepted.end();
  });
  return reasons;
}

absl::Status RefusalOf(const std::vector<GateReason>& reasons) {
  if (reasons.empty()) return absl::OkStatus();
  const std::size_t others = reasons.size() - 1;
  return Errorf(
      absl::StatusCode::kFailedPrecondition, "%s: run %s%s", reasons.front().text, reasons.front().command,
      others == 0 ? std::string()
                  : absl::StrFormat("  (and %d more, shown by walferry cutover --dry-run)", others));
}

}  // namespace walferry
