// Checks of the source's schema: what pg_dump must read, and what the last steps need of the source.
#include "tools/check_schema.h"

#include <array>
#include <nlohmann/json.hpp>

#include "apply/dump_program.h"
#include "stream/event_triggers.h"
#include "tools/excluded_relations.h"

namespace walferry {

std::string NoSchemaToMake(const CheckContext& context) {
  return context.options.copy_schema ? "" : "the schema is not copied";
}

void BlockUnlessMade(const CheckContext& context, CheckRun& check, std::string evidence, std::string fix) {
  const bool made = context.migration && context.migration->phase > Phase::kSchema;
  if (made) {
    check.Warn(std::move(evidence), std::move(fix));
  } else {
    check.Block(std::move(evidence), std::move(fix));
  }
}

absl::StatusOr<LeftOut> LeftOutOf(CheckContext& context) {
  WF_ASSIGN_OR_RETURN(const std::vector<TableName> excluded,
                      ExcludedRelations(context.source, context.options.tables));
  return FindLeftOut(context.source, excluded);
}

std::string RelationsAsJson(const LeftOut& left_out) {
  nlohmann::json names = nlohmann::json::array();
  for (const TableName& table : left_out.relations) {
    names.push_back(nlohmann::json::array({table.schema, table.name}));
  }
  return names.dump();
}

std::vector<std::string> Column(const Result& rows, int column) {
  std::vector<std::string> values;
  for (int row = 0; row < rows.rows(); ++row) values.emplace_back(rows.Get(row, column));
  return values;
}

namespace {

absl::Status CheckLeftOut(CheckContext& context, CheckRun& check) {
  if (const std::string none = NoSchemaToMake(context); !none.empty()) {
    check.Pass(none);
    return absl::OkStatus();
  }
  WF_ASSIGN_OR_RETURN(const LeftOut left_out, LeftOutOf(context));
  if (!left_out.needed.empty()) {
    BlockUnlessMade(
        context, check,
        "what was chosen cannot be made without a table that was left out: " + ListSome(left_out.needed),
        "choose that table, too, or make the schema by hand and use --schema none");
  } else if (!left_out.names.empty()) {
    check.Warn("stays behind with the tables that were not chosen: " + ListSome(left_out.names, 10),
               "choose these tables, too, or make these objects by hand where they are needed");
  } else {
    check.Pass("what was chosen needs nothing of what was not");
  }
  return absl::OkStatus();
}

absl::Status CheckDumpProgram(CheckContext& context, CheckRun& check) {
  if (const std::string none = NoSchemaToMake(context); !none.empty()) {
    check.Pass(none);
    return absl::OkStatus();
  }
  const int major = context.source.server_version() / 10000;
  const absl::StatusOr<std::string> program = FindDumpProgram(context.source.server_version());
  if (program.ok()) {
    check.Pass("found: " + *program);
  } else {
    BlockUnlessMade(
        context, check, absl::StrFormat("pg_dump of version %d or newer is not on this machine", major),
        absl::StrFormat("install the package postgresql-client-%d, or make the schema by hand and "
                        "use --schema none",
                        major));
  }
  return absl::OkStatus();
}

// pg_dump locks every table that it describes, whether its rows are copied or not.
absl::Status CheckReadable(CheckContext& context, CheckRun& check) {
  if (const std::string none = NoSchemaToMake(context); !none.empty()) {
    check.Pass(none);
    return absl::OkStatus();
  }
  WF_ASSIGN_OR_RETURN(const LeftOut left_out, LeftOutOf(context));
  const std::string excluded = RelationsAsJson(left_out);
  const std::string chosen = ChosenOids(context);
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
SELECT n.nspname || '.' || c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.oid <> ALL ($1::oid[])
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'walferry') AND n.nspname !~ '^pg_(toast|temp)'
  AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))
  AND NOT EXISTS (SELECT FROM pg_catalog.json_array_elements($2::json) w
                  WHERE w ->> 0 = n.nspname AND w ->> 1 = c.relname)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1)",
                                                                {chosen, excluded}));
  if (rows.rows() == 0) {
    check.Pass("pg_dump may read all that it describes");
  } else {
    BlockUnlessMade(
        context, check,
        "the user may not read " + ListSome(Column(rows, 0)) + ": pg_dump has to lock a table to describe it",
        "GRANT SELECT on them (and USAGE on their schemas) to " + QuoteIdentifier(context.source.user()) +
            ", or name them in --exclude-tables");
  }
  return absl::OkStatus();
}

absl::Status CheckSourceEventTriggers(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(
      const std::vector<EventTrigger> triggers,
      EventTriggersAt(context.source, {"CREATE PUBLICATION", "ALTER PUBLICATION", "DROP PUBLICATION"}));
  if (triggers.empty()) {
    check.Pass("none fires when the publication is made, altered or dropped");
    return absl::OkStatus();
  }
  std::vector<std::string> names;
  for (const EventTrigger& trigger : triggers) names.push_back(trigger.name);
  check.Warn("event triggers fire when the publication is made, altered or dropped: " + ListSome(names) +
                 "; walferry never disables one on the source",
             "make sure that they let CREATE, ALTER and DROP PUBLICATION pass");
  return absl::OkStatus();
}

