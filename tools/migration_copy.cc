// The phases of a migration up to the stream: publication, slot, schema, copy, indexes.
#include <algorithm>
#include <atomic>
#include <set>
#include <utility>

#include "apply/position.h"
#include "stream/publication.h"
#include "stream/slot.h"
#include "tools/copy_display.h"
#include "tools/cutover_switch.h"
#include "tools/last_stage.h"
#include "tools/log.h"
#include "tools/migration.h"
#include "tools/object_refresh.h"
#include "tools/publication_items.h"
#include "tools/quantity.h"
#include "tools/source_record.h"

namespace walferry {
namespace {

// Each is made again because of tables that were made meanwhile.
constexpr int kSlotAttemptsMax = 5;

absl::Status AlreadyThere(std::string_view what, const std::string& name) {
  return Errorf(absl::StatusCode::kFailedPrecondition,
                "%s %s exists on the source already and is not this migration's: drop it there, or choose "
                "another --name",
                what, name);
}

// Slots share their names with those of the server's other databases.
absl::Status SlotOfAnotherDatabase(const SlotInfo& slot, const std::string& name) {
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "slot %s exists on the source's server already, for %s: it is left alone; choose another --name "
      "(where this migration is known already, after walferry cleanup)",
      name, slot.database.empty() ? "a standby" : "database " + slot.database);
}

}  // namespace

LockRetry Migration::SourceLockRetry() const {
  return {.retry_for = options_.follow.retry_for,
          .waiting = [](const std::string& holder) { LogWarn("waiting for a lock: %s", holder); }};
}

ConnectOptions Migration::ReplicationOptions() const {
  ConnectOptions options;
  options.conninfo = options_.source;
  options.application_name = "walferry " + options_.name;
  options.replication = true;
  options.stop = stop_;
  return options;
}

absl::Status Migration::Begin() {
  WF_ASSIGN_OR_RETURN(const SystemIdentity identity, IdentifySource(options_.source, options_.name, *stop_));
  record_ = MigrationRecord{};
  record_.name = options_.name;
  record_.phase = Phase::kPublication;
  record_.system_id = identity.system_id;
  record_.timeline = identity.timeline;
  record_.source_database = identity.database;
  record_.slot = options_.name;
  record_.publication = options_.name;
  record_.copies_schema = options_.copy_schema;
  record_.choice = options_.tables.ToText();
  if (options_.inserts_only) record_.insert_publication = options_.name.substr(0, 55) + "_inserts";
  WF_ASSIGN_OR_RETURN(const bool published, PublicationExists(source_, record_.publication));
  if (published) return AlreadyThere("publication", record_.publication);
  WF_ASSIGN_OR_RETURN(const std::optional<SlotInfo> slot, InspectSlot(source_, record_.slot));
  if (slot && slot->database != identity.database) return SlotOfAnotherDatabase(*slot, record_.slot);
  if (slot) return AlreadyThere("slot", record_.slot);
  // Recorded before they are made, so that a crash in between leaves nothing that nobody owns.
  record_.owns_publication = true;
  record_.owns_slot = true;
  WF_RETURN_IF_ERROR(Record());
  return Note("begin", options_.copy_schema ? "with schema" : "without schema");
}

// The first trace of this migration on the target.
absl::Status Migration::Record() {
  WF_ASSIGN_OR_RETURN(const SourceCatalog catalog, ReadSourceCatalog(source_, "", ""));
  std::vector<TableRecord> tables;
  for (const auto& [oid, relation] : catalog.relations) {
    if (IsChosen(catalog, relation, options_.tables)) tables.push_back(RecordOf(catalog, relation));
  }
  if (tables.empty()) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "the source has no table to migrate: look at --source, --tables and --exclude-tables");
  }
  WF_RETURN_IF_ERROR(EnsureStateSchema(target_));
  WF_RETURN_IF_ERROR(target_.Execute("BEGIN").status());
  WF_RETURN_IF_ERROR(InsertMigration(target_, record_));
  WF_RETURN_IF_ERROR(AddTables(target_, record_.name, tables));
  WF_RETURN_IF_ERROR(target_.Execute("COMMIT").status());
  exists_ = true;
  return absl::OkStatus();
}

