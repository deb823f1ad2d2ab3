// What a migration does about differences of the source's catalog (catalog_watch.h): it records what both
// sides agree on, follows new partitions, copies again what has to be, and refuses to go on where that would
// lose something.
#include <poll.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/time/clock.h"
#include "apply/retry.h"
#include "apply/schema.h"
#include "stream/sqlstate.h"
#include "tools/catalog_watcher.h"
#include "tools/column_changes.h"
#include "tools/log.h"
#include "tools/migration.h"
#include "tools/source_record.h"

namespace walferry {
namespace {

// Looks until nothing is left to be done; something may happen while one is taken care of.
constexpr int kRoundsMax = 20;

// A publication of ours never has generated columns.
SourceShape ShapeOf(const std::vector<SourceColumn>& columns) {
  SourceShape shape;
  for (const SourceColumn& column : columns) {
    if (column.generated.empty()) shape.push_back({column.attnum, column.name, column.type_oid});
  }
  return shape;
}

// The names of the target's columns come first.
FollowedTable FollowedOf(const TableRecord& record) {
  FollowedTable table;
  table.target = record.table;
  table.copied_at = record.position;
  table.dropped = record.phase == TablePhase::kDropped;
  if (const std::optional<SourceRelation> relation = RelationFromText(record.catalog)) {
    table.target_oid = relation->target_oid;
    table.shapes.push_back(ShapeOf(relation->columns));
    for (const auto& earlier : relation->earlier_columns) table.shapes.push_back(ShapeOf(earlier));
  }
  return table;
}

std::string WhatToDo(const CatalogDifference& difference) {
  return difference.command.empty() ? difference.text : difference.text + ": run " + difference.command;
}

}  // namespace

FollowedTables MakeFollowedTables(const MigrationRecord& migration, const std::vector<TableRecord>& tables) {
  FollowedTables followed;
  if (!migration.owns_publication) return followed;
  for (const TableRecord& record : tables) {
    if (record.source_oid != 0) followed[record.source_oid] = FollowedOf(record);
  }
  if (const auto publication = PublicationFromText(migration.publication_catalog)) {
    for (const Oid oid : publication->ignored) followed[oid].dropped = true;
  }
  return followed;
}

absl::Status Migration::ReconnectSource() {
  if (source_.alive()) return absl::OkStatus();
  ConnectOptions options = ReplicationOptions();
  options.replication = false;
  WF_ASSIGN_OR_RETURN(source_, Connection::Open(options));
  return absl::OkStatus();
}

absl::Status Migration::ReadCatalogOfSource(SourceCatalog& catalog) {
  WF_RETURN_IF_ERROR(ReconnectSource());
  WF_ASSIGN_OR_RETURN(catalog, ReadSourceCatalog(source_, record_.publication, record_.insert_publication));
  return absl::OkStatus();
}

absl::StatusOr<CatalogFindings> Migration::Compare() {
  if (!record_.owns_publication) return CatalogFindings{};
  WF_ASSIGN_OR_RETURN(const RecordedCatalog recorded, LoadRecorded(target_, record_));
  SourceCatalog source;
  // It may have been idle through a long copy, or be away for now. A lost target ends this run: its
  // connection holds the migration's lock.
  bool is_said = false;
  const absl::Status read = RetryFor(options_.follow.retry_for, *stop_, [&]() -> absl::Status {
    const absl::Status tried = ReadCatalogOfSource(source);
    if (IsRetryable(tried) && !std::exchange(is_said, true)) {
      LogWarn("the source's catalog cannot be read: %s: trying again", MessageOf(tried));
    }
    return tried;
  });
  WF_RETURN_IF_ERROR(read);
  WF_ASSIGN_OR_RETURN(const SourceCatalog target, ReadSourceCatalog(target_, "", ""));
  return CompareCatalogs(recorded, source, target);
}

absl::StatusOr<CatalogFindings> Migration::Reconcile() {
  WF_ASSIGN_OR_RETURN(CatalogFindings findings, Compare());
  WF_RETURN_IF_ERROR(RecordFindings(target_, record_.name, findings));
  if (!findings.publication.empty()) {
    record_.publication_catalog = findings.publication;
    WF_RETURN_IF_ERROR(UpdateMigration(target_, record_));
  }
  for (const Oid oid : findings.ignored)
    WF_RETURN_IF_ERROR(Ignore(oid, "it is left out by the choice of tables"));
  std::erase_if(findings.differences,
                [](const CatalogDifference& difference) { return difference.kind == "new-partitions"; });
  difference_log_.Show(findings.differences);
  return findings;
}

absl::Status Migration::Ignore(Oid oid, const std::string& why) {
  std::optional<SourcePublication> publication = PublicationFromText(record_.publication_catalog);
  if (!publication) publication.emplace();
  publication->ignored.push_back(oid);
  record_.publication_catalog = ToText(*publication);
  WF_RETURN_IF_ERROR(UpdateMigration(target_, record_));
  const std::string text = absl::StrFormat("changes of the source's relation %d are left out: %s", oid, why);
  LogWarn("%s", text);
  return Note("catalog", text);
}

// Before a stream begins, so that it may go on from where it stands.
absl::Status Migration::FollowCatalog() {
  for (int round = 0; round < kRoundsMax; ++round) {
    if (stop_->requested()) return absl::OkStatus();
    WF_ASSIGN_OR_RETURN(const CatalogFindings findings, Reconcile());
    for (const CatalogDifference& difference : findings.differences) {
      if (difference.stops) return Errorf(absl::StatusCode::kFailedPrecondition, "%s", WhatToDo(difference));
    }
    if (!findings.new_partitions.empty()) {
      WF_RETURN_IF_ERROR(AdoptPartitions(findings.new_partitions));
      continue;
    }
    WF_ASSIGN_OR_RETURN(const bool copied, CopyAgain());
    if (!copied) return absl::OkStatus();
  }
  return Errorf(absl::StatusCode::kUnavailable,
                "gave up for now: the source's catalog changes faster than it can be followed");
}

absl::Status Migration::Publish(const SourceCatalog& catalog, const SourceRelation& relation) {
  if (catalog.IsPublished(relation)) return absl::OkStatus();
  std::string publication = record_.publication;
  if (!relation.has_identity) {
    if (record_.insert_publication.empty()) {
      return Errorf(
          absl::StatusCode::kFailedPrecondition,
          "table %s of the source has no replica identity: published, its updates would be refused to the "
          "application; run there ALTER TABLE %s REPLICA IDENTITY FULL;",
          relation.name.ToString(), QuoteName(relation.name.schema, relation.name.name));
    }
    publication = record_.insert_publication;
  }
  LogInfo("publication %s: table %s is added", publication, relation.name.ToString());
  return AddToPublication(source_, publication, {relation.name}, SourceLockRetry());
}

// What is renamed or dropped on the source meanwhile is left to the caller's next look.
absl::Status Migration::AdoptPartitions(const std::vector<Oid>& partitions) {
  WF_ASSIGN_OR_RETURN(SourceCatalog catalog,
                      ReadSourceCatalog(source_, record_.publication, record_.insert_publication));
  for (const Oid oid : partitions) {
    const SourceRelation* const leaf = catalog.Find(oid);
    const absl::Status published = leaf == nullptr ? absl::OkStatus() : Publish(catalog, *leaf);
    if (IsUndefinedTable(published)) return absl::OkStatus();
    WF_RETURN_IF_ERROR(published);
  }
  WF_ASSIGN_OR_RETURN(catalog, ReadSourceCatalog(source_, record_.publication, record_.insert_publication));
  std::vector<const SourceRelation*> leaves;
  for (const Oid oid : partitions) {
    const SourceRelation* const leaf = catalog.Find(oid);
    if (leaf != nullptr && leaf->parent != 0) leaves.push_back(leaf);
  }
  const absl::Status made = MakePartitions(catalog, leaves);
  if (absl::IsAborted(made)) return absl::OkStatus();
  WF_RETURN_IF_ERROR(made);
  std::vector<TableRecord> records;
  for (const SourceRelation* leaf : leaves) {
    TableRecord record = RecordOf(catalog, *leaf);
    if (IsBornEmpty(catalog, *leaf)) record.phase = TablePhase::kCopied;
    LogInfo("partition %s is new: %s", leaf->name.ToString(),
            record.phase == TablePhase::kCopied ? "followed from its first row" : "it is copied first");
    records.push_back(std::move(record));
  }
  WF_RETURN_IF_ERROR(ReplaceDropped(records));
  WF_RETURN_IF_ERROR(Heed(partitions));
  for (const TableRecord& record : records) {
    WF_RETURN_IF_ERROR(Note("catalog", "partition " + record.table.ToString() + " is new, and followed"));
  }
  return CopyWaiting();
}

// Not ignored any more: what comes before their copies is in these.
absl::Status Migration::Heed(const std::vector<Oid>& oids) {
  std::optional<SourcePublication> publication = PublicationFromText(record_.publication_catalog);
  if (!publication) return absl::OkStatus();
  const auto heeded = std::erase_if(
      publication->ignored, [&](Oid oid) { return std::find(oids.begin(), oids.end(), oid) != oids.end(); });
  if (heeded == 0) return absl::OkStatus();
  record_.publication_catalog = ToText(*publication);
  return UpdateMigration(target_, record_);
}

// Adds the records; one of the same name that is of a table which is gone makes room.
absl::Status Migration::ReplaceDropped(const std::vector<TableRecord>& records) {
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, Tables());
  WF_RETURN_IF_ERROR(target_.Execute("BEGIN").status());
  for (const TableRecord& table : tables) {
    const bool in_the_way = std::any_of(records.begin(), records.end(),
                                        [&](const TableRecord& one) { return one.table == table.table; });
    if (!in_the_way) continue;
    TableRecord aside = SetAside(table);
    for (const TableRecord& record : records) {
      if (record.source_oid == table.source_oid) aside.source_oid = 0;
    }
    WF_RETURN_IF_ERROR(UpdateTableCatalog(target_, record_.name, table.table, aside));
  }
  WF_RETURN_IF_ERROR(AddTables(target_, record_.name, records));
  return target_.Execute("COMMIT").status();
}

