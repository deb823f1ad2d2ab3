// How a relation of the stream maps to a table of the target: columns by name, what identifies a row, and
// whether and since when its changes are to be applied at all.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "apply/target_table.h"
#include "decoder/relation.h"

namespace walferry {

struct ApplierOptions;

inline constexpr std::size_t kNoColumn = static_cast<std::size_t>(-1);

// What the source's catalog says of a table, and its relation messages do not.
struct SourceNotes {
  std::set<std::string> generated;  // Columns that the source generates.
  // Columns of the replica identity that are not published, as a list for people: the rest of it does not say
  // which row is meant.
  std::string unpublished_identity;
};

// Indexes into Relation::columns are called "published", those into TargetTable::columns "target".
struct MappedTable {
  const Relation* relation = nullptr;
  TableName name;      // On the target.
  Oid target_oid = 0;  // Of the table that is meant by the name there; 0: whichever has it.
  // By published column, what it is called on the target, "" where it is not there any more. Empty: as on the
  // source.
  std::vector<std::string> column_names;
  // False: none of its changes is applied, and nothing below is filled in.
  bool in_scope = false;
  // Older transactions (by commit LSN) are in the table's copy.
  Lsn applies_from;
  // Why changes of this shape cannot be applied; nothing below is filled in then. Those that are in the copy
  // need not be.
  absl::Status unfit;
  SourceNotes source;

  TargetTable target;
  // By published column: its target column, or kNoColumn where the target generates the value itself.
  std::vector<std::size_t> target_column;
  // By target column: its published column, or kNoColumn.
  std::vector<std::size_t> published_column;
  // Published columns that the source's replica identity consists of; empty for FULL and NOTHING.
  std::vector<std::size_t> identity;
  bool identity_is_unique = false;  // A key of the target lies within them.
  // Columns of the source's identity that do not arrive, as a list for people. A key that does not arrive
  // whole is no key: with any of them `identity` is empty.
  std::string missing_identity;
  // The target's keys whose columns are all published, as published columns, in the order of
  // TargetTable::keys.
  std::vector<std::vector<std::size_t>> keys;
  bool first_key_is_primary = false;
  // Published columns that tell one row from another by their bytes alone: equal bytes, same row; other
  // bytes, other row. Empty where there are none, or where the order of changes can be seen by triggers: such
  // a table's changes are applied one by one in the source's order.
  std::vector<std::size_t> row_key;
  // The target's key within row_key. Rows that differ in it do not get into each other's way, so they need no
  // common order: nothing but this key's index is unique. Empty where that is not so. An identity may be
  // wider than the key: two of its rows, one after the other, are one row of the target.
  std::vector<std::size_t> lane_key;  // Ascending.
};

// Whether the binary form of a value is the same on both sides, as far as can be told from here: a user's
// type has another oid on each server, and its receive function has to find out.
bool SameBinaryFormat(Oid source, Oid target);

// Fails with kFailedPrecondition, listing them, where published columns are missing on the target.
// The same where the target generates a column that the source publishes and does not generate.
absl::Status MapColumns(const Relation& relation, MappedTable& mapped);

// The target's catalog as far as it was read, by relation: what the lanes of an applier share. A different
// shape is a different Relation, so it is read anew. Thread-safe.
class TableCatalog {
 public:
  // Of the options copied_at, only_listed, source_oids, followed and source_notes count; they outlive this.
  explicit TableCatalog(const ApplierOptions& options) : options_(options) {}

  // Reads tables that are likely to be met, so that the stream need not stop for each of them. What is not
  // met soon will be read anew: it may have been altered.
  absl::Status ReadAhead(Connection& target, const std::vector<TableName>& tables);
  // Null where the target has to be asked, or Resolve() fails.
  std::shared_ptr<const MappedTable> Known(const Relation* relation);
  // Asks the target if the relation is not known yet. Not inside a pipeline.
  absl::StatusOr<std::shared_ptr<const MappedTable>> Resolve(Connection& target, const Relation* relation);
  // True once for each table.
  bool NoteOutOfScope(const TableName& table);
  // The target's tables may have changed.
  void Clear();

 private:
  absl::StatusOr<MappedTable> Begin(const Relation* relation) const;
  absl::StatusOr<MappedTable> BeginFollowed(const Relation* relation) const;
  SourceNotes NotesOf(const TableName& table) const;

  const ApplierOptions& options_;
  absl::Mutex mutex_;
  int clearings_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<TableName, TargetTable> ahead_
      ABSL_GUARDED_BY(mutex_);  // Each for the first relation of the name.
  absl::Time ahead_until_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<const Relation*, std::shared_ptr<const MappedTable>> tables_ ABSL_GUARDED_BY(mutex_);
  std::set<TableName> out_of_scope_ ABSL_GUARDED_BY(mutex_);
};

// What one lane has met of it. Another lane that clears the catalog takes nothing away from this one. Not
// thread-safe.
class TableMap {
 public:
  // catalog: outlives this.
  explicit TableMap(TableCatalog& catalog) : catalog_(catalog) {}

  // nullptr where Resolve() was not called for it. The pointer is valid until Clear().
  const MappedTable* Find(const Relation* relation) const {
    if (relation == last_relation_) return last_;
    return FindOther(relation);
  }
  // See TableCatalog; true where it was resolved.
  bool ResolveKnown(const Relation* relation);
  absl::Status Resolve(Connection& target, const Relation* relation);
  // The relation that was resolved last of each table.
  const std::map<TableName, const Relation*>& latest() const { return latest_; }
  // Tables whose changes this lane was the first to meet, and which are left out.
  const std::set<TableName>& out_of_scope() const { return out_of_scope_; }
  // The target's tables may have changed: for all lanes, the others will find out in their turn.
  void Clear();
  // What another lane has cleared is cleared here, too.
  void Forget();

 private:
  const MappedTable* FindOther(const Relation* relation) const;
  void Add(std::shared_ptr<const MappedTable> mapped);

  TableCatalog& catalog_;
  absl::flat_hash_map<const Relation*, std::shared_ptr<const MappedTable>> tables_;
  std::map<TableName, const Relation*> latest_;
  std::set<TableName> out_of_scope_;
  mutable const Relation* last_relation_ = nullptr;
  mutable const MappedTable* last_ = nullptr;
};

}  // namespace walferry
