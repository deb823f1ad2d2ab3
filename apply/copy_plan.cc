// Tested by tests/apply/table_copy_test.cc.
#include "apply/copy_plan.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "apply/replica_role.h"

namespace walferry {
namespace {

// Ranges of ctid are answered by a range scan since version 14; before, each would read the whole table.
constexpr int kTidRangeScanVersion = 140000;

// A table that one worker can copy while the others have as much to do is not cut: whole, its rows can go in
// frozen, and two workers that write into one table wait for each other where it grows. This much more than a
// fair share makes up for that.
constexpr double kFairShares = 1.5;
// What is at most copied again after a lost connection.
constexpr std::int64_t kWholeBytesMax = std::int64_t{16} << 30;
// Below, a TRUNCATE costs more (it is flushed, and looks through the server's whole buffer pool) than frozen
// rows save.
constexpr std::int64_t kFreezeBytesMin = std::int64_t{8} << 20;
// Tables of one transaction: each costs a lock on both sides, and what was done is done again where one of
// them fails.
constexpr std::size_t kTaskTablesMax = 50;
constexpr std::int64_t kTaskBytesMax = std::int64_t{8} << 20;

absl::Status CheckTargetHasColumns(const TableName& table, const TableFacts& source,
                                   const TableFacts& target) {
  std::vector<std::string> additions;
  for (const ColumnFacts& column : source.columns) {
    if (column.generated || target.FindColumn(column.name) != nullptr) continue;
    additions.push_back(absl::StrFormat("ADD COLUMN %s %s", QuoteIdentifier(column.name), column.type));
  }
  if (additions.empty()) return absl::OkStatus();
  return Errorf(absl::StatusCode::kFailedPrecondition,
                "the target's table %s lacks columns of the source: run there ALTER TABLE %s %s;",
                table.ToString(), QuoteName(table.schema, table.name), absl::StrJoin(additions, ", "));
}

// Names of the columns whose bytes may not be passed on as they are.
std::vector<std::string> NotBinary(const std::vector<std::string>& columns, const TableFacts& source,
                                   const TableFacts& target) {
  std::vector<std::string> names;
  for (const std::string& name : columns) {
    const std::string& format = source.FindColumn(name)->wire_format;
    if (format.empty() || format != target.FindColumn(name)->wire_format) names.push_back(name);
  }
  return names;
}

absl::Status CheckPresent(const std::vector<TableName>& tables, const std::map<TableName, TableFacts>& facts,
                          std::string_view side) {
  std::vector<std::string> missing;
  for (const TableName& table : tables) {
    if (!facts.contains(table)) missing.push_back(table.ToString());
  }
  if (missing.empty()) return absl::OkStatus();
  return Errorf(absl::StatusCode::kFailedPrecondition, "missing on the %s: %s", side,
                absl::StrJoin(missing, ", "));
}

}  // namespace

std::string TableCopyPlan::ColumnList() const {
  return absl::StrJoin(columns, ", ",
                       [](std::string* out, const std::string& name) { out->append(QuoteIdentifier(name)); });
}

std::string TableCopyPlan::CopyOutSql(std::size_t range) const {
  const std::string table = QuoteName(record.table.schema, record.table.name);
  const char* const format = binary ? " WITH (FORMAT binary)" : "";
  if (source_kind == 'r' && ranges.size() == 1) {
    // Of this table alone, without those that inherit from it, and the fastest form.
    return absl::StrFormat("COPY %s (%s) TO STDOUT%s", table, ColumnList(), format);
  }
  const std::string rows =
      source_kind == 'r' ? absl::StrFormat("ONLY %s WHERE %s", table, ranges[range].Condition()) : table;
  return absl::StrFormat("COPY (SELECT %s FROM %s) TO STDOUT%s", ColumnList(), rows, format);
}

std::string TableCopyPlan::CopyInSql(bool freeze) const {
  return absl::StrFormat("COPY %s (%s) FROM STDIN WITH (FORMAT %s, FREEZE %s)",
                         QuoteName(record.table.schema, record.table.name), ColumnList(),
                         binary ? "binary" : "text", freeze ? "true" : "false");
}

std::int64_t WholeTableBytes(const TableCopyOptions& options, std::int64_t bytes_in_all) {
  const auto fair_bytes = static_cast<std::int64_t>(kFairShares * static_cast<double>(bytes_in_all) /
                                                    static_cast<double>(std::max(1, options.jobs)));
  return std::max(options.range_bytes, std::min(fair_bytes, kWholeBytesMax));
}

std::vector<CopyTask> GatherTasks(const std::vector<TableCopyPlan>& plans, int jobs) {
  const auto is_small = [](const TableCopyPlan& plan) {
    return plan.is_whole() && plan.bytes < kTaskBytesMax;
  };
  const auto workers = static_cast<std::size_t>(std::max(1, jobs));
  const auto small_tables = static_cast<std::size_t>(std::count_if(plans.begin(), plans.end(), is_small));
  const std::size_t tables_max = std::min(kTaskTablesMax, (small_tables + workers - 1) / workers);
  std::vector<CopyTask> tasks;
  CopyTask small;
  for (std::size_t table = 0; table < plans.size(); ++table) {
    const TableCopyPlan& plan = plans[table];
    if (!is_small(plan)) {
      tasks.push_back({{table}, plan.ranges.size(), plan.bytes});
      continue;
    }
    small.tables.push_back(table);
    small.bytes += plan.bytes;
    if (small.tables.size() < tables_max && small.bytes < kTaskBytesMax) continue;
    tasks.push_back(std::exchange(small, {}));
  }
  if (!small.tables.empty()) tasks.push_back(std::move(small));
  return tasks;
}

std::vector<CopyTask> SingleTasks(const std::vector<TableCopyPlan>& plans) {
  std::vector<CopyTask> tasks;
  for (std::size_t table = 0; table < plans.size(); ++table) {
    tasks.push_back({{table}, plans[table].ranges.size(), plans[table].bytes});
  }
  return tasks;
}

absl::StatusOr<TableCopyPlan> PlanTable(const TableRecord& record, const TableFacts& source,
                                        const TableFacts& target, int source_version,
                                        const TableCopyOptions& options, std::int64_t whole_bytes) {
  WF_RETURN_IF_ERROR(CheckTargetHasColumns(record.table, source, target));
  TableCopyPlan plan;
  plan.record = record;
  plan.source_kind = source.kind;
  plan.target_kind = target.kind;
  plan.bytes = source.bytes;
  for (const ColumnFacts& column : source.columns) {
    const ColumnFacts* other = target.FindColumn(column.name);
    if (!column.generated && !other->generated) plan.columns.push_back(column.name);
  }
  const std::vector<std::string> not_binary = NotBinary(plan.columns, source, target);
  if (options.format == CopyFormat::kBinary && !not_binary.empty()) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "table %s cannot be copied in binary format: types differ or do not allow it in column %s",
                  record.table.ToString(), absl::StrJoin(not_binary, ", "));
  }
  plan.binary = options.format != CopyFormat::kText && not_binary.empty();
  const bool may_cut = source.kind == 'r' && source.is_heap && source_version >= kTidRangeScanVersion;
  const bool is_cut = may_cut && !plan.columns.empty() && source.bytes > whole_bytes;
  plan.ranges = CutIntoRanges(is_cut ? source.pages : 1, source.bytes, options.range_bytes);
  plan.may_freeze = plan.is_whole() && plan.bytes >= kFreezeBytesMin && target.kind == 'r' &&
                    target.is_heap && (target.pages == 0 || record.phase == TablePhase::kCopying);
  return plan;
}

