// What to copy and how, decided from both catalogs before the first row moves.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apply/ctid_range.h"
#include "apply/table_copy.h"
#include "apply/table_facts.h"

namespace walferry {

struct TableCopyPlan {
  TableRecord record;                // As it was at the start.
  std::vector<std::string> columns;  // That both sides have; by name, in the source's order.
  bool binary = false;
  char source_kind = 'r';  // pg_class.relkind
  char target_kind = 'r';
  std::int64_t bytes = 0;         // On the source.
  std::vector<CtidRange> ranges;  // One that is the whole table, or several.
  // Rows may go in frozen, if the table turns out to be empty: a heap on the target that was empty when the
  // plan was made, large enough, and copied whole.
  bool may_freeze = false;

  bool is_whole() const { return ranges.size() == 1; }

  // "a", "b" as SQL.
  std::string ColumnList() const;
  // COPY … TO STDOUT of one range on the source, COPY … FROM STDIN on the target.
  std::string CopyOutSql(std::size_t range) const;
  std::string CopyInSql(bool freeze) const;
};

// What one worker copies without another one's help in between: small tables in one transaction, or a table,
// range by range, where others may take ranges, too.
struct CopyTask {
  std::vector<std::size_t> tables;  // Indexes into the plans; several only where all are whole.
  std::size_t ranges = 1;
  std::int64_t bytes = 0;
};

// Every plan is in one task, and there are tasks for all `jobs` workers if there are tables. Pure.
std::vector<CopyTask> GatherTasks(const std::vector<TableCopyPlan>& plans, int jobs);
// One for each plan. Pure.
std::vector<CopyTask> SingleTasks(const std::vector<TableCopyPlan>& plans);

// Tables up to this size are copied in one piece where `jobs` workers have `bytes_in_all` to share, larger
// ones in ranges. Pure.
std::int64_t WholeTableBytes(const TableCopyOptions& options, std::int64_t bytes_in_all);

// Pure. kFailedPrecondition, with the ALTER TABLE to run, where columns of the source are missing on the
// target; where binary was asked for and column types do not allow it.
absl::StatusOr<TableCopyPlan> PlanTable(const TableRecord& record, const TableFacts& source,
                                        const TableFacts& target, int source_version,
                                        const TableCopyOptions& options, std::int64_t whole_bytes);

// Plans all tables that are not kCopied, in their order. `source` sees the snapshot. kFailedPrecondition:
// tables are missing on either side (all are named); or the target's role may not set
// session_replication_role and the tables there have triggers or foreign keys that INSERT fires.
absl::StatusOr<std::vector<TableCopyPlan>> PlanCopy(Connection& source, Connection& target,
                                                    const std::vector<TableRecord>& tables,
                                                    const TableCopyOptions& options);

}  // namespace walferry