absl::Status Migration::PrepareAndCopy() {
  if (!exists_) WF_RETURN_IF_ERROR(Begin());
  if (record_.phase >= Phase::kCatchUp) return absl::OkStatus();
  return WithSlotWatched([this] { return RunPhases(); });
}

absl::Status Migration::RunPhases() {
  while (record_.phase < Phase::kCatchUp) {
    if (stop_->requested()) return absl::CancelledError("stopped");
    switch (record_.phase) {
      case Phase::kCheck:
      case Phase::kPublication:
        WF_RETURN_IF_ERROR(PublicationPhase());
        break;
      case Phase::kSlot:
        WF_RETURN_IF_ERROR(SlotPhase());
        break;
      case Phase::kSchema:
      case Phase::kCopy:
        WF_RETURN_IF_ERROR(SnapshotPhase());
        break;
      case Phase::kIndexes:
        snapshot_.reset();
        WF_RETURN_IF_ERROR(IndexPhase());
        break;
      case Phase::kCatchUp:
      case Phase::kFollow:
      case Phase::kCutover:
      case Phase::kDone:
        break;
    }
  }
  return absl::OkStatus();
}

// The phase stays as it is where a table was renamed or dropped meanwhile, to be entered again.
absl::Status Migration::PublicationPhase() {
  WF_ASSIGN_OR_RETURN(const SourceCatalog catalog,
                      ReadSourceCatalog(source_, record_.publication, record_.insert_publication));
  const PublicationItems items = ItemsOf(catalog, options_.tables, source_.server_version());
  if (!items.inserts.empty() && record_.insert_publication.empty()) {
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "table %s of the source has no replica identity: give it one, or choose --no-identity insert-only",
        items.inserts.front().ToString());
  }
  if (!catalog.publication) {
    const absl::Status created =
        CreatePublication(source_, record_.publication, items.all, /*via_root=*/false, SourceLockRetry());
    if (IsUndefinedTable(created)) return absl::OkStatus();
    WF_RETURN_IF_ERROR(created);
    LogInfo("publication %s made for %d tables", record_.publication, items.all.size());
  }
  if (!items.inserts.empty() && !catalog.insert_publication) {
    const absl::Status created =
        CreateInsertPublication(source_, record_.insert_publication, items.inserts, SourceLockRetry());
    if (IsUndefinedTable(created)) return absl::OkStatus();
    WF_RETURN_IF_ERROR(created);
    LogInfo("publication %s made for the inserts of %d tables without replica identity",
            record_.insert_publication, items.inserts.size());
  }
  if (items.inserts.empty()) record_.insert_publication.clear();
  return SetPhase(Phase::kSlot);
}

// The list of tables becomes that of the slot's snapshot. False: a chosen table was not published when the
// slot was made; it is now, and the slot has to be made again. Not may_wait: such tables are left to be named
// as new ones.
absl::StatusOr<bool> Migration::RecordTablesAt(const std::string& snapshot, bool may_wait) {
  WF_ASSIGN_OR_RETURN(Connection source, SourceAt(snapshot));
  WF_ASSIGN_OR_RETURN(const SourceCatalog catalog,
                      ReadSourceCatalog(source, record_.publication, record_.insert_publication));
  std::vector<TableRecord> tables;
  bool all_published = true;
  for (const auto& [oid, relation] : catalog.relations) {
    if (!IsChosen(catalog, relation, options_.tables)) continue;
    if (catalog.IsPublished(relation)) {
      tables.push_back(RecordOf(catalog, relation));
    } else if (may_wait) {
      all_published = false;
      const absl::Status published = Publish(catalog, relation);
      if (!IsUndefinedTable(published)) WF_RETURN_IF_ERROR(published);
    }
  }
  if (!all_published) return false;
  if (std::optional<SourcePublication> publication = catalog.publication) {
    if (catalog.insert_publication) publication->inserts = {*catalog.insert_publication};
    record_.publication_catalog = ToText(*publication);
  }
  WF_RETURN_IF_ERROR(ReplaceTables(target_, record_.name, tables));
  return true;
}

