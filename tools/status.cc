#include "tools/status.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/endpoint.h"
#include "tools/last_error.h"
#include "tools/quantity.h"

namespace walferry {
namespace {

constexpr int kEventsShown = 10;

TableCounters Totals(const std::vector<TableRecord>& tables) {
  TableCounters totals;
  for (const TableRecord& table : tables) totals += table.counters;
  return totals;
}

// The ladder as it stands now: the running walferry's figures, or, where none runs, what its state and the
// source say.
RuntimeSnapshot CurrentRuntime(const StatusReport& report) {
  RuntimeSnapshot runtime = RuntimeFromJson(report.migration.runtime);
  const Lsn lanes =
      report.lanes.empty() ? Lsn{} : *std::min_element(report.lanes.begin(), report.lanes.end());
  runtime.confirmed = std::max(runtime.confirmed, report.migration.confirmed);
  runtime.applied = std::max({runtime.applied, lanes, runtime.confirmed});
  runtime.received = std::max(runtime.received, runtime.applied);
  runtime.wal_end = std::max({runtime.wal_end, runtime.received, report.source_wal_end});
  runtime.lag_bytes = runtime.wal_end.value - runtime.applied.value;
  if (!report.running) {
    runtime.changes_per_s = runtime.bytes_per_s = runtime.txns_per_s = 0;
    runtime.eta_seconds.reset();
    runtime.bottleneck = "not running";
  }
  return runtime;
}

absl::Status AskGate(Connection& source, Connection& target, StatusReport& report) {
  const std::optional<MigrationRecord> record = report.migration;
  WF_ASSIGN_OR_RETURN(const TableFilter choice, TableFilter::FromText(record->choice));
  WF_ASSIGN_OR_RETURN(CatalogFindings findings,
                      FindCatalogDifferences(source, target, {*record, report.tables, choice}));
  report.catalog_differences = std::move(findings.differences);
  WF_ASSIGN_OR_RETURN(report.reasons, CutoverGate({source, target, record->name, record, choice}));
  report.can_cut_over = report.reasons.empty();
  return absl::OkStatus();
}

// Without the source the gate can only say no.
absl::Status AskTargetAlone(Connection& target, StatusReport& report) {
  WF_ASSIGN_OR_RETURN(report.reasons, PhaseReasons(target, report.migration, report.migration.name));
  if (report.reasons.empty()) {
    WF_ASSIGN_OR_RETURN(report.reasons, TargetReasons(target, report.migration.name));
  }
  if (!report.reasons.empty()) report.can_cut_over = false;
  return absl::OkStatus();
}

absl::Status ReadSource(const std::string& source, StatusReport& report, Connection& target) {
  ConnectOptions connect;
  connect.conninfo = source;
  connect.connect_timeout = absl::Seconds(5);
  connect.settings = {{"lock_timeout", "2s"}, {"statement_timeout", "10s"}};
  WF_ASSIGN_OR_RETURN(Connection connection, ConnectTo(Endpoint::kSource, connect));
  WF_ASSIGN_OR_RETURN(report.source_wal_end, CurrentWalLsn(connection));
  if (report.migration.slot.empty()) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(report.slot, InspectSlotOfDatabase(connection, report.migration.slot,
                                                         report.migration.source_database));
  const absl::Status asked = AskGate(connection, target, report);
  if (!report.slot && report.migration.phase > Phase::kSlot && report.migration.phase < Phase::kDone) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "slot %s is gone from the source: what was written since %s cannot be had any more",
                  report.migration.slot, report.migration.confirmed.ToString());
  }
  return asked;
}

nlohmann::ordered_json TableToJson(const TableRecord& table) {
  return {{"name", table.table.ToString()},
          {"phase", TablePhaseName(table.phase)},
          {"position", table.position.ToString()},
          {"rows", table.rows},
          {"bytes", table.bytes},
          {"inserts", table.counters.inserts},
          {"updates", table.counters.updates},
          {"deletes", table.counters.deletes},
          {"truncates", table.counters.truncates},
          {"missing_rows", table.counters.missing_rows},
          {"conflicts", table.counters.conflicts},
          {"one_by_one", table.counters.one_by_one}};
}

// Counters are of the last run, which may have had other lanes.
nlohmann::ordered_json LaneToJson(const StatusReport& report, std::size_t lane) {
  const std::vector<LaneCounters>& counted = report.runtime.lanes;
  const LaneCounters counters = lane < counted.size() ? counted[lane] : LaneCounters{};
  return {{"position", report.lanes[lane].ToString()},
          {"batches", counters.batches},
          {"transactions", counters.transactions},
          {"changes", counters.changes}};
}

nlohmann::ordered_json VerdictToJson(const StatusReport& report) {
  nlohmann::ordered_json verdict = {{"can_cut_over", nullptr}, {"reasons", nlohmann::json::array()}};
  if (report.can_cut_over) verdict["can_cut_over"] = *report.can_cut_over;
  for (const GateReason& reason : report.reasons) {
    verdict["reasons"].push_back({{"kind", reason.kind}, {"text", reason.text}, {"command", reason.command}});
  }
  return verdict;
}

