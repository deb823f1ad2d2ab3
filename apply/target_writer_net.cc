// Net effects to statements about many rows. Tested by tests/apply/applier_net_test.cc.
#include <algorithm>
#include <utility>

#include "apply/target_writer.h"

namespace walferry {
namespace {

using Row = NetChanges::Row;

// A statement's arrays are encoded while the server works on those of the one before.
constexpr std::size_t kRowsPerChunk = 4096;
constexpr std::size_t kBytesPerChunk = 256 << 10;

// Shorter first: numbers as text come in their order then, and neighbours in the table are written together.
bool KeyIsLess(const Row* a, const Row* b) {
  if (a->key.size() != b->key.size()) return a->key.size() < b->key.size();
  return a->key < b->key;
}

std::string UpdateRoles(const NetChanges& net, const Row& row) {
  const MappedTable& table = net.table();
  std::string roles(table.target_column.size(), '-');
  net.ForEachColumn(row, [&](std::size_t i, const ColumnView& column) {
    if (table.target_column[i] != kNoColumn && column.kind != ColumnKind::kUnchangedToast) roles[i] = 's';
  });
  for (const std::size_t i : table.row_key) roles[i] = 'k';
  return roles;
}

std::string Roles(const MappedTable& table, SetForm form) {
  std::string roles(table.target_column.size(), '-');
  if (form == SetForm::kDelete) {
    for (const std::size_t i : table.row_key) roles[i] = 'k';
    return roles;
  }
  for (std::size_t i = 0; i < roles.size(); ++i) {
    if (table.target_column[i] != kNoColumn) roles[i] = 's';
  }
  return roles;
}

EventKind KindOf(SetForm form) {
  switch (form) {
    case SetForm::kInsert:
      return EventKind::kInsert;
    case SetForm::kUpdate:
      return EventKind::kUpdate;
    case SetForm::kDelete:
      return EventKind::kDelete;
  }
  return EventKind::kInsert;
}

// The rows of a table's net effect by the statement that they need.
struct Sorted {
  std::vector<const Row*> deletes;
  std::vector<const Row*> whole_updates;
  std::map<std::string, std::vector<const Row*>> partial_updates;  // By roles.
  std::vector<const Row*> inserts;
};

Sorted Sort(const NetChanges& net) {
  std::vector<const Row*> rows;
  rows.reserve(net.rows().size());
  for (const Row& row : net.rows()) rows.push_back(&row);
  std::sort(rows.begin(), rows.end(), KeyIsLess);
  Sorted sorted;
  for (const Row* row : rows) {
    switch (row->effect) {
      case Row::Effect::kNothing:
        break;
      case Row::Effect::kDelete:
        sorted.deletes.push_back(row);
        break;
      case Row::Effect::kUpdate:
        (row->partial ? sorted.partial_updates[UpdateRoles(net, *row)] : sorted.whole_updates).push_back(row);
        break;
      case Row::Effect::kInsert:
        if (row->existed) sorted.deletes.push_back(row);
        sorted.inserts.push_back(row);
        break;
    }
  }
  return sorted;
}

}  // namespace

absl::Status TargetWriter::SendNet(NetChanges& net) {
  if (net.empty()) return absl::OkStatus();
  const Sorted sorted = Sort(net);
  const MappedTable& table = net.table();
  WF_RETURN_IF_ERROR(
      SendRows(net, {&table, SetForm::kDelete, Roles(table, SetForm::kDelete)}, sorted.deletes));
  if (!sorted.whole_updates.empty()) {
    WF_RETURN_IF_ERROR(SendRows(net, {&table, SetForm::kUpdate, UpdateRoles(net, *sorted.whole_updates[0])},
                                sorted.whole_updates));
  }
  for (const auto& [roles, rows] : sorted.partial_updates) {
    WF_RETURN_IF_ERROR(SendRows(net, {&table, SetForm::kUpdate, roles}, rows));
  }
  WF_RETURN_IF_ERROR(
      SendRows(net, {&table, SetForm::kInsert, Roles(table, SetForm::kInsert)}, sorted.inserts));
  net.Clear();
  return absl::OkStatus();
}

absl::Status TargetWriter::SendRows(const NetChanges& net, const SetStatement& statement,
                                    std::span<const Row* const> rows) {
  while (!rows.empty()) {
    const std::size_t sent = Encode(net, statement, rows);
    WF_RETURN_IF_ERROR(Note(SendSet(statement, static_cast<std::int64_t>(sent))));
    rows = rows.subspan(sent);
  }
  return absl::OkStatus();
}

// As many of the rows as fit into one statement, at least one, into encoders_.
std::size_t TargetWriter::Encode(const NetChanges& net, const SetStatement& statement,
                                 std::span<const Row* const> rows) {
  const MappedTable& table = net.table();
  encoders_.resize(std::max(encoders_.size(), statement.roles.size()));
  for (std::size_t i = 0; i < statement.roles.size(); ++i) {
    if (statement.roles[i] == '-') continue;
    encoders_[i].Begin(table.target.columns[table.target_column[i]], net.is_binary(i));
  }
  std::size_t count = 0;
  std::size_t bytes = 0;
  while (count < rows.size() && count < kRowsPerChunk && bytes < kBytesPerChunk) {
    net.ForEachColumn(*rows[count], [&](std::size_t i, const ColumnView& column) {
      if (statement.roles[i] == '-') return;
      encoders_[i].Append(column);
      bytes += column.value.size();
    });
    ++count;
  }
  return count;
}

absl::Status TargetWriter::SendSet(const SetStatement& statement, std::int64_t rows) {
  statement.MakeKey(key_);
  WF_ASSIGN_OR_RETURN(const std::string* const name, Prepare([&] { return SetStatementSql(statement); }));
  arrays_.clear();
  for (std::size_t i = 0; i < statement.roles.size(); ++i) {
    if (statement.roles[i] != '-') arrays_.push_back(encoders_[i].Finish());
  }
  pending_.push_back({statement.table, KindOf(statement.form), 0, {}, rows});
  ++tallies_.back().statements;
  return pipeline_.SendArrays(*name, arrays_);
}

}  // namespace walferry
