// Checks of the tables on the target: there, empty, and of the source's shape.
#include <array>
#include <nlohmann/json.hpp>

#include "tools/check_context.h"

namespace walferry {
namespace {

struct TargetTable {
  TableName name;
  std::string oid;  // "" where it is not there.
  std::string relkind;
};

absl::StatusOr<std::vector<TargetTable>> FindTables(CheckContext& context) {
  const std::string names = ChosenNames(context);
  WF_ASSIGN_OR_RETURN(const Result rows, context.target->Execute(R"(
SELECT chosen ->> 0, chosen ->> 1, c.oid, c.relkind
FROM pg_catalog.json_array_elements($1::json) chosen
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = chosen ->> 0
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = chosen ->> 1 ORDER BY 1, 2)",
                                                                 {names}));
  std::vector<TargetTable> tables;
  for (int i = 0; i < rows.rows(); ++i) {
    tables.push_back({.name = {std::string(rows.Get(i, 0)), std::string(rows.Get(i, 1))},
                      .oid = std::string(rows.Get(i, 2)),
                      .relkind = std::string(rows.Get(i, 3))});
  }
  return tables;
}

std::vector<std::string> NamesOf(const std::vector<TargetTable>& tables, bool present) {
  std::vector<std::string> names;
  for (const TargetTable& table : tables) {
    if (table.oid.empty() != present) names.push_back(table.name.ToString());
  }
  return names;
}

// This migration brought the schema over, or takes tables that are there.
bool TablesAreExpected(const CheckContext& context) {
  return context.migration ? context.migration->phase > Phase::kSchema : !context.options.copy_schema;
}

absl::Status CheckExistence(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const std::vector<TargetTable> tables, FindTables(context));
  const std::vector<std::string> present = NamesOf(tables, true);
  const std::vector<std::string> absent = NamesOf(tables, false);
  if (TablesAreExpected(context)) {
    if (absent.empty()) {
      check.Pass("all tables are there");
    } else {
      check.Block("missing on the target: " + ListSome(absent), "create them, or use --schema copy");
    }
  } else if (present.empty()) {
    check.Pass("none is there yet; the schema is copied");
  } else {
    check.Block("--schema copy makes the tables, but these are there already: " + ListSome(present),
                "drop them on the target, or take them as they are with --schema none");
  }
  return absl::OkStatus();
}

absl::Status CheckEmpty(CheckContext& context, CheckRun& check) {
  if (context.migration && context.migration->phase > Phase::kSchema) {
    check.Pass("the rows are this migration's own");
    return absl::OkStatus();
  }
  WF_ASSIGN_OR_RETURN(const std::vector<TargetTable> tables, FindTables(context));
  std::vector<std::string> full;
  std::vector<std::string> unreadable;
  for (const TargetTable& table : tables) {
    if (table.oid.empty() || (table.relkind != "r" && table.relkind != "p")) continue;
    const absl::StatusOr<Result> row = context.target->Execute(
        "SELECT EXISTS (SELECT FROM " + QuoteName(table.name.schema, table.name.name) + ")");
    if (!row.ok()) {
      if (!context.target->alive()) return row.status();
      unreadable.push_back(table.name.ToString());
    } else if (row->GetBool(0, 0)) {
      full.push_back(table.name.ToString());
    }
  }
  if (!full.empty()) {
    check.Block("not empty on the target: " + ListSome(full),
                "TRUNCATE them there, if what is in them may go");
  } else if (!unreadable.empty()) {
    check.Block("may not be read on the target: " + ListSome(unreadable),
                "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE on them to " +
                    QuoteIdentifier(context.target->user()));
  } else {
    check.Pass("nothing is in the way of the copy");
  }
  return absl::OkStatus();
}