absl::Status Migration::SlotPhase() {
  WF_ASSIGN_OR_RETURN(const std::optional<SlotInfo> left_over, InspectSlot(source_, record_.slot));
  if (left_over && left_over->database != record_.source_database) {
    return SlotOfAnotherDatabase(*left_over, record_.slot);
  }
  if (left_over) {
    // Ours, from a run that ended before it could record the slot's position: nothing was copied under it.
    LogWarn("slot %s was made by a run that ended before its first copy: it is made again", record_.slot);
    WF_RETURN_IF_ERROR(DropSlot(source_, record_.slot));
  }
  LogInfo("making slot %s; this waits for the transactions that are running on the source", record_.slot);
  SlotRequest request;
  request.name = record_.slot;
  request.export_snapshot = true;
  for (int attempt = 1; true; ++attempt) {
    WF_ASSIGN_OR_RETURN(ExportedSnapshot snapshot,
                        ExportedSnapshot::FromNewSlot(ReplicationOptions(), request));
    record_.slot_lsn = snapshot.consistent_point();
    WF_RETURN_IF_ERROR(target_.Execute("BEGIN").status());
    WF_ASSIGN_OR_RETURN(const bool recorded, RecordTablesAt(snapshot.name(), attempt < kSlotAttemptsMax));
    if (recorded) {
      WF_RETURN_IF_ERROR(RecordSlot());
      snapshot_ = std::move(snapshot);
      break;
    }
    LogInfo("tables were made on the source meanwhile: the slot is made again, so that it has them, too");
    WF_RETURN_IF_ERROR(target_.Execute("ROLLBACK").status());
    { const ExportedSnapshot ended = std::move(snapshot); }
    WF_RETURN_IF_ERROR(DropSlot(source_, record_.slot));
  }
  LogInfo("slot %s begins at %s", record_.slot, record_.slot_lsn.ToString());
  return absl::OkStatus();
}

// Ends the transaction.
absl::Status Migration::RecordSlot() {
  record_.phase = Phase::kSchema;
  WF_RETURN_IF_ERROR(UpdateMigration(target_, record_));
  WF_RETURN_IF_ERROR(CommitFence(target_, record_.name, record_.slot_lsn));
  WF_RETURN_IF_ERROR(InitializeLanes(target_, record_.name, record_.lanes, record_.slot_lsn));
  WF_RETURN_IF_ERROR(Note("slot", absl::StrFormat("%s at %s", record_.slot, record_.slot_lsn.ToString())));
  return target_.Execute("COMMIT").status();
}

absl::Status Migration::CopyPhase(const std::string& snapshot, Lsn position) {
  TableCopyOptions options;
  options.source = options_.source;
  options.target = options_.target;
  options.migration = record_.name;
  options.snapshot = snapshot;
  options.position = position;
  options.jobs = options_.copy_jobs;
  options.format = options_.copy_format;
  options.retry_for = options_.follow.retry_for;
  options.waiting = SourceLockRetry().waiting;
  if (rewritten_source_.has_value()) WF_RETURN_IF_ERROR(CopyRewritten(options));
  WF_RETURN_IF_ERROR(CopyListed(options, [](const TableRecord&) { return true; }));
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, Tables());
  for (const TableRecord& table : tables) record_.copy_lsn = std::max(record_.copy_lsn, table.position);
  return SetPhase(Phase::kIndexes);
}

// By the connection that has locked them.
absl::Status Migration::CopyRewritten(TableCopyOptions options) {
  options.begun_source = &rewritten_source_;
  WF_RETURN_IF_ERROR(
      CopyListed(options, [this](const TableRecord& table) { return rewritten_.contains(table.table); }));
  rewritten_source_.reset();
  return absl::OkStatus();
}

// What of them is not copied by now.
absl::Status Migration::CopyListed(const TableCopyOptions& options,
                                   const std::function<bool(const TableRecord&)>& is_listed) {
  WF_ASSIGN_OR_RETURN(std::vector<TableRecord> tables, Tables());
  WF_RETURN_IF_ERROR(BeginEarlyIndexes(tables));
  std::erase_if(tables, [&](const TableRecord& table) { return !is_listed(table); });
  if (tables.empty()) return absl::OkStatus();
  TableCopyProgress progress;
  const CopyDisplay display(progress);
  return CopyTables(options, tables, progress, *stop_, [this](const TableRecord& table) {
    early_indexes_->Add(table);
    LogDebug("%s copied: %s rows, %s", table.table.ToString(), FormatCount(table.rows),
             FormatBytes(static_cast<double>(table.bytes)));
  });
}

