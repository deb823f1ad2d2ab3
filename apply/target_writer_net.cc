// Net effects to statements about many rows. Tested by tests/apply/applier_net_test.cc.
#include <algorithm>
#include <cstring>
#include <utility>

#include "apply/target_writer.h"

namespace walferry {
namespace {

using Row = NetChanges::Row;

// A statement's arrays are encoded while the server works on those of the one before, and are taken apart
// there while they are in its core's cache.
constexpr std::size_t kRowsPerChunk = 4096;
constexpr std::size_t kBytesPerChunk = 64 << 10;

// A row in the order in which statements name them: neighbours in the table are written together. Shorter
// keys come first, which puts numbers as text into their order.
class Ordered {
 public:
  explicit Ordered(const Row& row) : row_(&row), size_(row.key.size()) {
    std::memcpy(&beginning_, row.key.data(), std::min(size_, sizeof beginning_));
    beginning_ = __builtin_bswap64(beginning_);
  }
  const Row* row() const { return row_; }
  friend bool operator<(const Ordered& a, const Ordered& b) {
    if (a.size_ != b.size_) return a.size_ < b.size_;
    if (a.beginning_ != b.beginning_) return a.beginning_ < b.beginning_;
    return a.size_ > sizeof beginning_ && a.row_->key < b.row_->key;
  }

 private:
  const Row* row_;
  std::size_t size_;
  std::uint64_t beginning_ = 0;  // Of the key, so that most comparisons need not look for it.
};

std::vector<Ordered> InOrder(const std::vector<Row>& rows) {
  std::vector<Ordered> ordered(rows.begin(), rows.end());
  if (!std::is_sorted(ordered.begin(), ordered.end())) std::sort(ordered.begin(), ordered.end());
  return ordered;
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
  Sorted sorted;
  for (const Ordered& ordered : InOrder(net.rows())) {
    const Row* const row = ordered.row();
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
