// The schema phase: the tables as they were in the snapshot that is copied, made on the target.
#include <algorithm>
#include <set>
#include <utility>

#include "apply/existing_object.h"
#include "tools/excluded_relations.h"
#include "tools/log.h"
#include "tools/migration.h"
#include "tools/role_needs.h"
#include "tools/source_record.h"
#include "tools/table_match.h"

namespace walferry {

absl::StatusOr<Connection> Migration::SourceAt(const std::string& snapshot) const {
  ConnectOptions options = ReplicationOptions();
  options.replication = false;
  WF_ASSIGN_OR_RETURN(Connection source, Connection::Open(options));
  if (!snapshot.empty()) WF_RETURN_IF_ERROR(BeginInSnapshot(source, snapshot));
  return source;
}

absl::StatusOr<bool> Migration::KeepsOwners(const std::vector<TableName>& excluded) {
  WF_ASSIGN_OR_RETURN(const std::vector<RoleNeed> needs, ListRoleNeeds(source_, excluded));
  WF_ASSIGN_OR_RETURN(const std::vector<RoleGap> gaps, FindRoleGaps(target_, needs));
  return OwnersCanBeKept(gaps);
}

// The relations of the source's snapshot that are no part of the migration: left out by choice, or made after
// its list.
absl::StatusOr<std::vector<TableName>> Migration::NotRecordedIn(Connection& source,
                                                                const SourceCatalog& catalog) {
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, Tables());
  std::set<Oid> needed;
  for (const TableRecord& table : tables) {
    needed.insert(table.source_oid);
    if (const SourceRelation* const relation = catalog.Find(table.source_oid)) {
      for (const SourceRelation* ancestor : catalog.AncestorsOf(*relation)) needed.insert(ancestor->oid);
    }
  }
  WF_ASSIGN_OR_RETURN(std::vector<TableName> names, ExcludedRelations(source, options_.tables));
  for (const auto& [oid, relation] : catalog.relations) {
    if (relation.persistence != 'p' || needed.contains(oid)) continue;
    const bool is_chosen_root = relation.kind == 'p' && options_.tables.Matches(TableOf(catalog, relation));
    if (!is_chosen_root) names.push_back(relation.name);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

absl::Status Migration::SchemaPhase(const std::string& snapshot) {
  if (!record_.copies_schema) {
    WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> tables, Tables());
    const std::vector<TableName> names = NamesOf(tables);
    WF_ASSIGN_OR_RETURN(const TablePairs pairs, ReadTablePairs(source_, target_, names));
    WF_RETURN_IF_ERROR(CheckTablesMatch(pairs));
    return SetPhase(Phase::kCopy);
  }
  MigrationRecord next = record_;
  next.phase = Phase::kCopy;
  WF_ASSIGN_OR_RETURN(PreDataState begun, LoadPreData(target_, record_.name));
  if (begun.recorded) {
    LogInfo("the schema is half made: %d statements are left", begun.missing.size());
    WF_RETURN_IF_ERROR(FinishPreData(target_, next, std::move(begun.missing)));
    record_ = std::move(next);
    return absl::OkStatus();
  }
  WF_ASSIGN_OR_RETURN(SchemaDump dump, DumpAt(snapshot));
  WF_RETURN_IF_ERROR(LeaveOutWhatIsThere(dump));
  WF_RETURN_IF_ERROR(CreatePreData(target_, next, dump));
  record_ = std::move(next);
  for (const std::string& object : dump.left_out) {
    LogWarn("left out, because it belongs to a table that was not chosen: %s", object);
  }
  LogInfo("schema created; %d objects wait until the data is there", dump.post_data.size());
  return absl::OkStatus();
}

absl::Status Migration::LeaveOutWhatIsThere(SchemaDump& dump) {
  WF_ASSIGN_OR_RETURN(const ObjectDefinitions here, ReadDefinitions(source_));
  WF_ASSIGN_OR_RETURN(const ObjectDefinitions there, ReadDefinitions(target_));
  const std::size_t before = dump.pre_data.size();
  WF_RETURN_IF_ERROR(LeaveOutExisting(here, there, dump.pre_data));
  if (dump.pre_data.size() < before) {
    LogInfo("%d types, functions or the like are on the target already, as on the source",
            before - dump.pre_data.size());
  }
  return absl::OkStatus();
}

// kAborted where it would be half of one moment, half of another: pg_dump has its tables from the snapshot,
// and the text of what is made on them from catalogs as they are now.
absl::StatusOr<SchemaDump> Migration::DumpAt(const std::string& snapshot) {
  SchemaDumpOptions options;
  options.source = options_.source;
  options.snapshot = snapshot;
  options.lock_retry = SourceLockRetry();
  SourceCatalog catalog;
  {
    WF_ASSIGN_OR_RETURN(Connection source, SourceAt(snapshot));
    WF_ASSIGN_OR_RETURN(catalog, ReadSourceCatalog(source, "", ""));
    WF_ASSIGN_OR_RETURN(options.excluded_tables, NotRecordedIn(source, catalog));
  }
  WF_ASSIGN_OR_RETURN(options.keep_owners, KeepsOwners(options.excluded_tables));
  if (!options.keep_owners) {
    LogWarn(
        "roles of the source are missing on the target or not granted to %s: everything will belong "
        "to %s, and grants are left out",
        target_.user(), target_.user());
  }
  absl::StatusOr<SchemaDump> dump = DumpSchema(options, source_.server_version(), *stop_);
  // pg_dump's own words may be in any language.
  if (dump.ok() || absl::IsFailedPrecondition(dump.status())) {
    const std::vector<TableName>& excluded = options.excluded_tables;
    std::erase_if(catalog.relations, [&](const auto& relation) {
      return std::binary_search(excluded.begin(), excluded.end(), relation.second.name);
    });
    WF_RETURN_IF_ERROR(CheckUnchangedSince(catalog));
  }
  if (dump.ok()) WF_RETURN_IF_ERROR(RecordAsDumped(catalog));
  return dump;
}

absl::Status Migration::CheckUnchangedSince(const SourceCatalog& before) {
  WF_ASSIGN_OR_RETURN(Connection source, SourceAt(/*snapshot=*/""));
  WF_ASSIGN_OR_RETURN(const SourceCatalog now, ReadSourceCatalog(source, "", ""));
  for (const auto& [oid, relation] : before.relations) {
    const SourceRelation* const found = now.Find(oid);
    if (found != nullptr && found->name == relation.name && found->columns == relation.columns) continue;
    return Errorf(
        absl::StatusCode::kAborted,
        "table %s was changed, renamed or dropped on the source since the snapshot, while the schema "
        "was dumped: it is dumped under a new one",
        relation.name.ToString());
  }
  return absl::OkStatus();
}

// The target's tables will have the names and columns of the dump, which may be later than the slot's: by
// them they are found there, whatever the source's are called by then.
absl::Status Migration::RecordAsDumped(const SourceCatalog& catalog) {
  WF_ASSIGN_OR_RETURN(std::vector<TableRecord> tables, Tables());
  for (TableRecord& table : tables) {
    const SourceRelation* const dumped = catalog.Find(table.source_oid);
    if (dumped == nullptr) {
      if (catalog.FindByName(table.table) != nullptr) table = SetAside(table);
      continue;
    }
    std::optional<SourceRelation> recorded = RelationFromText(table.catalog);
    if (!recorded) continue;
    if (recorded->columns != dumped->columns) {
      recorded->earlier_columns.insert(recorded->earlier_columns.begin(), recorded->columns);
      recorded->columns = dumped->columns;
    }
    recorded->name = dumped->name;
    table.table = dumped->name;
    table.catalog = ToText(*recorded);
  }
  WF_RETURN_IF_ERROR(target_.Execute("BEGIN").status());
  WF_RETURN_IF_ERROR(ReplaceTables(target_, record_.name, tables));
  return target_.Execute("COMMIT").status();
}

}  // namespace walferry
