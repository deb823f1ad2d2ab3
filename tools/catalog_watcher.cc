// Tested by tests/servers/catalog_watch_test.cc.
#include "tools/catalog_watcher.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "stream/synchronous_standby.h"
#include "tools/column_changes.h"
#include "tools/log.h"

namespace walferry {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(2);
// Looking takes at most such a part of the time.
constexpr int kShare = 50;

const TableRecord* FindRecord(const std::vector<TableRecord>& tables, const TableName& name) {
  const auto found = std::find_if(tables.begin(), tables.end(),
                                  [&](const TableRecord& table) { return table.table == name; });
  return found == tables.end() ? nullptr : &*found;
}

bool LooksOtherwise(const TableRecord& before, const TableRecord& after) {
  const auto was = RelationFromText(before.catalog);
  const auto is = RelationFromText(after.catalog);
  return !was || !is || !SamePublishedShape(was->columns, is->columns);
}

// What is made later is about tables by their names.
absl::Status RenameInObjects(Connection& target, const std::string& migration,
                             const CatalogFindings& findings) {
  const TableRenames renames = RenamesOf(findings);
  if (renames.empty()) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(const std::vector<SchemaObject> objects, LoadObjects(target, migration));
  for (const SchemaObject& object : objects) {
    const SchemaObject renamed = WithTablesRenamed(object, renames);
    if (renamed.sql != object.sql) WF_RETURN_IF_ERROR(UpdateObject(target, migration, renamed));
  }
  return absl::OkStatus();
}

}  // namespace

TableRenames RenamesOf(const CatalogFindings& findings) {
  TableRenames renames;
  for (const auto& [name, table] : findings.updates) {
    if (table.table != name) renames.emplace_back(name, table.table);
  }
  return renames;
}

bool WantsRestart(const CatalogFindings& findings, const std::vector<TableRecord>& tables) {
  if (!findings.new_partitions.empty() || !findings.ignored.empty()) return true;
  for (const CatalogDifference& difference : findings.differences) {
    if (difference.stops) return true;
  }
  return std::any_of(findings.updates.begin(), findings.updates.end(), [&](const auto& update) {
    const TableRecord* const before = FindRecord(tables, update.first);
    const TableRecord& after = update.second;
    return before == nullptr || before->table != after.table || before->phase != after.phase ||
           before->source_oid != after.source_oid || LooksOtherwise(*before, after);
  });
}

absl::Status RecordFindings(Connection& target, const std::string& migration,
                            const CatalogFindings& findings) {
  if (findings.updates.empty() && findings.events.empty()) return absl::OkStatus();
  WF_RETURN_IF_ERROR(target.Execute("BEGIN").status());
  const auto record = [&]() -> absl::Status {
    // Two tables may have exchanged their names: each gets out of the other's way first.
    std::vector<TableName> from;
    for (const auto& [name, table] : findings.updates) {
      from.push_back(name);
      if (table.table == name) continue;
      TableRecord aside = table;
      aside.table = {"", std::to_string(table.source_oid)};
      WF_RETURN_IF_ERROR(UpdateTableCatalog(target, migration, name, aside));
      from.back() = aside.table;
    }
    for (std::size_t i = 0; i < from.size(); ++i) {
      WF_RETURN_IF_ERROR(UpdateTableCatalog(target, migration, from[i], findings.updates[i].second));
    }
    WF_RETURN_IF_ERROR(RenameInObjects(target, migration, findings));
    for (const std::string& event : findings.events) {
      WF_RETURN_IF_ERROR(AddEvent(target, migration, "catalog", event));
    }
    return target.Execute("COMMIT").status();
  };
  const absl::Status recorded = record();
  if (!recorded.ok() && target.alive()) (void)target.Execute("ROLLBACK");
  for (const std::string& event : findings.events) LogInfo("%s", event);
  return recorded;
}

void DifferenceLog::Show(const std::vector<CatalogDifference>& differences) {
  std::vector<std::string> texts;
  for (const CatalogDifference& difference : differences) {
    std::string text = difference.text;
    if (!difference.command.empty()) text += ": run " + difference.command;
    if (std::find(shown_.begin(), shown_.end(), text) == shown_.end()) LogWarn("%s", text);
    texts.push_back(std::move(text));
  }
  shown_ = std::move(texts);
}

