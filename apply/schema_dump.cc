// The source's half of apply/schema.h. Tested by tests/apply/schema_test.cc.
#include <optional>
#include <set>
#include <utility>

#include "apply/dump_program.h"
#include "apply/dump_session.h"
#include "apply/schema.h"
#include "apply/schema_script.h"
#include "stream/snapshot.h"

namespace walferry {
namespace {

// What the excluded tables take with them: views that read them, directly or through views, and foreign keys
// of other tables that refer to them. %s: a list of (schema, name) literals.
constexpr char kDependents[] = R"sql(
WITH RECURSIVE gone (id) AS (
  SELECT c.oid FROM (VALUES %s) w (schema_name, table_name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name::name
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.table_name::name
  UNION
  SELECT r.ev_class FROM gone
  JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = gone.id
    AND d.classid = 'pg_catalog.pg_rewrite'::regclass
  JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
  JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm'))
SELECT 'view', n.nspname, v.relname, '' FROM gone
JOIN pg_catalog.pg_class v ON v.oid = gone.id AND v.relkind IN ('v', 'm')
JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace
UNION
SELECT 'foreign key', n.nspname, c.relname, k.conname FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND coalesce(pg_catalog.to_jsonb(k) ->> 'conparentid', '0') = '0' AND k.confrelid IN (SELECT id FROM gone) AND k.conrelid NOT IN (SELECT id FROM gone)
ORDER BY 1, 2, 3, 4)sql";

struct Dependents {
  std::vector<TableName> views;
  std::set<std::pair<std::string, std::string>>
      foreign_keys;                // Schema, and "table constraint" as pg_dump names them.
  std::vector<std::string> names;  // For people.
};

absl::StatusOr<Dependents> FindDependents(const SchemaDumpOptions& options, const StopSignal& stop) {
  Dependents dependents;
  if (options.excluded_tables.empty()) return dependents;
  WF_ASSIGN_OR_RETURN(Connection source,
                      Connection::Open({.conninfo = options.source, .settings = {}, .stop = &stop}));
  if (!options.snapshot.empty()) WF_RETURN_IF_ERROR(BeginInSnapshot(source, options.snapshot));
  std::string listed;
  for (const TableName& table : options.excluded_tables) {
    if (!listed.empty()) listed += ", ";
    listed += "(" + QuoteLiteral(table.schema) + ", " + QuoteLiteral(table.name) + ")";
  }
  WF_ASSIGN_OR_RETURN(Result found, source.Execute(absl::StrFormat(kDependents, listed)));
  for (int row = 0; row < found.rows(); ++row) {
    const TableName table{std::string(found.Get(row, 1)), std::string(found.Get(row, 2))};
    if (found.Get(row, 0) == "view") {
      dependents.views.push_back(table);
      dependents.names.push_back("view " + table.ToString());
    } else {
      const std::string constraint(found.Get(row, 3));
      dependents.foreign_keys.emplace(table.schema, table.name + " " + constraint);
      dependents.names.push_back("foreign key " + constraint + " of " + table.ToString());
    }
  }
  return dependents;
}

// One section of the schema, as entries.
absl::StatusOr<std::vector<ScriptEntry>> DumpSection(const std::string& program,
                                                     const SchemaDumpOptions& options,
                                                     const ChildConninfo& conninfo,
                                                     const Dependents& dependents, std::string_view section,
                                                     const StopSignal& stop) {
  std::vector<std::string> argv = {program,
                                   "--schema-only",
                                   "--encoding=UTF8",  // As all our sessions; else it is the database's.
                                   absl::StrFormat("--section=%s", section),
                                   "--no-publications",
                                   "--no-subscriptions",
                                   "--no-tablespaces",
                                   "--no-security-labels",
                                   "--exclude-schema=walferry"};
  if (!options.snapshot.empty()) argv.push_back("--snapshot=" + options.snapshot);
  if (!options.keep_owners) argv.insert(argv.end(), {"--no-owner", "--no-privileges"});
  // In double quotes a pattern is a plain name.
  for (const std::vector<TableName>* tables : {&options.excluded_tables, &dependents.views}) {
    for (const TableName& table : *tables)
      argv.push_back("--exclude-table=" + QuoteName(table.schema, table.name));
  }
  argv.push_back("--dbname=" + conninfo.conninfo);
  std::vector<std::pair<std::string, std::string>> environment = {{"PGAPPNAME", "walferry"}, {"LC_ALL", "C"}};
  if (!conninfo.password.empty()) environment.emplace_back("PGPASSWORD", conninfo.password);
  WF_ASSIGN_OR_RETURN(const std::string script,
                      RunDump(argv, environment, options.source, options.lock_retry, stop));
  WF_RETURN_IF_ERROR(CheckScriptSettings(script));
  return SplitScript(script);
}

}  // namespace

absl::StatusOr<SchemaDump> DumpSchema(const SchemaDumpOptions& options, int source_version,
                                      const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(const std::string program, FindDumpProgram(source_version));
  WF_ASSIGN_OR_RETURN(Dependents dependents, FindDependents(options, stop));
  WF_ASSIGN_OR_RETURN(const ChildConninfo conninfo, DumpConninfo(options.source, stop));
  WF_ASSIGN_OR_RETURN(const std::vector<ScriptEntry> pre_data,
                      DumpSection(program, options, conninfo, dependents, "pre-data", stop));
  WF_ASSIGN_OR_RETURN(std::vector<ScriptEntry> post_data,
                      DumpSection(program, options, conninfo, dependents, "post-data", stop));
  std::erase_if(post_data, [&](const ScriptEntry& entry) {
    return entry.type == "FK CONSTRAINT" && dependents.foreign_keys.contains({entry.schema, entry.name});
  });
  return SchemaDump{.pre_data_sql = PreDataSql(pre_data),
                    .post_data = PostDataObjects(pre_data, post_data),
                    .left_out = std::move(dependents.names)};
}

}  // namespace walferry