// Certain where the whole way up to what is published was made in one piece, or where no row was ever
// written: all of its rows are in the stream then.
bool Migration::IsBornEmpty(const SourceCatalog& catalog, const SourceRelation& leaf) {
  const SourceRelation* const through = catalog.PublishedThrough(leaf);
  if (through == nullptr || through->oid == leaf.oid) return false;
  // What the stream had of it before was left out; or it was made unlogged.
  const std::optional<SourcePublication> publication = PublicationFromText(record_.publication_catalog);
  const bool was_ignored = publication && std::find(publication->ignored.begin(), publication->ignored.end(),
                                                    leaf.oid) != publication->ignored.end();
  if (was_ignored || leaf.filenode != leaf.oid) return false;
  for (const SourceRelation* at = &leaf; at != nullptr && at->oid != through->oid;
       at = catalog.Find(at->parent)) {
    if (!at->born_as_partition) return false;
  }
  return true;
}

// kAborted: one is not there any more.
absl::Status Migration::MakePartitions(const SourceCatalog& catalog,
                                       const std::vector<const SourceRelation*>& leaves) {
  WF_ASSIGN_OR_RETURN(const SourceCatalog there, ReadSourceCatalog(target_, "", ""));
  std::vector<TableName> missing;
  const auto add = [&](const SourceRelation& relation) {
    if (there.FindByName(relation.name) != nullptr) return;
    if (std::find(missing.begin(), missing.end(), relation.name) == missing.end())
      missing.push_back(relation.name);
  };
  for (const SourceRelation* leaf : leaves) {
    // A whole branch may be new.
    for (const SourceRelation* ancestor : catalog.AncestorsOf(*leaf)) add(*ancestor);
    add(*leaf);
    if (const SourceRelation* const found = there.FindByName(leaf->name)) {
      WF_RETURN_IF_ERROR(CheckEmptyOnTarget(found->name));
    }
  }
  if (missing.empty()) return absl::OkStatus();
  if (!options_.creates_partitions) {
    std::vector<const SourceRelation*> relations;
    for (const TableName& name : missing) relations.push_back(catalog.FindByName(name));
    return RefusePartitions(catalog, std::move(relations));
  }
  SchemaDumpOptions options;
  options.source = options_.source;
  options.only_tables = missing;
  options.lock_retry = SourceLockRetry();
  WF_ASSIGN_OR_RETURN(options.keep_owners, KeepsOwners({}));
  WF_ASSIGN_OR_RETURN(const PartitionSchema schema,
                      DumpPartitions(options, source_.server_version(), *stop_));
  const absl::Status made = CreatePartitions(target_, record_.name, schema);
  if (made.ok() || absl::IsCancelled(made)) return made;
  return Annotate(
      made, absl::StrFormat("partition %s is new on the source, and cannot be made on the target (make it "
                            "there by hand, and run again)",
                            missing.front().ToString()));
}

