// Tested by tests/apply/net_changes_test.cc.
#include "apply/net_changes.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace walferry {
namespace {

using Effect = NetChanges::Row::Effect;

bool HasValue(const ColumnView& column) {
  return column.kind == ColumnKind::kText || column.kind == ColumnKind::kBinary;
}

// Set where a column that is no part of the row's key may only be written by deleting the row.
bool HasIdentityAlwaysOutside(const MappedTable& table) {
  for (std::size_t i = 0; i < table.target_column.size(); ++i) {
    const bool in_key = std::find(table.row_key.begin(), table.row_key.end(), i) != table.row_key.end();
    if (!in_key && table.target_column[i] != kNoColumn &&
        table.target.columns[table.target_column[i]].identity_always) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::size_t NetChanges::KeyHash::operator()(std::string_view key) const {
  return XXH3_64bits(key.data(), key.size());
}

NetChanges::NetChanges(const MappedTable& table)
    : table_(&table),
      updates_alone_(HasIdentityAlwaysOutside(table)),
      kinds_(table.relation->columns.size(), ColumnKind::kNull) {}

void NetChanges::Clear() {
  index_.clear();
  rows_.clear();
  merged_.clear();
  key_bytes_.release();
}

// False where a value cannot become an element of the column's array, or the tuple does not fit the relation
// (whose error is found by who applies it by itself).
bool NetChanges::Load(const TupleView& tuple, std::vector<ColumnView>& columns) {
  if (tuple.size() != table_->relation->columns.size()) return false;
  columns.resize(tuple.size());
  std::size_t next = 0;
  for (const ColumnView column : tuple) {
    const std::size_t i = next++;
    columns[i] = column;
    if (!HasValue(column) || column.kind == kinds_[i] || table_->target_column[i] == kNoColumn) continue;
    const TargetColumn& target = table_->target.columns[table_->target_column[i]];
    const bool fits = column.kind == ColumnKind::kText ||
                      (!target.array_sql.empty() &&
                       SameBinaryFormat(table_->relation->columns[i].type_oid, target.type_oid));
    if (kinds_[i] != ColumnKind::kNull || !fits) return false;
    kinds_[i] = column.kind;
  }
  return true;
}

// The view is into the segment or, for a key of several columns, into key_scratch_.
bool NetChanges::LoadKey(const std::vector<ColumnView>& columns, std::string_view& key) {
  for (const std::size_t i : table_->row_key) {
    if (!HasValue(columns[i])) return false;
  }
  if (table_->row_key.size() == 1) {
    key = columns[table_->row_key.front()].value;
    return true;
  }
  key_scratch_.clear();
  for (const std::size_t i : table_->row_key) {
    const auto length = static_cast<std::uint32_t>(columns[i].value.size());
    key_scratch_.append(reinterpret_cast<const char*>(&length), sizeof length);
    key_scratch_.append(columns[i].value);
  }
  key = key_scratch_;
  return true;
}

bool NetChanges::Take(const Event& event) {
  std::string_view key;
  if (event.kind != EventKind::kDelete && !Load(event.new_tuple, new_)) return false;
  if (event.old_kind != OldTuple::kNone) {
    if (!Load(event.old_tuple, old_) || !LoadKey(old_, key)) return false;
    for (const std::size_t i : table_->row_key) {
      if (event.kind == EventKind::kUpdate && new_[i].value != old_[i].value) return false;
    }
  } else if (event.kind == EventKind::kDelete || !LoadKey(new_, key)) {
    return false;
  }
  if (event.kind != EventKind::kDelete) {
    new_is_partial_ = std::any_of(new_.begin(), new_.end(), [](const ColumnView& column) {
      return column.kind == ColumnKind::kUnchangedToast;
    });
  }
  const auto next = static_cast<std::uint32_t>(rows_.size());
  const auto found = index_.lazy_emplace(key, [&](const auto& construct) { construct(Keep(key), next); });
  const bool known = found->second != next;
  if (!known) rows_.emplace_back().key = found->first;
  Row& row = rows_[found->second];
  if (known && row.effect == Effect::kNothing && event.kind != EventKind::kInsert) return false;
  const bool taken = event.kind == EventKind::kInsert   ? TakeInsert(row, event)
                     : event.kind == EventKind::kUpdate ? TakeUpdate(row, event)
                                                        : TakeDelete(row, event);
  if (!taken && !known) {
    index_.erase(found);
    rows_.pop_back();
  }
  return taken;
}

// A key of one column stays where it is, in the segment.
std::string_view NetChanges::Keep(std::string_view key) {
  if (table_->row_key.size() == 1) return key;
  char* const kept = static_cast<char*>(key_bytes_.allocate(key.size(), 1));
  std::memcpy(kept, key.data(), key.size());
  return {kept, key.size()};
}

bool NetChanges::TakeInsert(Row& row, const Event& event) {
  if (new_is_partial_ || row.effect == Effect::kInsert || row.effect == Effect::kUpdate) return false;
  row.existed = row.effect == Effect::kDelete;
  row.effect = Effect::kInsert;
  row.tuple = event.new_tuple;
  row.merged = -1;
  return true;
}

bool NetChanges::TakeUpdate(Row& row, const Event& event) {
  if (row.effect == Effect::kDelete || !SetsAnything()) return false;
  if (row.effect != Effect::kInsert && updates_alone_) return false;
  if (row.effect == Effect::kNothing) {
    row.effect = Effect::kUpdate;
    row.partial = new_is_partial_;
    row.tuple = event.new_tuple;
  } else if (new_is_partial_) {
    Merge(row);
  } else {
    row.partial = false;
    row.tuple = event.new_tuple;
    row.merged = -1;
  }
  return true;
}

bool NetChanges::TakeDelete(Row& row, const Event& event) {
  if (row.effect == Effect::kDelete) return false;
  const bool existed = row.effect != Effect::kInsert || row.existed;
  row.effect = existed ? Effect::kDelete : Effect::kNothing;
  row.existed = false;
  row.partial = false;
  row.tuple = event.old_tuple;
  row.merged = -1;
  return true;
}

// The columns that the new tuple leaves out keep what the row has.
void NetChanges::Merge(Row& row) {
  if (row.merged < 0) {
    std::vector<ColumnView> columns;
    columns.reserve(new_.size());
    for (const ColumnView column : row.tuple) columns.push_back(column);
    row.merged = static_cast<std::int32_t>(merged_.size());
    merged_.push_back(std::move(columns));
  }
  std::vector<ColumnView>& columns = merged_[static_cast<std::size_t>(row.merged)];
  row.partial = false;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (new_[i].kind != ColumnKind::kUnchangedToast) columns[i] = new_[i];
    row.partial = row.partial || columns[i].kind == ColumnKind::kUnchangedToast;
  }
}

bool NetChanges::SetsAnything() const {
  for (std::size_t i = 0; i < new_.size(); ++i) {
    if (table_->target_column[i] != kNoColumn && new_[i].kind != ColumnKind::kUnchangedToast &&
        std::find(table_->row_key.begin(), table_->row_key.end(), i) == table_->row_key.end()) {
      return true;
    }
  }
  return false;
}

}  // namespace walferry