// {"schema.table": {"column": {"type": …, "not_null": …, "default": …, "generated": …}}} of the chosen
// tables.
absl::StatusOr<nlohmann::json> Columns(Connection& connection, const std::string& names) {
  const std::string generated = connection.server_version() >= 120000 ? "a.attgenerated <> ''" : "false";
  const std::string sql = absl::StrFormat(R"(
SELECT coalesce(pg_catalog.json_object_agg(t.name, t.columns), '{}') FROM (
  SELECT n.nspname || '.' || c.relname AS name, pg_catalog.json_object_agg(a.attname, pg_catalog.json_build_object(
      'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
      'default', a.atthasdef OR a.attidentity <> '', 'generated', %s)) AS columns
  FROM pg_catalog.json_array_elements($1::json) chosen
  JOIN pg_catalog.pg_namespace n ON n.nspname = chosen ->> 0
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = chosen ->> 1
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  GROUP BY 1) t)",
                                          generated);
  WF_ASSIGN_OR_RETURN(const Result row, connection.Execute(sql, {names}));
  return nlohmann::json::parse(row.Get(0, 0));
}

// What of one table would stop the copy or the stream, and what is merely different.
void CompareTable(const std::string& table, const nlohmann::json& source, const nlohmann::json& target,
                  std::vector<std::string>& blocking, std::vector<std::string>& differing) {
  for (const auto& [column, wanted] : source.items()) {
    const auto found = target.find(column);
    if (found == target.end()) {
      if (!wanted.at("generated")) blocking.push_back(table + "." + column + " is missing");
    } else if (found->at("generated") && !wanted.at("generated")) {
      blocking.push_back(table + "." + column + " is generated on the target only");
    } else if (found->at("type") != wanted.at("type")) {
      differing.push_back(table + "." + column + " is " + wanted.at("type").get<std::string>() +
                          " on the source, " + found->at("type").get<std::string>() + " on the target");
    }
  }
  for (const auto& [column, extra] : target.items()) {
    if (source.contains(column) || !extra.at("not_null") || extra.at("default")) continue;
    blocking.push_back(table + "." + column + " exists on the target only, is NOT NULL and has no default");
  }
}

absl::Status CheckColumns(CheckContext& context, CheckRun& check) {
  const std::string names = ChosenNames(context);
  WF_ASSIGN_OR_RETURN(const nlohmann::json source, Columns(context.source, names));
  WF_ASSIGN_OR_RETURN(const nlohmann::json target, Columns(*context.target, names));
  std::vector<std::string> blocking;
  std::vector<std::string> differing;
  for (const auto& [table, columns] : target.items()) {
    if (source.contains(table)) CompareTable(table, source.at(table), columns, blocking, differing);
  }
  if (!blocking.empty()) {
    check.Block(ListSome(blocking),
                "make the tables of the target alike (ALTER TABLE), or use --schema copy");
  } else if (!differing.empty()) {
    check.Warn(ListSome(differing), "make sure that every value of the source fits");
  } else {
    check.Pass("alike, as far as the tables are there");
  }
  return absl::OkStatus();
}

absl::Status CheckWritePrivilege(CheckContext& context, CheckRun& check) {
  const std::string names = ChosenNames(context);
  WF_ASSIGN_OR_RETURN(const Result rows, context.target->Execute(R"(
SELECT n.nspname || '.' || c.relname
FROM pg_catalog.json_array_elements($1::json) chosen
JOIN pg_catalog.pg_namespace n ON n.nspname = chosen ->> 0
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = chosen ->> 1
WHERE NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE')
           AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
           AND pg_catalog.has_table_privilege(c.oid, 'UPDATE') AND pg_catalog.has_table_privilege(c.oid, 'DELETE')
           AND pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')) ORDER BY 1)",
                                                                 {names}));
  std::vector<std::string> tables;
  for (int i = 0; i < rows.rows(); ++i) tables.emplace_back(rows.Get(i, 0));
  if (tables.empty()) {
    check.Pass("the user may change the tables that are there");
  } else {
    check.Block("the user may not change " + ListSome(tables),
                "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA … TO " +
                    QuoteIdentifier(context.target->user()));
  }
  return absl::OkStatus();
}

constexpr std::array kChecks = {
    CheckDefinition{"tables-exist", CheckSide::kTarget, "tables", CheckExistence},
    CheckDefinition{"tables-empty", CheckSide::kTarget, "empty tables", CheckEmpty},
    CheckDefinition{"write-privilege", CheckSide::kTarget, "right to write", CheckWritePrivilege},
    CheckDefinition{"columns", CheckSide::kBoth, "columns", CheckColumns},
};

}  // namespace

std::span<const CheckDefinition> TargetTableChecks() {
  return kChecks;
}

}  // namespace walferry
