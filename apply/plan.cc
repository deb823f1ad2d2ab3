// Tested by tests/apply/statement_test.cc.
#include "apply/plan.h"

#include <algorithm>
#include <cstring>

#include "stream/quote.h"

namespace walferry {
namespace {

bool HasValue(const ColumnView& column) {
  return column.kind == ColumnKind::kText || column.kind == ColumnKind::kBinary;
}

bool HaveValues(const std::vector<std::size_t>& which, const std::vector<ColumnView>& columns) {
  return std::all_of(which.begin(), which.end(), [&](std::size_t i) { return HasValue(columns[i]); });
}

RowStatement::Condition ConditionFor(const ColumnView& column) {
  switch (column.kind) {
    case ColumnKind::kNull:
      return RowStatement::kIsNull;
    case ColumnKind::kUnchangedToast:
      return RowStatement::kIgnored;
    case ColumnKind::kText:
    case ColumnKind::kBinary:
      return RowStatement::kEquals;
  }
  return RowStatement::kIgnored;
}

absl::Status CheckBinary(const MappedTable& table, std::size_t published) {
  const RelationColumn& source = table.relation->columns[published];
  const TargetColumn& target = table.target.columns[table.target_column[published]];
  if (SameBinaryFormat(source.type_oid, target.type_oid)) return absl::OkStatus();
  return Errorf(
      absl::StatusCode::kUnimplemented,
      "column %s of table %s has type %s on the target and another one (oid %d) on the source, so its "
      "values cannot be taken over in binary: run again with --binary off",
      source.name, table.name.ToString(), target.type_sql, source.type_oid);
}

absl::Status PartOfIdentity(const MappedTable& table, const Event& event) {
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "%s of table %s at %s does not say which row it is about: column %s of the table's replica identity "
      "is generated and does not arrive. Run on the source ALTER TABLE %s REPLICA IDENTITY FULL (or USING "
      "INDEX "
      "with an index of plain columns), and copy the table again (walferry cleanup, then begin anew)",
      event.kind == EventKind::kUpdate ? "an UPDATE" : "a DELETE", table.name.ToString(),
      event.lsn.ToString(), table.missing_identity, QuoteName(table.name.schema, table.name.name));
}

}  // namespace

void RowStatement::MakeKey(std::string& key) const {
  key.resize(sizeof(const Relation*));
  std::memcpy(key.data(), &table->relation, sizeof(const Relation*));
  key.push_back(static_cast<char>(form));
  key.push_back(static_cast<char>(match));
  key.append(set).append(where);
}

absl::StatusOr<bool> RowPlanner::Plan(const MappedTable& table, const Event& event, RowStatement& statement) {
  statement.table = &table;
  statement.match = RowStatement::kByKey;
  statement.set.assign(table.relation->columns.size(), '-');
  statement.where.assign(table.relation->columns.size(), RowStatement::kIgnored);
  statement.parameters.clear();
  old_.clear();
  new_.clear();
  if (event.old_kind != OldTuple::kNone) WF_RETURN_IF_ERROR(Load(table, event.old_tuple, old_));
  if (event.kind != EventKind::kDelete) WF_RETURN_IF_ERROR(Load(table, event.new_tuple, new_));
  switch (event.kind) {
    case EventKind::kInsert:
      return PlanInsert(event, statement);
    case EventKind::kUpdate:
      return PlanUpdate(event, statement);
    case EventKind::kDelete:
      return PlanDelete(event, statement);
    default:
      return absl::InternalError("only changes of a row are planned one by one");
  }
}