// Which of them are to be made, those first of which others are partitions.
absl::Status Migration::RefusePartitions(const SourceCatalog& catalog,
                                         std::vector<const SourceRelation*> missing) {
  std::stable_sort(missing.begin(), missing.end(), [&](const auto* a, const auto* b) {
    return catalog.AncestorsOf(*a).size() < catalog.AncestorsOf(*b).size();
  });
  std::string statements;
  for (const SourceRelation* relation : missing) {
    const SourceRelation* const parent = catalog.Find(relation->parent);
    statements += absl::StrFormat("%sCREATE TABLE %s PARTITION OF %s %s", statements.empty() ? "" : " ",
                                  QuoteName(relation->name.schema, relation->name.name),
                                  parent == nullptr ? "…" : QuoteName(parent->name.schema, parent->name.name),
                                  relation->bound);
    if (relation->kind == 'p') {
      WF_ASSIGN_OR_RETURN(const Result key, source_.Execute("SELECT pg_catalog.pg_get_partkeydef($1::oid)",
                                                            {std::to_string(relation->oid)}));
      if (key.rows() == 1) statements += " PARTITION BY " + std::string(key.Get(0, 0));
    }
    statements += ";";
  }
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "partition %s is new on the source, and --new-partitions is stop: make it on the target, as in "
      "%s and run again",
      missing.front()->name.ToString(), statements);
}

