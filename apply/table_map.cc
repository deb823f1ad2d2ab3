// Tested by tests/apply/applier_tables_test.cc and statement_test.cc.
#include "apply/table_map.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "apply/applier.h"
#include "stream/quote.h"

namespace walferry {
namespace {

// Types with a lower id are the server's own and the same everywhere; a user's has another id on each server.
constexpr Oid kFirstUserType = 16384;

// Of tables that are read before they are met, in pages: with more, most may never be.
constexpr std::size_t kAheadMax = 10000;
constexpr absl::Duration kAheadFor = absl::Minutes(1);

absl::Status MissingColumns(const Relation& relation, const TargetTable& target,
                            const std::vector<std::string>& missing) {
  std::string names;
  std::string alter;
  for (const std::string& column : missing) {
    names += (names.empty() ? "" : ", ") + column;
    alter += (alter.empty() ? "" : ", ") + ("ADD COLUMN " + QuoteIdentifier(column) + " TYPE");
  }
  return UnexpectedRelationError(
      relation, absl::StrFormat(
                    "table %s has columns on the source that it does not have on the target: %s. Run there, "
                    "with the types of the source: ALTER TABLE %s %s;",
                    relation.FullName(), names, target.sql_name, alter));
}

absl::Status GeneratedOnTarget(const Relation& relation, const TargetTable& target,
                               const std::string& column) {
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "column %s of table %s is published by the source, but the target generates it: run there ALTER "
      "TABLE %s ALTER COLUMN %s DROP EXPRESSION;",
      column, relation.FullName(), target.sql_name, QuoteIdentifier(column));
}

absl::Status AnotherTable(const Relation& relation, Oid adopted) {
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "table %s of the source is another one than when the slot was adopted (oid %d, not %d): it was made "
      "anew, or another one was given its name; make both sides equal and begin anew (walferry cleanup, then "
      "walferry stream with a new slot)",
      relation.FullName(), relation.id, adopted);
}

bool IsWithin(const std::vector<std::size_t>& columns, const std::vector<std::size_t>& all) {
  return std::all_of(columns.begin(), columns.end(), [&](std::size_t column) {
    return std::find(all.begin(), all.end(), column) != all.end();
  });
}

// The target's key that finds a row which is known by `columns`, or nullptr.
const std::vector<std::size_t>* KeyWithin(const MappedTable& mapped,
                                          const std::vector<std::size_t>& columns) {
  const auto found =
      std::find_if(mapped.keys.begin(), mapped.keys.end(),
                   [&](const std::vector<std::size_t>& key) { return IsWithin(key, columns); });
  return found == mapped.keys.end() ? nullptr : &*found;
}

// Those whose columns all arrive.
void MapKeys(MappedTable& mapped) {
  for (const UniqueKey& key : mapped.target.keys) {
    std::vector<std::size_t> published;
    for (const std::size_t column : key.columns) {
      if (mapped.published_column[column] != kNoColumn) published.push_back(mapped.published_column[column]);
    }
    if (published.size() != key.columns.size()) continue;
    if (mapped.keys.empty()) mapped.first_key_is_primary = key.primary;
    mapped.keys.push_back(std::move(published));
  }
}

void MapIdentity(const Relation& relation, MappedTable& mapped) {
  if (relation.replica_identity == ReplicaIdentity::kFull) return;
  std::string generated;
  for (std::size_t i = 0; i < relation.columns.size(); ++i) {
    if (!relation.columns[i].is_key) continue;
    if (mapped.target_column[i] != kNoColumn) {
      mapped.identity.push_back(i);
    } else {
      generated += (generated.empty() ? "" : ", ") + relation.columns[i].name;
    }
  }
  mapped.identity_is_unique = KeyWithin(mapped, mapped.identity) != nullptr;
  // What is left of the identity is no key, unless it is one of the target, which then tells the rows apart
  // that the source tells apart by what it generated. A column that is not published told rows apart that are
  // there on the source.
  mapped.missing_identity = mapped.source.unpublished_identity;
  if (mapped.missing_identity.empty() && !mapped.identity_is_unique) mapped.missing_identity = generated;
  if (mapped.missing_identity.empty()) return;
  mapped.identity.clear();
  mapped.identity_is_unique = false;
}