// They go on from one snapshot to the next, and after the last one is given back.
absl::Status Migration::BeginEarlyIndexes(const std::vector<TableRecord>& tables) {
  if (early_indexes_ != nullptr) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(const std::vector<SchemaObject> objects, LoadObjects(target_, record_.name));
  early_indexes_ = std::make_unique<EarlyIndexes>(
      options_.target, record_.name, objects, options_.index_jobs, [](const SchemaObject& object) {
        LogInfo("created %s %s while tables are copied", object.kind, object.name);
      });
  for (const TableRecord& table : tables) {
    if (table.phase == TablePhase::kCopied) early_indexes_->Add(table);
  }
  return absl::OkStatus();
}

// Foreign keys are checked against data when they are made. That is right as soon as all tables are of one
// snapshot, and they do no harm to the stream where it may set session_replication_role: then the write pause
// need not wait for them.
absl::StatusOr<bool> Migration::ForeignKeysMayComeEarly() {
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, Tables());
  std::set<Lsn> positions;
  for (const TableRecord& table : tables) positions.insert(table.position);
  if (positions.size() > 1) return false;
  const absl::StatusOr<Result> replica = target_.Execute("SET session_replication_role = replica");
  if (!replica.ok()) return false;
  WF_RETURN_IF_ERROR(target_.Execute("RESET session_replication_role").status());
  return true;
}

absl::Status Migration::CreateObjectsUpTo(ObjectStage last, WhenRefused when_refused) {
  std::vector<RefusedObject> refused;
  const auto show = [](const ObjectProgress& progress) {
    LogInfo("created %s %s (%d of %d)", progress.object.kind, progress.object.name, progress.done,
            progress.total);
  };
  WF_RETURN_IF_ERROR(
      CreateObjects(options_.target, record_.name, last, options_.index_jobs, *stop_, show, &refused));
  for (const RefusedObject& each : refused) {
    const std::string query = QueryOfRefusedRows(each.object);
    const std::string advice = query.empty() ? std::string() : ", to be found on the target with " + query;
    if (when_refused == WhenRefused::kFail) return Annotate(each.why, "rows are in the way" + advice);
    LogWarn("left for later, because rows are in the way%s: %s", advice, MessageOf(each.why));
  }
  return absl::OkStatus();
}

absl::Status Migration::RefreshObjects() {
  WF_RETURN_IF_ERROR(ReconnectSource());
  WF_ASSIGN_OR_RETURN(
      const ObjectRefresh refresh,
      ReadObjects({source_, target_, options_.source, record_, options_.tables, SourceLockRetry()}, *stop_));
  return RecordObjects(target_, record_.name, refresh);
}

// A table or column may be gone from both sides since the list was taken.
absl::Status Migration::CreateObjectsThatAreLeft(ObjectStage last) {
  const absl::Status created = CreateObjectsUpTo(last, WhenRefused::kLeave);
  const std::string sqlstate = SqlstateOf(created);
  if (sqlstate != "42P01" && sqlstate != "42703") return created;
  LogInfo("the list of objects is taken from the source again: %s", MessageOf(created));
  WF_RETURN_IF_ERROR(RefreshObjects());
  return CreateObjectsUpTo(last, WhenRefused::kLeave);
}

absl::Status Migration::IndexPhase() {
  if (early_indexes_ != nullptr) WF_RETURN_IF_ERROR(early_indexes_->Finish(*stop_));
  early_indexes_.reset();
  WF_ASSIGN_OR_RETURN(const bool early, ForeignKeysMayComeEarly());
  WF_RETURN_IF_ERROR(CreateObjectsThatAreLeft(early ? ObjectStage::kForeignKey : ObjectStage::kAttach));
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, Tables());
  const std::vector<TableName> names = NamesOf(tables);
  LogInfo("analyzing %d tables", names.size());
  WF_RETURN_IF_ERROR(AnalyzeTables(options_.target, names, options_.index_jobs, *stop_));
  // A copy alone makes the last objects at once.
  if (!record_.slot.empty()) WF_RETURN_IF_ERROR(WarnOfLastStage(target_, record_.name));
  return SetPhase(Phase::kCatchUp);
}