absl::Status RowPlanner::Load(const MappedTable& table, const TupleView& tuple,
                              std::vector<ColumnView>& columns) const {
  if (tuple.size() != table.relation->columns.size()) {
    return Errorf(absl::StatusCode::kDataLoss,
                  "a row of table %s has %d columns, its relation message has %d", table.name.ToString(),
                  tuple.size(), table.relation->columns.size());
  }
  for (const ColumnView column : tuple) {
    if (column.kind == ColumnKind::kBinary && table.target_column[columns.size()] != kNoColumn) {
      WF_RETURN_IF_ERROR(CheckBinary(table, columns.size()));
    }
    columns.push_back(column);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> RowPlanner::PlanInsert(const Event& event, RowStatement& statement) {
  const MappedTable& table = *statement.table;
  statement.form = Form::kInsert;
  for (std::size_t i = 0; i < new_.size(); ++i) {
    if (table.target_column[i] == kNoColumn) continue;
    if (new_[i].kind == ColumnKind::kUnchangedToast) {
      return Errorf(
          absl::StatusCode::kFailedPrecondition,
          "an INSERT into %s at %s comes without the value of its large column %s: the publication's row "
          "filter made it from an UPDATE that left this column as it was. Nothing is invented for it: "
          "set REPLICA IDENTITY FULL on the source's table or drop the row filter, and copy the table again",
          table.name.ToString(), event.lsn.ToString(), table.relation->columns[i].name);
    }
    statement.set[i] = 's';
  }
  AddParameters(nullptr, statement);
  return true;
}

absl::StatusOr<bool> RowPlanner::PlanUpdate(const Event& event, RowStatement& statement) {
  const MappedTable& table = *statement.table;
  WF_ASSIGN_OR_RETURN(const std::vector<ColumnView>* const found_by, Identify(event, statement));
  if (found_by == nullptr) return false;
  statement.form = Form::kProbe;
  for (std::size_t i = 0; i < new_.size(); ++i) {
    if (table.target_column[i] == kNoColumn || new_[i].kind == ColumnKind::kUnchangedToast) continue;
    // Without an old tuple the key is as it was.
    if (found_by == &new_ && statement.where[i] != RowStatement::kIgnored) continue;
    if (table.target.columns[table.target_column[i]].identity_always) {
      if (!MayChange(i, event)) continue;
      statement.form = Form::kReplace;
    }
    statement.set[i] = 's';
    if (statement.form == Form::kProbe) statement.form = Form::kUpdate;
  }
  AddParameters(found_by, statement);
  return true;
}

absl::StatusOr<bool> RowPlanner::PlanDelete(const Event& event, RowStatement& statement) {
  statement.form = Form::kDelete;
  WF_ASSIGN_OR_RETURN(const std::vector<ColumnView>* const found_by, Identify(event, statement));
  if (found_by == nullptr) return false;
  AddParameters(found_by, statement);
  return true;
}

// False only where the old value is known and the same.
bool RowPlanner::MayChange(std::size_t column, const Event& event) const {
  const bool known = event.old_kind == OldTuple::kFull ||
                     (event.old_kind == OldTuple::kKey && old_[column].kind != ColumnKind::kNull);
  return !known || old_[column].kind != new_[column].kind || old_[column].value != new_[column].value;
}

absl::StatusOr<const std::vector<ColumnView>*> RowPlanner::Identify(const Event& event,
                                                                    RowStatement& statement) {
  const MappedTable& table = *statement.table;
  if (table.relation->replica_identity == ReplicaIdentity::kFull || event.old_kind == OldTuple::kFull) {
    return IdentifyFull(event, statement);
  }
  if (!table.missing_identity.empty()) return PartOfIdentity(table, event);
  const std::vector<ColumnView>& values = event.old_kind == OldTuple::kKey ? old_ : new_;
  if (table.identity.empty() || values.empty()) return nullptr;
  bool has_null = false;
  for (const std::size_t i : table.identity) {
    statement.where[i] = ConditionFor(values[i]);
    if (statement.where[i] == RowStatement::kIgnored) return nullptr;
    has_null = has_null || statement.where[i] == RowStatement::kIsNull;
  }
  if (has_null || !table.identity_is_unique) statement.match = RowStatement::kOnlyAlike;
  return &values;
}

// With publish_via_partition_root the tags come from the root's identity and the tuples from the leaf's, so a
// "full" old tuple may hold the key alone, or be absent: a key of the target is what can be trusted first.
const std::vector<ColumnView>* RowPlanner::IdentifyFull(const Event& event, RowStatement& statement) {
  const MappedTable& table = *statement.table;
  const auto by_key = [&](const std::vector<std::size_t>& key, const std::vector<ColumnView>& values) {
    for (const std::size_t i : key) statement.where[i] = RowStatement::kEquals;
    return &values;
  };
  if (event.old_kind == OldTuple::kNone) {
    const bool usable = table.first_key_is_primary && !new_.empty() && HaveValues(table.keys.front(), new_);
    return usable ? by_key(table.keys.front(), new_) : nullptr;
  }
  for (const std::vector<std::size_t>& key : table.keys) {
    if (HaveValues(key, old_)) return by_key(key, old_);
  }
  bool any = old_.empty();  // A table without columns: any of its rows is as good as another.
  for (std::size_t i = 0; i < old_.size(); ++i) {
    if (table.target_column[i] == kNoColumn) continue;
    statement.where[i] = ConditionFor(old_[i]);
    // The source writes whole old rows. One that leaves a value out would fit rows that only look alike.
    if (statement.where[i] == RowStatement::kIgnored) return nullptr;
    any = true;
  }
  statement.match = RowStatement::kAnyAlike;
  return any ? &old_ : nullptr;
}

void RowPlanner::AddParameters(const std::vector<ColumnView>* where_values, RowStatement& statement) const {
  for (std::size_t i = 0; i < statement.set.size(); ++i) {
    if (statement.set[i] == 's') statement.parameters.push_back(new_[i]);
  }
  for (std::size_t i = 0; i < statement.where.size(); ++i) {
    if (statement.where[i] == RowStatement::kEquals) statement.parameters.push_back((*where_values)[i]);
  }
}

}  // namespace walferry