std::string VerdictText(const StatusReport& report) {
  if (!report.can_cut_over) return "cutover     unknown: the source was not asked\n";
  if (*report.can_cut_over) return "cutover     nothing stands in its way\n";
  std::string text;
  for (const GateReason& reason : report.reasons) {
    absl::StrAppendFormat(&text, "%s%s: %s\n            run %s\n",
                          text.empty() ? "cutover     " : "            ", reason.kind, reason.text,
                          reason.command);
  }
  return text;
}

std::string LagText(const RuntimeSnapshot& runtime) {
  if (runtime.lag_bytes == 0) return "none";
  std::string text = FormatBytes(static_cast<double>(runtime.lag_bytes));
  if (runtime.bottleneck == "not running") return text + ", waiting for a walferry to run";
  if (runtime.lag_seconds > 0) text += ", " + FormatTimeSpan(absl::Seconds(runtime.lag_seconds));
  if (!runtime.eta_seconds) {
    text += "; at this rate it will never catch up";
  } else if (*runtime.eta_seconds > 0) {
    text += "; caught up in " + FormatTimeSpan(absl::Seconds(*runtime.eta_seconds));
  }
  return text;
}

}  // namespace

absl::StatusOr<StatusReport> ReadStatus(const std::string& source, const std::string& target,
                                        const std::string& name) {
  ConnectOptions connect;
  connect.conninfo = target;
  WF_ASSIGN_OR_RETURN(Connection connection, ConnectTo(Endpoint::kTarget, connect));
  WF_ASSIGN_OR_RETURN(const bool has_state, StateSchemaExists(connection));
  std::optional<MigrationRecord> record;
  if (has_state) {
    WF_ASSIGN_OR_RETURN(record, LoadMigration(connection, name));
  }
  if (!record) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "the target knows no migration %s: look at --target and --name", name);
  }
  StatusReport report;
  report.migration = *std::move(record);
  WF_ASSIGN_OR_RETURN(report.running, MigrationIsLocked(connection, name));
  WF_ASSIGN_OR_RETURN(report.lanes, LoadLanes(connection, name));
  WF_ASSIGN_OR_RETURN(report.tables, LoadTables(connection, name));
  WF_ASSIGN_OR_RETURN(report.last_error, LoadLastError(connection, name));
  WF_ASSIGN_OR_RETURN(report.events, LoadEvents(connection, name, kEventsShown));
  WF_ASSIGN_OR_RETURN(const std::vector<SchemaObject> objects, LoadObjects(connection, name));
  report.objects_total = static_cast<std::int64_t>(objects.size());
  report.objects_done =
      std::count_if(objects.begin(), objects.end(), [](const SchemaObject& o) { return o.done; });
  if (source.empty()) {
    report.source_error = "no --source was given";
  } else if (const absl::Status status = ReadSource(source, report, connection); !status.ok()) {
    report.source_error = MessageOf(status);
  }
  if (!report.can_cut_over) WF_RETURN_IF_ERROR(AskTargetAlone(connection, report));
  report.runtime = CurrentRuntime(report);
  return report;
}