// One snapshot of an ordinary transaction, no slot: the state is there for the objects that wait and for a
// copy that was interrupted, and goes when all is done.
absl::Status Migration::CopyOnce() {
  if (exists_ && !record_.slot.empty()) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "%s is a migration that follows its source: continue it with walferry migrate, or choose "
                  "another --name",
                  record_.name);
  }
  WF_ASSIGN_OR_RETURN(std::string snapshot, BeginCopyOnce());
  while (record_.phase == Phase::kSchema) {
    const absl::Status made = SchemaPhase(snapshot);
    if (made.ok()) break;
    WF_RETURN_IF_ERROR(LeaveSnapshot(made));
    WF_RETURN_IF_ERROR(source_.Execute("ROLLBACK").status());
    WF_ASSIGN_OR_RETURN(snapshot, BeginCopyOnce());
  }
  if (record_.phase == Phase::kCopy) {
    WF_RETURN_IF_ERROR(ForgetCopiedTables());
    WF_RETURN_IF_ERROR(CopyPhase(snapshot, Lsn{}));
  }
  WF_RETURN_IF_ERROR(source_.Execute("COMMIT").status());
  if (record_.phase == Phase::kIndexes) WF_RETURN_IF_ERROR(IndexPhase());
  return FinishCopyOnce();
}

// No stream follows, so foreign keys are made at once, and checked. One that rows refuse is made NOT VALID by
// the switch.
absl::Status Migration::FinishCopyOnce() {
  WF_RETURN_IF_ERROR(CreateObjectsUpTo(ObjectStage::kAttach, WhenRefused::kFail));
  WF_RETURN_IF_ERROR(CreateObjectsUpTo(ObjectStage::kForeignKey, WhenRefused::kLeave));
  WF_ASSIGN_OR_RETURN(const SwitchPlan plan, PlanSwitch(*this));
  WF_ASSIGN_OR_RETURN(const SwitchReport report, Switch(*this, plan, SwitchEnd::kPhaseStays, *stop_));
  LogInfo("%d sequences set", report.sequences.set);
  for (const TableName& sequence : report.sequences.missing) {
    LogWarn("sequence %s is not on the target", sequence.ToString());
  }
  const std::vector<Leftover> leftovers =
      FinishAfterSwitch(*this, plan.stage, absl::InfiniteDuration(), *stop_);
  if (stop_->requested()) return absl::CancelledError("stopped");
  for (const Leftover& leftover : leftovers) LogWarn("%s: run %s", leftover.text, leftover.command);
  return DeleteMigration(target_, record_.name);
}

// Returns the snapshot, of a transaction that is left open. While nothing was made on the target yet, the
// list of tables becomes that of the snapshot.
absl::StatusOr<std::string> Migration::BeginCopyOnce() {
  WF_RETURN_IF_ERROR(source_.Execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").status());
  WF_ASSIGN_OR_RETURN(const Result exported, source_.Execute("SELECT pg_catalog.pg_export_snapshot()"));
  if (exists_ && record_.phase == Phase::kSchema) {
    WF_ASSIGN_OR_RETURN(const PreDataState begun, LoadPreData(target_, record_.name));
    if (begun.recorded) return std::string(exported.Get(0, 0));
    WF_RETURN_IF_ERROR(DeleteMigration(target_, record_.name));
    exists_ = false;
  }
  if (!exists_) {
    record_ = MigrationRecord{};
    record_.name = options_.name;
    record_.phase = Phase::kSchema;
    record_.source_database = source_.database();
    record_.copies_schema = options_.copy_schema;
    WF_RETURN_IF_ERROR(Record());
  }
  return std::string(exported.Get(0, 0));
}

// A snapshot cannot outlive the run that took it, and one copy has one snapshot: what an interrupted run
// copied is copied again (CopyTables empties a table that is kCopying).
absl::Status Migration::ForgetCopiedTables() {
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, Tables());
  for (TableRecord table : tables) {
    if (table.phase != TablePhase::kCopied) continue;
    table.phase = TablePhase::kCopying;
    WF_RETURN_IF_ERROR(UpdateTable(target_, record_.name, table));
  }
  return absl::OkStatus();
}

}  // namespace walferry