absl::StatusOr<std::vector<TableCopyPlan>> PlanCopy(Connection& source, Connection& target,
                                                    const std::vector<TableRecord>& tables,
                                                    const TableCopyOptions& options) {
  std::vector<TableName> names;
  for (const TableRecord& record : tables) {
    if (AwaitsCopy(record.phase)) names.push_back(record.table);
  }
  if (names.empty()) return std::vector<TableCopyPlan>();
  WF_ASSIGN_OR_RETURN(const auto source_facts, ReadTableFacts(source, names));
  WF_ASSIGN_OR_RETURN(const auto target_facts, ReadTableFacts(target, names));
  WF_RETURN_IF_ERROR(CheckPresent(names, source_facts, "source"));
  WF_RETURN_IF_ERROR(CheckPresent(names, target_facts, "target"));
  WF_RETURN_IF_ERROR(TakeReplicaRole(target, names).status());
  std::int64_t bytes = 0;
  for (const auto& [name, facts] : source_facts) bytes += facts.bytes;
  const std::int64_t whole_bytes = WholeTableBytes(options, bytes);
  std::vector<TableCopyPlan> plans;
  for (const TableRecord& record : tables) {
    if (!AwaitsCopy(record.phase)) continue;
    WF_ASSIGN_OR_RETURN(TableCopyPlan plan,
                        PlanTable(record, source_facts.at(record.table), target_facts.at(record.table),
                                  source.server_version(), options, whole_bytes));
    plans.push_back(std::move(plan));
  }
  return plans;
}

}  // namespace walferry
