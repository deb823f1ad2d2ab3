#include "tools/check.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "tools/check_context.h"
#include "tools/endpoint.h"

namespace walferry {
namespace {

ConnectOptions ReadOnlySession(const std::string& conninfo, const StopSignal& stop) {
  ConnectOptions options;
  options.conninfo = conninfo;
  options.application_name = kCheckApplicationName;
  options.settings = {
      {"default_transaction_read_only", "on"}, {"statement_timeout", "30s"}, {"lock_timeout", "5s"}};
  options.stop = &stop;
  return options;
}

absl::Status RunGroup(std::span<const CheckDefinition> checks, CheckContext& context) {
  for (const CheckDefinition& definition : checks) {
    if (definition.need == CheckNeed::kStream && !context.options.streams) continue;
    if (!IsNeeded(definition.id, context.options.steps)) continue;
    CheckRun run(context.report, definition.id, definition.side, definition.subject);
    const absl::Status status = definition.run(context, run);
    if (status.ok()) continue;
    const bool connected = context.source.alive() && (context.target == nullptr || context.target->alive());
    if (!connected || context.stop.requested()) return status;
    run.Warn(absl::StrFormat("could not be checked: %s", MessageOf(status)), "look at it by hand");
  }
  return absl::OkStatus();
}

absl::Status LookAround(CheckContext& context) {
  WF_ASSIGN_OR_RETURN(context.source_provider, DetectProvider(context.source));
  absl::StatusOr<std::vector<SourceTable>> tables = ListSourceTables(context.source);
  if (SqlstateOf(tables.status()) == "55P03") {
    return Annotate(
        tables.status(),
        "a table of the source is locked by a session that changes it, so its size cannot be asked for: "
        "wait for that session, or end it, and run again");
  }
  WF_ASSIGN_OR_RETURN(context.all_tables, std::move(tables));
  context.tables = context.options.tables.Select(context.all_tables);
  if (context.target == nullptr) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(context.target_provider, DetectProvider(*context.target));
  WF_ASSIGN_OR_RETURN(const bool begun, StateSchemaExists(*context.target));
  if (begun) {
    WF_ASSIGN_OR_RETURN(context.migration, LoadMigration(*context.target, context.options.name));
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view CheckLevelName(CheckLevel level) {
  switch (level) {
    case CheckLevel::kPass:
      return "PASS";
    case CheckLevel::kWarn:
      return "WARN";
    case CheckLevel::kBlock:
      return "BLOCK";
  }
  return "";
}

std::string_view CheckSideName(CheckSide side) {
  switch (side) {
    case CheckSide::kSource:
      return "source";
    case CheckSide::kTarget:
      return "target";
    case CheckSide::kBoth:
      return "both";
  }
  return "";
}

int CheckReport::count(CheckLevel level) const {
  return static_cast<int>(std::count_if(checks.begin(), checks.end(),
                                        [level](const Check& check) { return check.level == level; }));
}

absl::StatusOr<CheckReport> RunChecks(const CheckOptions& options, const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Connection source, ConnectTo(Endpoint::kSource, ReadOnlySession(options.source, stop)));
  std::optional<Connection> target;
  if (!options.target.empty()) {
    WF_ASSIGN_OR_RETURN(target, ConnectTo(Endpoint::kTarget, ReadOnlySession(options.target, stop)));
  }
  CheckReport report;
  CheckContext context{.options = options,
                       .stop = stop,
                       .source = source,
                       .target = target ? &*target : nullptr,
                       .report = report};
  WF_RETURN_IF_ERROR(LookAround(context));
  WF_RETURN_IF_ERROR(RunGroup(SourceServerChecks(), context));
  WF_RETURN_IF_ERROR(RunGroup(SourceTableChecks(), context));
  WF_RETURN_IF_ERROR(RunGroup(SourceSchemaChecks(), context));
  WF_RETURN_IF_ERROR(RunGroup(LeftBehindChecks(), context));
  if (context.target != nullptr) {
    WF_RETURN_IF_ERROR(RunGroup(TargetServerChecks(), context));
    WF_RETURN_IF_ERROR(RunGroup(TargetTableChecks(), context));
    WF_RETURN_IF_ERROR(RunGroup(TargetSchemaChecks(), context));
  }
  return report;
}

std::vector<CheckDefinition> AllChecks() {
  std::vector<CheckDefinition> all;
  for (const auto& group :
       {SourceServerChecks(), SourceTableChecks(), SourceSchemaChecks(), LeftBehindChecks(),
        TargetServerChecks(), TargetTableChecks(), TargetSchemaChecks()}) {
    all.insert(all.end(), group.begin(), group.end());
  }
  return all;
}

std::string ListSome(const std::vector<std::string>& items, std::size_t at_most) {
  std::string list;
  for (std::size_t i = 0; i < items.size() && i < at_most; ++i) {
    if (i > 0) list += ", ";
    list += items[i];
  }
  if (items.size() > at_most) list += absl::StrFormat(" and %d more", items.size() - at_most);
  return list;
}

std::string ChosenOids(const CheckContext& context) {
  std::string oids = "{";
  for (const SourceTable& table : context.tables) {
    if (oids.size() > 1) oids.push_back(',');
    oids += std::to_string(table.oid);
  }
  oids.push_back('}');
  return oids;
}

std::string ChosenNames(const CheckContext& context) {
  nlohmann::json names = nlohmann::json::array();
  for (const SourceTable& table : context.tables) {
    names.push_back(nlohmann::json::array({table.name.schema, table.name.name}));
  }
  return names.dump();
}

absl::Status EndSession(Connection session, Connection& watcher) {
  const std::string pid = std::to_string(session.backend_pid());
  { const Connection ended = std::move(session); }
  const absl::Time deadline = absl::Now() + absl::Seconds(2);
  while (absl::Now() < deadline) {
    WF_ASSIGN_OR_RETURN(
        const Result seen,
        watcher.Execute("SELECT FROM pg_catalog.pg_stat_activity WHERE pid = $1::integer", {pid}));
    if (seen.rows() == 0) break;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> FindTransactionPooler(Connection& connection, const std::string& conninfo,
                                                  const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(const Result first, connection.Execute("SELECT pg_catalog.pg_backend_pid()"));
  WF_ASSIGN_OR_RETURN(Connection other, Connection::Open(ReadOnlySession(conninfo, stop)));
  // The open transaction holds whatever backend it was given; a pooler that gives them out by transaction
  // gives the idle one of the first session.
  WF_ASSIGN_OR_RETURN(const Result second, other.Execute("BEGIN; SELECT pg_catalog.pg_backend_pid()"));
  if (first.Get(0, 0) == second.Get(0, 0)) {
    return std::string(
        "two client sessions are served by one server process, which is what a pooler in transaction "
        "mode does; sessions keep no settings and no locks there");
  }
  WF_ASSIGN_OR_RETURN(const Result again, connection.Execute("SELECT pg_catalog.pg_backend_pid()"));
  if (again.Get(0, 0) != first.Get(0, 0)) {
    return std::string(
        "one client session was served by two server processes, which is what a pooler in transaction "
        "mode does; sessions keep no settings and no locks there");
  }
  WF_RETURN_IF_ERROR(EndSession(std::move(other), connection));
  return std::string();
}

}  // namespace walferry