absl::Status Migration::CheckEmptyOnTarget(const TableName& table) {
  const std::string name = QuoteName(table.schema, table.name);
  WF_ASSIGN_OR_RETURN(const Result row, target_.Execute("SELECT EXISTS (SELECT FROM " + name + ")"));
  if (!row.GetBool(0, 0)) return absl::OkStatus();
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "partition %s is new on the source, and is on the target with rows already: empty it there (TRUNCATE "
      "%s;) or drop it, and run again",
      table.ToString(), name);
}

// Tables whose rows are not the source's any more, at a position of their own. False: there is none. True
// also where one is renamed or dropped meanwhile, for another look.
absl::StatusOr<bool> Migration::CopyAgain() {
  if (!record_.owns_slot) return false;  // Tables of an adopted slot are somebody else's to copy.
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, Tables());
  std::vector<TableRecord> again;
  bool waiting = false;
  for (const TableRecord& table : tables) {
    if (table.phase == TablePhase::kCopied && !table.needs_copy.empty()) again.push_back(table);
    waiting = waiting || AwaitsCopy(table.phase);
  }
  if (again.empty() && !waiting) return false;
  if (!options_.copies_again && !waiting) return false;
  WF_ASSIGN_OR_RETURN(const SourceCatalog catalog,
                      ReadSourceCatalog(source_, record_.publication, record_.insert_publication));
  for (TableRecord& table : again) {
    const SourceRelation* const relation = catalog.Find(table.source_oid);
    if (relation == nullptr) continue;
    const absl::Status published = Publish(catalog, *relation);
    if (IsUndefinedTable(published)) return true;
    WF_RETURN_IF_ERROR(published);
    LogInfo("table %s is copied again: %s", table.table.ToString(), table.needs_copy);
    WF_RETURN_IF_ERROR(
        Note("catalog", "table " + table.table.ToString() + " is copied again: " + table.needs_copy));
    table.phase = TablePhase::kCopying;
    table.needs_copy.clear();
    WF_RETURN_IF_ERROR(UpdateTableCatalog(target_, record_.name, table.table, table));
  }
  WF_RETURN_IF_ERROR(CopyWaiting());
  return true;
}

