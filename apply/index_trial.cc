// Tested by tests/servers/cutover_objects_test.cc.
#include "apply/index_trial.h"

#include <utility>

#include "apply/object_creator.h"
#include "apply/object_difference.h"
#include "apply/schema_script.h"
#include "stream/quote.h"

namespace walferry {
namespace {

constexpr char kTimeouts[] = R"sql(
SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s')sql";
constexpr std::string_view kTrialTable = "walferry_index_trial";

// Without the right to make temporary tables nothing is known.
bool IsDecided(const absl::Status& status) {
  const std::string sqlstate = SqlstateOf(status);
  return sqlstate.starts_with("42") && sqlstate != "42501";
}

absl::Status TryOne(Connection& target, const SchemaObject& object, const TableName& table) {
  const TableName trial{"pg_temp", std::string(kTrialTable)};
  const std::string sql = WithTablesRenamed(FirstStatement(object.sql), {{table, trial}});
  WF_RETURN_IF_ERROR(target.Execute(kBeginScript).status());
  absl::Status made = target.Execute(kTimeouts).status();
  if (made.ok()) {
    made = target
               .Execute(absl::StrFormat("CREATE TEMPORARY TABLE %s (LIKE %s)", kTrialTable,
                                        QuoteName(table.schema, table.name)))
               .status();
  }
  if (made.ok()) made = target.Execute(sql).status();
  if (!target.alive()) return target.LastError();
  WF_RETURN_IF_ERROR(target.Execute("ROLLBACK").status());
  return made;
}

}  // namespace

absl::StatusOr<std::vector<ObjectTrial>> TryIndexes(Connection& target,
                                                    const std::vector<SchemaObject>& objects) {
  std::vector<ObjectTrial> failed;
  WF_RETURN_IF_ERROR(SetReplicaRoleIfAllowed(target));
  for (const SchemaObject& object : objects) {
    const std::optional<TableName> table = TableOfIndex(object);
    if (object.done || !table) continue;
    const absl::Status made = TryOne(target, object, *table);
    if (!target.alive() || absl::IsCancelled(made)) return made;
    if (!made.ok()) failed.push_back({object, made, IsDecided(made)});
  }
  (void)target.Execute("RESET session_replication_role");  // Refused where it could not be set.
  return failed;
}

}  // namespace walferry