std::string StatusToJson(const StatusReport& report) {
  const RuntimeSnapshot& runtime = report.runtime;
  nlohmann::ordered_json json;
  json["name"] = report.migration.name;
  json["phase"] = PhaseName(report.migration.phase);
  json["running"] = report.running;
  json["verdict"] = VerdictToJson(report);
  json["last_error"] = nullptr;
  if (report.last_error) json["last_error"] = report.last_error->detail;
  json["source"] = {{"system_id", report.migration.system_id},
                    {"timeline", report.migration.timeline},
                    {"database", report.migration.source_database},
                    {"wal_end", runtime.wal_end.ToString()},
                    {"error", report.source_error}};
  json["lsn"] = {{"received", runtime.received.ToString()},
                 {"applied", runtime.applied.ToString()},
                 {"durable", runtime.confirmed.ToString()},
                 {"confirmed", runtime.confirmed.ToString()}};
  json["lag"] = {{"bytes", runtime.lag_bytes}, {"seconds", runtime.lag_seconds}, {"eta_seconds", nullptr}};
  if (runtime.eta_seconds) json["lag"]["eta_seconds"] = *runtime.eta_seconds;
  json["bottleneck"] = runtime.bottleneck;
  json["slot"] = nullptr;
  if (report.slot) {
    json["slot"] = {{"name", report.migration.slot},
                    {"active", report.slot->active},
                    {"retained_bytes", report.slot->retained_bytes},
                    {"safe_wal_bytes", nullptr},
                    {"wal_status", report.slot->wal_status}};
    if (report.slot->safe_wal_bytes >= 0) json["slot"]["safe_wal_bytes"] = report.slot->safe_wal_bytes;
  }
  json["rates"] = {{"changes_per_s", runtime.changes_per_s},
                   {"bytes_per_s", runtime.bytes_per_s},
                   {"txns_per_s", runtime.txns_per_s}};
  const TableCounters totals = Totals(report.tables);
  json["totals"] = {{"inserts", totals.inserts},
                    {"updates", totals.updates},
                    {"deletes", totals.deletes},
                    {"truncates", totals.truncates},
                    {"missing_rows", totals.missing_rows},
                    {"conflicts", totals.conflicts},
                    {"one_by_one", totals.one_by_one},
                    {"objects_done", report.objects_done},
                    {"objects_total", report.objects_total}};
  json["lanes"] = nlohmann::json::array();
  for (std::size_t lane = 0; lane < report.lanes.size(); ++lane) {
    json["lanes"].push_back(LaneToJson(report, lane));
  }
  json["tables"] = nlohmann::json::array();
  for (const TableRecord& table : report.tables) json["tables"].push_back(TableToJson(table));
  json["catalog_differences"] = nlohmann::json::array();
  for (const CatalogDifference& difference : report.catalog_differences) {
    json["catalog_differences"].push_back({{"kind", difference.kind},
                                           {"object", difference.object},
                                           {"text", difference.text},
                                           {"command", difference.command}});
  }
  json["events"] = nlohmann::json::array();
  for (const EventRecord& event : report.events) {
    json["events"].push_back({{"at", event.at}, {"kind", event.kind}, {"detail", event.detail}});
  }
  return json.dump();
}

std::string StatusToText(const StatusReport& report) {
  const RuntimeSnapshot& runtime = report.runtime;
  const TableCounters totals = Totals(report.tables);
  std::string text;
  absl::StrAppendFormat(&text, "migration   %s, phase %s, %s\n", report.migration.name,
                        PhaseName(report.migration.phase), report.running ? "running" : "not running");
  const bool streams = report.migration.phase >= Phase::kCatchUp;
  if (streams) {
    absl::StrAppendFormat(&text, "lag         %s\n", LagText(runtime));
    absl::StrAppendFormat(&text, "positions   source %s > received %s > applied %s > durable %s\n",
                          runtime.wal_end.ToString(), runtime.received.ToString(), runtime.applied.ToString(),
                          runtime.confirmed.ToString());
  }
  if (streams && report.running) {
    absl::StrAppendFormat(&text, "rates       %.0f changes/s, %.0f transactions/s, %s/s; bottleneck: %s\n",
                          runtime.changes_per_s, runtime.txns_per_s, FormatBytes(runtime.bytes_per_s),
                          runtime.bottleneck);
  }
  if (report.slot) {
    absl::StrAppendFormat(&text, "slot        %s, %s, holds %s of WAL on the source%s\n",
                          report.migration.slot, report.slot->active ? "active" : "not active",
                          FormatBytes(static_cast<double>(report.slot->retained_bytes)),
                          report.slot->wal_status.empty() ? "" : " (" + report.slot->wal_status + ")");
  }
  if (!report.source_error.empty()) absl::StrAppendFormat(&text, "source      %s\n", report.source_error);
  const auto copied = std::count_if(report.tables.begin(), report.tables.end(),
                                    [](const TableRecord& t) { return t.phase == TablePhase::kCopied; });
  absl::StrAppendFormat(&text, "tables      %d, %d copied; schema objects %d of %d\n", report.tables.size(),
                        copied, report.objects_done, report.objects_total);
  absl::StrAppendFormat(&text, "changes     %s inserts, %s updates, %s deletes, %s truncates\n",
                        FormatCount(totals.inserts), FormatCount(totals.updates), FormatCount(totals.deletes),
                        FormatCount(totals.truncates));
  if (totals.one_by_one > 0) {
    absl::StrAppendFormat(
        &text, "one by one  %s changes, which is slower: the key or a type does not let them together:\n",
        FormatCount(totals.one_by_one));
    for (const TableRecord& table : report.tables) {
      if (table.counters.one_by_one == 0) continue;
      absl::StrAppendFormat(&text, "            %s: %d\n", table.table.ToString(), table.counters.one_by_one);
    }
  }
  if (totals.missing_rows + totals.conflicts > 0) {
    absl::StrAppendFormat(&text, "differences %s rows not found, %s conflicts skipped:\n",
                          FormatCount(totals.missing_rows), FormatCount(totals.conflicts));
    for (const TableRecord& table : report.tables) {
      if (table.counters.missing_rows + table.counters.conflicts == 0) continue;
      absl::StrAppendFormat(&text, "            %s: %d not found, %d skipped\n", table.table.ToString(),
                            table.counters.missing_rows, table.counters.conflicts);
    }
  }
  return text + VerdictText(report);
}

}  // namespace walferry