// What is kWaiting or kCopying, under a snapshot of its own; the stream goes on from where it stands, and
// leaves out what the copies have. Table by table where a new one is rewritten again and again.
absl::Status Migration::CopyWaiting() {
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> before, Tables());
  if (std::none_of(before.begin(), before.end(),
                   [](const TableRecord& one) { return AwaitsCopy(one.phase); })) {
    return absl::OkStatus();
  }
  LogInfo("making a snapshot for the copy; this waits for the transactions that are running on the source");
  record_.phase = Phase::kCopy;  // Of this process: the state is not that of a first copy.
  const absl::Status copied = [&]() -> absl::Status {
    while (record_.phase == Phase::kCopy) {
      if (stop_->requested()) return absl::CancelledError("stopped");
      WF_RETURN_IF_ERROR(SnapshotPhase());
    }
    return absl::OkStatus();
  }();
  snapshot_.reset();
  rewritten_.clear();
  if (early_indexes_ != nullptr) WF_RETURN_IF_ERROR(early_indexes_->Finish(*stop_));
  early_indexes_.reset();
  WF_RETURN_IF_ERROR(copied);
  return SetPhase(Phase::kCatchUp);
}

// A walsender sends a transaction as soon as its commit record is on disk, which may be long before others
// see it: while it waits for a synchronous standby.
absl::Status Migration::AwaitVisible(Xid xid) {
  constexpr char kVisibleSql[] = R"sql(
SELECT (pg_catalog.txid_snapshot_xmax(s) - $1::bigint + 4294967296) % 4294967296 BETWEEN 1 AND 2147483647
  AND NOT EXISTS (SELECT FROM pg_catalog.txid_snapshot_xip(s) x WHERE x % 4294967296 = $1::bigint)
FROM pg_catalog.txid_current_snapshot() s)sql";
  if (xid == 0) return absl::OkStatus();
  const absl::Time deadline = absl::Now() + options_.follow.retry_for;
  while (!stop_->requested() && absl::Now() < deadline) {
    WF_RETURN_IF_ERROR(ReconnectSource());
    WF_ASSIGN_OR_RETURN(const Result row, source_.Execute(kVisibleSql, {std::to_string(xid)}));
    if (row.GetBool(0, 0)) return absl::OkStatus();
    pollfd fd = {stop_->fd(), POLLIN, 0};
    poll(&fd, 1, 20);
  }
  return stop_->requested()
             ? absl::CancelledError("stopped")
             : absl::UnavailableError("a transaction that the source has sent is not visible there");
}

// The stream met a relation that it was not told about.
absl::Status Migration::Understand(Oid oid, const absl::Status& error) {
  if (!record_.owns_publication) return ExplainMissingColumns(oid, error);
  WF_RETURN_IF_ERROR(AwaitVisible(UnexpectedRelationXid(error)));
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> before, Tables());
  WF_RETURN_IF_ERROR(FollowCatalog());
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, Tables());
  const auto find = [oid](const std::vector<TableRecord>& list) {
    return std::find_if(list.begin(), list.end(),
                        [oid](const TableRecord& one) { return one.source_oid == oid; });
  };
  const auto found = find(tables);
  if (found == tables.end()) return UnderstandStranger(oid, error);
  const auto known = find(before);
  const bool changed = known == before.end() || known->catalog != found->catalog ||
                       known->phase != found->phase || known->position != found->position;
  if (changed) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(const CatalogFindings findings, Compare());
  WF_RETURN_IF_ERROR(CheckColumns(findings, *found));
  TableRecord again = *found;
  again.needs_copy = "it was changed more than once, and what it looked like in between is not known";
  WF_RETURN_IF_ERROR(UpdateTableCatalog(target_, record_.name, again.table, again));
  return Errorf(absl::StatusCode::kFailedPrecondition,
                "table %s %s: run walferry migrate again, which copies it anew", again.table.ToString(),
                again.needs_copy.substr(3));
}