// A refresh runs with an empty search_path on the target (from version 17 on everywhere). Functions of users
// are not run here; their text is searched for relations without a schema.
absl::Status CheckMaterializedViews(CheckContext& context, CheckRun& check) {
  if (const std::string none = NoSchemaToMake(context); !none.empty()) {
    check.Pass(none);
    return absl::OkStatus();
  }
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
WITH used (view, function) AS (
  SELECT DISTINCT v.oid, d.refobjid
  FROM pg_catalog.pg_class v JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_catalog.pg_proc'::regclass
  WHERE v.relkind = 'm')
SELECT DISTINCT ON (v.relname, n.nspname) n.nspname || '.' || v.relname,
       p.oid::pg_catalog.regprocedure, t.relname, pg_catalog.quote_ident(tn.nspname)
FROM used u JOIN pg_catalog.pg_class v ON v.oid = u.view JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace
JOIN pg_catalog.pg_proc p ON p.oid = u.function JOIN pg_catalog.pg_language l ON l.oid = p.prolang
JOIN pg_catalog.pg_class t ON t.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND pg_catalog.strpos(p.prosrc, t.relname::text) > 0
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
WHERE l.lanname IN ('sql', 'plpgsql') AND p.prosrc <> ''
  AND tn.nspname NOT IN ('pg_catalog', 'information_schema', 'walferry') AND tn.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_catalog.unnest(p.proconfig) s WHERE s LIKE 'search_path=%')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
  AND p.prosrc ~* ('\m(from|join|into|update)\s+(only\s+)?"?' ||
                   pg_catalog.regexp_replace(t.relname, '([^[:alnum:]_])', '\\\1', 'g') || '"?(?![[:alnum:]_$."])')
ORDER BY v.relname, n.nspname)"));
  if (rows.rows() == 0) {
    check.Pass("no function of a materialized view reads a table without its schema");
    return absl::OkStatus();
  }
  std::vector<std::string> views;
  for (int row = 0; row < rows.rows(); ++row) {
    views.push_back(absl::StrFormat("%s (%s reads \"%s\" without a schema)", rows.Get(row, 0),
                                    rows.Get(row, 1), rows.Get(row, 2)));
  }
  check.Warn("materialized views whose refresh fails where search_path is empty, as it is at the cutover: " +
                 ListSome(views),
             absl::StrFormat("ALTER FUNCTION %s SET search_path = %s on the source, and likewise the others; "
                             "or REFRESH them by hand after the cutover",
                             rows.Get(0, 1), rows.Get(0, 3)));
  return absl::OkStatus();
}

// Values of an enum hash by their oids, which are others on the target (pg_dump knows the same:
// forcePartitionRootLoad): a row belongs to another partition there. So do arrays and domains of them.
absl::Status CheckHashPartitions(CheckContext& context, CheckRun& check) {
  if (const std::string none = NoSchemaToMake(context); !none.empty()) {
    check.Pass(none);
    return absl::OkStatus();
  }
  const std::string chosen = ChosenOids(context);
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
WITH RECURSIVE made (column_type, id) AS (
  SELECT oid, oid FROM pg_catalog.pg_type
  UNION
  SELECT m.column_type, CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END
  FROM made m JOIN pg_catalog.pg_type t ON t.oid = m.id AND (t.typtype = 'd' OR t.typelem <> 0)),
above (leaf, id) AS (
  SELECT o, o FROM pg_catalog.unnest($1::oid[]) o
  UNION
  SELECT a.leaf, i.inhparent FROM above a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.id)
SELECT DISTINCT n.nspname || '.' || c.relname
FROM above a JOIN pg_catalog.pg_class c ON c.oid = a.id AND c.relkind = 'p'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid AND p.partstrat = 'h'
JOIN pg_catalog.pg_attribute k ON k.attrelid = c.oid AND k.attnum = ANY (p.partattrs::int2[])
JOIN made m ON m.column_type = k.atttypid
JOIN pg_catalog.pg_type e ON e.oid = m.id AND e.typtype = 'e'
ORDER BY 1)",
                                                                {chosen}));
  if (rows.rows() == 0) {
    check.Pass("rows belong to the same partitions on both sides");
  } else {
    BlockUnlessMade(
        context, check,
        "partitioned by the hash of an enum, whose values hash otherwise on the target, so that rows "
        "belong to other partitions there: " +
            ListSome(Column(rows, 0)),
        "leave it out with --exclude-tables and bring it over by pg_dump "
        "--load-via-partition-root, or partition it by another column or by LIST first");
  }
  return absl::OkStatus();
}

constexpr std::array kChecks = {
    CheckDefinition{"left-out", CheckSide::kSource, "what was not chosen", CheckLeftOut},
    CheckDefinition{"pg-dump", CheckSide::kSource, "pg_dump", CheckDumpProgram},
    CheckDefinition{"hash-partitions", CheckSide::kSource, "hash partitions", CheckHashPartitions},
    CheckDefinition{"schema-readable", CheckSide::kSource, "right to describe", CheckReadable},
    CheckDefinition{"source-event-triggers", CheckSide::kSource, "event triggers", CheckSourceEventTriggers,
                    CheckNeed::kStream},
    CheckDefinition{"matviews", CheckSide::kSource, "materialized views", CheckMaterializedViews},
};

}  // namespace

std::span<const CheckDefinition> SourceSchemaChecks() {
  return kChecks;
}

}  // namespace walferry
