// Relations, tuples and segments made by hand, for tests without a source.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apply/table_map.h"
#include "decoder/relation.h"
#include "decoder/wire_writer.h"
#include "stream/segment.h"
#include "tests/support/pgoutput_writer.h"

namespace walferry {

// A tuple and the bytes under it.
class HandMadeTuple {
 public:
  explicit HandMadeTuple(const WrittenRow& row) : count_(static_cast<std::uint16_t>(row.size())) {
    for (const WrittenColumn& column : row) {
      bytes_.push_back(static_cast<char>(column.kind));
      if (column.kind != ColumnKind::kText && column.kind != ColumnKind::kBinary) continue;
      const auto size = static_cast<std::uint32_t>(column.value.size());
      for (const int shift : {24, 16, 8, 0}) bytes_.push_back(static_cast<char>((size >> shift) & 0xFF));
      bytes_ += column.value;
    }
  }
  TupleView view() const { return TupleView(bytes_, count_); }

 private:
  std::string bytes_;
  std::uint16_t count_;
};

// The relation as a table of the target with the same columns, the first of which is its primary key.
// relation: outlives it.
inline MappedTable HandMadeTable(const Relation& relation) {
  MappedTable table;
  table.relation = &relation;
  table.in_scope = true;
  for (const RelationColumn& published : relation.columns) {
    TargetColumn column;
    column.name = published.name;
    column.type_oid = column.element_oid = published.type_oid;
    column.array_sql = "x[]";
    column.equals = "=";
    column.equal_is_identical = true;
    column.binary_is_text = published.type_oid == 25;
    table.target.columns.push_back(column);
  }
  table.target.keys = {{.primary = true, .columns = {0}}};
  const absl::Status mapped = MapColumns(relation, table);
  return mapped.ok() ? table : MappedTable{};
}

// "B5 i i C9" as events: B and C with their LSN; i, u, d for changes.
inline Segment HandMadeSegment(const std::string& script, const Relation* relation) {
  Segment segment;
  std::size_t at = 0;
  while (at < script.size()) {
    const std::size_t end = std::min(script.find(' ', at), script.size());
    const std::string word = script.substr(at, end - at);
    at = end + 1;
    Event event;
    event.relation = relation;
    switch (word.at(0)) {
      case 'B':
        event.kind = EventKind::kBegin;
        event.lsn = Lsn{std::stoull(word.substr(1))};
        event.xid = static_cast<Xid>(event.lsn.value);
        break;
      case 'C':
        event.kind = EventKind::kCommit;
        event.lsn = Lsn{std::stoull(word.substr(1))};
        break;
      case 'u':
        event.kind = EventKind::kUpdate;
        break;
      case 'd':
        event.kind = EventKind::kDelete;
        break;
      default:
        event.kind = EventKind::kInsert;
    }
    segment.events.push_back(event);
  }
  return segment;
}

}  // namespace walferry
