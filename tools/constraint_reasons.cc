// Tested by tests/servers/cutover_objects_test.cc.
#include "tools/constraint_reasons.h"

#include <map>
#include <utility>

#include "tools/source_catalog.h"
#include "tools/table_names.h"

namespace walferry {
namespace {

// A partition has those of its root through it.
constexpr char kChecks[] = R"sql(
SELECT k.conrelid, k.conname, pg_catalog.pg_get_constraintdef(k.oid), k.conislocal, n.nspname, c.relname
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'c' AND c.relkind IN ('r', 'p') ORDER BY 1, 2)sql";

constexpr char kForcedRowSecurity[] = R"sql(
SELECT c.oid, n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relforcerowsecurity AND c.relkind IN ('r', 'p') ORDER BY 1)sql";

using Check = std::pair<TableName, std::string>;

Oid OidOf(std::string_view text) {
  return static_cast<Oid>(std::stoul(std::string(text)));
}

// Whether its rows are checked already is the same to what is written from now on.
std::string Checked(std::string_view definition) {
  constexpr std::string_view kNotValid = " NOT VALID";
  if (definition.ends_with(kNotValid)) definition.remove_suffix(kNotValid.size());
  return std::string(definition);
}

absl::StatusOr<std::vector<GateReason>> CheckReasons(const GateSubject& subject,
                                                     const TablesOnBothSides& tables) {
  WF_ASSIGN_OR_RETURN(const Result on_target, subject.target.Execute(kChecks));
  std::map<Check, std::string> there;
  for (int row = 0; row < on_target.rows(); ++row) {
    const TableName table{std::string(on_target.Get(row, 4)), std::string(on_target.Get(row, 5))};
    there[{table, std::string(on_target.Get(row, 1))}] = Checked(on_target.Get(row, 2));
  }
  // Another version may write the same expression otherwise.
  const bool same_version =
      subject.source.server_version() / 10000 == subject.target.server_version() / 10000;
  WF_ASSIGN_OR_RETURN(const Result rows, subject.source.Execute(kChecks));
  std::vector<GateReason> reasons;
  for (int row = 0; row < rows.rows(); ++row) {
    const auto table = tables.target_names.find(OidOf(rows.Get(row, 0)));
    if (table == tables.target_names.end() || !rows.GetBool(row, 3)) continue;
    const std::string name(rows.Get(row, 1));
    const auto found = there.find({table->second, name});
    const bool is_there = found != there.end();
    if (is_there && (!same_version || found->second == Checked(rows.Get(row, 2)))) continue;
    const std::string alter = "ALTER TABLE " + QuoteName(table->second.schema, table->second.name);
    const std::string drop =
        is_there ? absl::StrFormat("%s DROP CONSTRAINT %s; ", alter, QuoteIdentifier(name)) : std::string();
    reasons.push_back(
        {"columns",
         absl::StrFormat("CHECK constraint %s of %s is %s", name, table->second.ToString(),
                         is_there ? "another one on the source than on the target" : "not on the target"),
         absl::StrFormat("%s%s ADD CONSTRAINT %s %s;", drop, alter, QuoteIdentifier(name),
                         rows.Get(row, 2))});
  }
  return reasons;
}

// Row security itself is an object of the list; that it binds the owner, too, comes with the table.
absl::StatusOr<std::vector<GateReason>> ForcedReasons(const GateSubject& subject,
                                                      const TablesOnBothSides& tables) {
  WF_ASSIGN_OR_RETURN(const Result on_target, subject.target.Execute(kForcedRowSecurity));
  std::set<TableName> there;
  for (int row = 0; row < on_target.rows(); ++row) {
    there.insert({std::string(on_target.Get(row, 1)), std::string(on_target.Get(row, 2))});
  }
  WF_ASSIGN_OR_RETURN(const Result rows, subject.source.Execute(kForcedRowSecurity));
  std::vector<GateReason> reasons;
  for (int row = 0; row < rows.rows(); ++row) {
    const auto table = tables.target_names.find(OidOf(rows.Get(row, 0)));
    if (table == tables.target_names.end() || there.contains(table->second)) continue;
    reasons.push_back({"columns",
                       absl::StrFormat("row security of %s is forced on the source and not on the target",
                                       table->second.ToString()),
                       absl::StrFormat("ALTER TABLE %s FORCE ROW LEVEL SECURITY;",
                                       QuoteName(table->second.schema, table->second.name))});
  }
  return reasons;
}

}  // namespace

absl::StatusOr<std::vector<GateReason>> ConstraintReasons(const GateSubject& subject) {
  if (!subject.record->copies_schema) return std::vector<GateReason>();
  WF_ASSIGN_OR_RETURN(const SourceCatalog source, ReadSourceCatalog(subject.source, "", ""));
  WF_ASSIGN_OR_RETURN(const SourceCatalog target, ReadSourceCatalog(subject.target, "", ""));
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> records, LoadTables(subject.target, subject.name));
  const TablesOnBothSides tables = MatchTables(records, subject.tables, source, target);
  WF_ASSIGN_OR_RETURN(std::vector<GateReason> reasons, CheckReasons(subject, tables));
  WF_ASSIGN_OR_RETURN(std::vector<GateReason> forced, ForcedReasons(subject, tables));
  reasons.insert(reasons.end(), forced.begin(), forced.end());
  return reasons;
}

}  // namespace walferry