absl::Status Migration::CheckColumns(const CatalogFindings& findings, const TableRecord& table) const {
  for (const CatalogDifference& difference : findings.differences) {
    if (difference.kind != "columns" || !Concerns(difference, table)) continue;
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "%s. Run on the target, and then walferry again; with the types of the source: %s",
                  difference.text, difference.command.substr(0, difference.command.rfind(" -- ")));
  }
  return absl::OkStatus();
}

// A table of somebody else's publication: what the target lacks of it, with the types of the source.
absl::Status Migration::ExplainMissingColumns(Oid oid, const absl::Status& error) {
  const absl::StatusOr<SourceCatalog> source = ReadSourceCatalog(source_, record_.publication, "");
  const absl::StatusOr<SourceCatalog> target = ReadSourceCatalog(target_, "", "");
  if (!source.ok() || !target.ok()) return error;
  const SourceRelation* const relation = source->Find(oid);
  const SourceRelation* const there = relation == nullptr ? nullptr : target->FindByName(relation->name);
  if (there == nullptr) return error;
  SourceRelation common = *relation;
  std::erase_if(common.columns,
                [&](const SourceColumn& one) { return there->FindColumn(one.name) == nullptr; });
  const ColumnChanges changes = CompareColumns(common, *relation, *there);
  if (changes.additions.empty()) return error;
  const std::vector<const SourceRelation*> ancestors = target->AncestorsOf(*there);
  const TableName& table = ancestors.empty() ? there->name : ancestors.back()->name;
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "table %s has columns on the source that it does not have on the target. Run there, with the types of "
      "the source: %s",
      relation->name.ToString(), changes.Statements(QuoteName(table.schema, table.name)));
}

// Differences of a partition's columns may be named under another partition of the same root.
bool Migration::Concerns(const CatalogDifference& difference, const TableRecord& table) const {
  const auto relation = RelationFromText(table.catalog);
  return difference.object == table.table.ToString() || (relation && relation->parent != 0);
}

absl::Status Migration::UnderstandStranger(Oid oid, const absl::Status& error) {
  WF_ASSIGN_OR_RETURN(const SourceCatalog catalog,
                      ReadSourceCatalog(source_, record_.publication, record_.insert_publication));
  const SourceRelation* const relation = catalog.Find(oid);
  if (relation == nullptr) return Ignore(oid, std::string(MessageOf(error)) + "; it was dropped since");
  if (relation->kind == 'p') return ForgetRoot(catalog, *relation);
  if (!catalog.IsPublished(*relation)) {
    return Ignore(oid, std::string(MessageOf(error)) + "; it is not published any more");
  }
  return error;
}

// Changes came under the name of a partitioned table: publish_via_partition_root was on for a while.
absl::Status Migration::ForgetRoot(const SourceCatalog& catalog, const SourceRelation& root) {
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, Tables());
  for (TableRecord table : tables) {
    const SourceRelation* const leaf = catalog.Find(table.source_oid);
    if (leaf == nullptr || table.phase != TablePhase::kCopied) continue;
    const auto ancestors = catalog.AncestorsOf(*leaf);
    if (std::find(ancestors.begin(), ancestors.end(), &root) == ancestors.end()) continue;
    table.needs_copy = "its changes were published as those of its root for a while";
    WF_RETURN_IF_ERROR(UpdateTableCatalog(target_, record_.name, table.table, table));
  }
  return Ignore(root.oid, "publish_via_partition_root was on, and its partitions are copied again");
}

}  // namespace walferry