bool SameType(Oid source, const TargetColumn& target) {
  return source == target.element_oid || SameBinaryFormat(source, target.type_oid);
}

void MapRowKey(const Relation& relation, MappedTable& mapped) {
  if (mapped.target.fires_always) return;
  std::vector<std::size_t> key;
  if (relation.replica_identity == ReplicaIdentity::kFull) {
    if (mapped.first_key_is_primary) key = mapped.keys.front();
  } else if (mapped.identity_is_unique) {
    key = mapped.identity;
  }
  for (const std::size_t column : key) {
    const TargetColumn& target = mapped.target.columns[mapped.target_column[column]];
    if (!target.equal_is_identical || target.array_sql.empty()) return;
    // Read as another type, two of the source's keys may be one: the texts '1' and '01' as numbers.
    if (!SameType(relation.columns[column].type_oid, target)) return;
  }
  if (key.empty()) return;
  mapped.row_key = std::move(key);
  // With one unique index alone, the key within is that index'.
  if (mapped.target.constraining_indexes > 1) return;
  mapped.lane_key = *KeyWithin(mapped, mapped.row_key);
  std::sort(mapped.lane_key.begin(), mapped.lane_key.end());
}

}  // namespace

bool SameBinaryFormat(Oid source, Oid target) {
  return source == target || (source >= kFirstUserType && target >= kFirstUserType);
}

absl::Status MapColumns(const Relation& relation, MappedTable& mapped) {
  std::vector<std::string> missing;
  mapped.target_column.assign(relation.columns.size(), kNoColumn);
  mapped.published_column.assign(mapped.target.columns.size(), kNoColumn);
  for (std::size_t i = 0; i < relation.columns.size(); ++i) {
    const std::string& name = mapped.column_names.empty() ? relation.columns[i].name : mapped.column_names[i];
    if (name.empty()) continue;  // Dropped on both sides since.
    const std::optional<std::size_t> column = mapped.target.FindColumn(name);
    if (!column) {
      missing.push_back(name);
    } else if (!mapped.target.columns[*column].generated) {
      mapped.target_column[i] = *column;
      mapped.published_column[*column] = i;
    } else if (!mapped.source.generated.contains(relation.columns[i].name)) {
      return GeneratedOnTarget(relation, mapped.target, relation.columns[i].name);
    }
  }
  if (!missing.empty()) return MissingColumns(relation, mapped.target, missing);
  MapKeys(mapped);
  MapIdentity(relation, mapped);
  MapRowKey(relation, mapped);
  return absl::OkStatus();
}

absl::Status TableCatalog::ReadAhead(Connection& target, const std::vector<TableName>& tables) {
  if (tables.size() > kAheadMax) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(auto read, ReadTargetTables(target, tables));
  const absl::MutexLock lock(&mutex_);
  ahead_ = std::move(read);
  ahead_until_ = absl::Now() + kAheadFor;
  return absl::OkStatus();
}

absl::StatusOr<MappedTable> TableCatalog::Begin(const Relation* relation) const {
  if (!options_.followed.empty()) return BeginFollowed(relation);
  MappedTable mapped;
  mapped.relation = relation;
  mapped.name = {relation->schema, relation->name};
  const auto known = options_.source_oids.find(mapped.name);
  if (known != options_.source_oids.end() && known->second != relation->id) {
    return AnotherTable(*relation, known->second);
  }
  const auto listed = options_.copied_at.find(mapped.name);
  mapped.in_scope = listed != options_.copied_at.end() || !options_.only_listed;
  if (listed != options_.copied_at.end()) mapped.applies_from = listed->second;
  mapped.source = NotesOf(mapped.name);
  return mapped;
}

SourceNotes TableCatalog::NotesOf(const TableName& table) const {
  const auto notes = options_.source_notes.find(table);
  return notes == options_.source_notes.end() ? SourceNotes{} : notes->second;
}

