// What a run of changes to one table comes to for each of its rows: nothing, an insert, an update of some
// columns, a delete, or a delete and an insert.
//
//   insert, update*          insert of the last values        update, update     one update, all columns of
//   both insert, delete           nothing                          update, delete     delete delete, insert
//   delete, then insert
//
// Only for tables with a MappedTable::row_key. Views into the events' segments: those outlive it.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "apply/table_map.h"
#include "stream/segment.h"

namespace walferry {

class NetChanges {
 public:
  struct Row {
    enum class Effect : std::uint8_t { kNothing, kInsert, kUpdate, kDelete };

    std::string_view key;
    TupleView tuple;           // The new one; for kDelete the old one.
    std::int32_t merged = -1;  // Instead of `tuple`, where several give the values: see columns().
    Effect effect = Effect::kNothing;
    bool existed = false;  // kInsert: the row is deleted first.
    bool partial = false;  // kUpdate: some columns are left as they are.
  };

  explicit NetChanges(const MappedTable& table);

  // False: nothing was taken; the change has to be applied by itself, after what was taken before it. That is
  // so for a change of the key, for one that does not fit the row's state (an insert of a row that is there),
  // and for values that do not go into arrays.
  bool Take(const Event& event);

  const MappedTable& table() const { return *table_; }
  bool empty() const { return rows_.empty(); }
  const std::vector<Row>& rows() const { return rows_; }
  // The values are binary on the wire, by published column.
  bool is_binary(std::size_t column) const { return kinds_[column] == ColumnKind::kBinary; }
  // Calls visit(published column, ColumnView) for each.
  template <typename Visit>
  void ForEachColumn(const Row& row, Visit visit) const {
    std::size_t i = 0;
    if (row.merged >= 0) {
      for (const ColumnView& column : merged_[static_cast<std::size_t>(row.merged)]) visit(i++, column);
    } else {
      for (const ColumnView column : row.tuple) visit(i++, column);
    }
  }
  void Clear();

 private:
  bool Load(const TupleView& tuple, std::vector<ColumnView>& columns);
  bool LoadKey(const std::vector<ColumnView>& columns, std::string_view& key);
  bool TakeInsert(Row& row, const Event& event);
  bool TakeUpdate(Row& row, const Event& event);
  bool TakeDelete(Row& row, const Event& event);
  void Merge(Row& row);
  std::string_view Keep(std::string_view key);
  bool SetsAnything() const;

  const MappedTable* table_;
  bool updates_alone_ = false;  // Updates need a statement that only a single row has.
  std::vector<ColumnKind> kinds_;

  std::pmr::monotonic_buffer_resource key_bytes_;
  std::string key_scratch_;
  struct KeyHash {
    std::size_t operator()(std::string_view key) const;
  };
  absl::flat_hash_map<std::string_view, std::uint32_t, KeyHash> index_;  // Into rows_.
  std::vector<Row> rows_;
  std::vector<std::vector<ColumnView>> merged_;
  // Of the event in hand.
  std::vector<ColumnView> old_;
  std::vector<ColumnView> new_;
  bool new_is_partial_ = false;
};

}  // namespace walferry