CatalogWatcher::CatalogWatcher(Options options, DifferenceLog& log, StopSignal& restart)
    : options_(std::move(options)), log_(log), restart_(restart), tables_(options_.recorded.tables) {
  if (options_.recorded.migration.owns_publication) thread_ = std::thread([this] { Run(); });
}

CatalogWatcher::~CatalogWatcher() {
  done_.Request();
  if (thread_.joinable()) thread_.join();
}

std::vector<CatalogDifference> CatalogWatcher::differences() const {
  const absl::MutexLock lock(&mutex_);
  return differences_;
}

bool CatalogWatcher::wants_restart() const {
  const absl::MutexLock lock(&mutex_);
  return wants_restart_;
}

void CatalogWatcher::Run() {
  absl::Time next = absl::Now();
  while (!done_.requested()) {
    const absl::Time begun = absl::Now();
    // A side that is away is the stream's business; it is looked at again when it is back.
    if (const absl::Status looked = Look(); !looked.ok()) {
      LogDebug("the source's catalog could not be looked at: %s", MessageOf(looked));
      source_.reset();
      target_.reset();
    }
    next = absl::Now() + std::max(kInterval, kShare * (absl::Now() - begun));
    pollfd fd = {done_.fd(), POLLIN, 0};
    poll(&fd, 1, static_cast<int>(absl::ToInt64Milliseconds(next - absl::Now())));
  }
}

absl::Status CatalogWatcher::Connect(std::optional<Connection>& connection, const std::string& conninfo) {
  if (connection && connection->alive()) return absl::OkStatus();
  ConnectOptions connect;
  connect.conninfo = conninfo;
  connect.application_name = "walferry " + options_.recorded.migration.name;
  connect.settings = {{"statement_timeout", "60s"}, {"lock_timeout", "2s"}};
  connect.stop = &done_;
  WF_ASSIGN_OR_RETURN(connection, Connection::Open(connect));
  return absl::OkStatus();
}

absl::Status CatalogWatcher::Look() {
  WF_RETURN_IF_ERROR(Connect(source_, options_.source));
  WF_ASSIGN_OR_RETURN(const std::string name, ApplicationNameInForce(*source_));
  const absl::Status standby = CheckNotSynchronousStandby(*source_, name);
  if (absl::IsFailedPrecondition(standby) && SqlstateOf(standby).empty()) {
    Refuse({"synchronous-standby", name, std::string(MessageOf(standby)), "", true});
    return absl::OkStatus();
  }
  WF_ASSIGN_OR_RETURN(std::string fingerprint, CatalogFingerprint(*source_));
  if (fingerprint == fingerprint_ && !open_) return absl::OkStatus();
  WF_RETURN_IF_ERROR(Compare());
  fingerprint_ = std::move(fingerprint);
  return absl::OkStatus();
}

// The session that begins then says why it does not.
void CatalogWatcher::Refuse(CatalogDifference difference) {
  const absl::MutexLock lock(&mutex_);
  differences_ = {std::move(difference)};
  wants_restart_ = true;
  restart_.Request();
}

absl::Status CatalogWatcher::Compare() {
  WF_RETURN_IF_ERROR(Connect(target_, options_.target));
  RecordedCatalog recorded = options_.recorded;
  recorded.tables = tables_;
  WF_ASSIGN_OR_RETURN(const CatalogFindings findings, FindCatalogDifferences(*source_, *target_, recorded));
  log_.Show(findings.differences);
  open_ = !findings.differences.empty();
  const bool restart = WantsRestart(findings, tables_);
  {
    const absl::MutexLock lock(&mutex_);
    differences_ = findings.differences;
    wants_restart_ = wants_restart_ || restart;
  }
  if (restart) {
    restart_.Request();
    return absl::OkStatus();
  }
  WF_RETURN_IF_ERROR(RecordFindings(*target_, options_.recorded.migration.name, findings));
  if (!findings.updates.empty()) {
    WF_ASSIGN_OR_RETURN(tables_, LoadTables(*target_, options_.recorded.migration.name));
  }
  return absl::OkStatus();
}

}  // namespace walferry