absl::StatusOr<MappedTable> TableCatalog::BeginFollowed(const Relation* relation) const {
  const auto found = options_.followed.find(relation->id);
  if (found == options_.followed.end()) {
    return UnexpectedRelationError(
        *relation, absl::StrFormat("the stream has changes of %s, which is not among the migration's tables",
                                   relation->FullName()));
  }
  const FollowedTable& table = found->second;
  MappedTable mapped;
  mapped.relation = relation;
  mapped.name = table.target.name.empty() ? TableName{relation->schema, relation->name} : table.target;
  mapped.target_oid = table.target_oid;
  mapped.in_scope = !table.dropped;
  mapped.applies_from = table.copied_at;
  mapped.source = NotesOf(mapped.name);
  if (table.dropped || table.shapes.empty()) return mapped;
  std::optional<std::vector<std::string>> names = TargetColumnNames(table, *relation);
  if (names) {
    mapped.column_names = *std::move(names);
  } else {
    mapped.unfit = UnexpectedRelationError(
        *relation, absl::StrFormat("the columns of %s were changed on the source", relation->FullName()));
  }
  return mapped;
}

std::shared_ptr<const MappedTable> TableCatalog::Known(const Relation* relation) {
  const absl::MutexLock lock(&mutex_);
  const auto found = tables_.find(relation);
  if (found != tables_.end()) return found->second;
  absl::StatusOr<MappedTable> mapped = Begin(relation);
  if (!mapped.ok()) return nullptr;
  if (mapped->in_scope && mapped->unfit.ok()) {
    if (absl::Now() > ahead_until_) ahead_.clear();
    auto ahead = ahead_.extract(mapped->name);
    if (ahead.empty()) return nullptr;
    mapped->target = std::move(ahead.mapped());
    // It may have been altered since.
    if (!MapColumns(*relation, *mapped).ok()) return nullptr;
  }
  return tables_[relation] = std::make_shared<const MappedTable>(*std::move(mapped));
}

absl::StatusOr<std::shared_ptr<const MappedTable>> TableCatalog::Resolve(Connection& target,
                                                                         const Relation* relation) {
  int clearings = 0;
  {
    const absl::MutexLock lock(&mutex_);
    clearings = clearings_;
  }
  if (std::shared_ptr<const MappedTable> known = Known(relation)) return known;
  // Two lanes may read it at the same time: they read the same.
  WF_ASSIGN_OR_RETURN(MappedTable mapped, Begin(relation));
  absl::StatusOr<TargetTable> table = ReadTargetTable(target, mapped.name);
  if (!table.ok()) return Annotate(table.status(), "reading the columns of " + mapped.name.ToString());
  mapped.target = *std::move(table);
  mapped.unfit = MapColumns(*relation, mapped);
  auto shared = std::make_shared<const MappedTable>(std::move(mapped));
  const absl::MutexLock lock(&mutex_);
  // What was read before somebody found it to be out of date may be that.
  if (clearings == clearings_) tables_[relation] = shared;
  return shared;
}

bool TableCatalog::NoteOutOfScope(const TableName& table) {
  const absl::MutexLock lock(&mutex_);
  return out_of_scope_.insert(table).second;
}

void TableCatalog::Clear() {
  const absl::MutexLock lock(&mutex_);
  ++clearings_;
  tables_.clear();
  ahead_.clear();
}

const MappedTable* TableMap::FindOther(const Relation* relation) const {
  const auto found = tables_.find(relation);
  if (found == tables_.end()) return nullptr;
  last_relation_ = relation;
  last_ = found->second.get();
  return last_;
}

bool TableMap::ResolveKnown(const Relation* relation) {
  if (Find(relation) != nullptr) return true;
  std::shared_ptr<const MappedTable> known = catalog_.Known(relation);
  if (known == nullptr) return false;
  Add(std::move(known));
  return true;
}

absl::Status TableMap::Resolve(Connection& target, const Relation* relation) {
  if (Find(relation) != nullptr) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(std::shared_ptr<const MappedTable> mapped, catalog_.Resolve(target, relation));
  Add(std::move(mapped));
  return absl::OkStatus();
}

void TableMap::Add(std::shared_ptr<const MappedTable> mapped) {
  if (!mapped->in_scope && catalog_.NoteOutOfScope(mapped->name)) out_of_scope_.insert(mapped->name);
  latest_[mapped->name] = mapped->relation;
  tables_[mapped->relation] = std::move(mapped);
}

void TableMap::Clear() {
  catalog_.Clear();
  Forget();
}

void TableMap::Forget() {
  tables_.clear();
  latest_.clear();
  last_relation_ = nullptr;
  last_ = nullptr;
}

}  // namespace walferry
