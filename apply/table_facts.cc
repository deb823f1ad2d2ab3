// Tested by tests/apply/table_copy_test.cc.
#include "apply/table_facts.h"

#include <algorithm>

#include "apply/parameter_rows.h"

namespace walferry {
namespace {

// Domains travel as what they are over. Built-in types (object ids below 10000, src/include/access/transam.h)
// mean the same everywhere; enum values travel as their labels; xml is left out because its binary form
// carries an encoding, tsquery because the server does not take its own form of an empty one (15.18:
// "malformed tsquery: operand not found").
constexpr char kWireFormat[] = R"sql(
  (WITH RECURSIVE base AS (
     SELECT t.oid, t.typtype, t.typname, t.typnamespace, t.typsend, t.typreceive, t.typelem, t.typbasetype
     FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid
     UNION ALL
     SELECT t.oid, t.typtype, t.typname, t.typnamespace, t.typsend, t.typreceive, t.typelem, t.typbasetype
     FROM base JOIN pg_catalog.pg_type t ON t.oid = base.typbasetype WHERE base.typtype = 'd')
   SELECT CASE
     WHEN b.typtype = 'e' THEN 'enum ' || pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(b.typname)
     WHEN b.oid < 10000 AND b.typsend <> 0 AND b.typreceive <> 0 AND b.typname !~ '^_?(xml$|tsquery$|reg)'
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.oid = b.typelem AND (e.typsend = 0 OR e.typreceive = 0))
       THEN b.typname
     ELSE '' END
   FROM base b JOIN pg_catalog.pg_namespace n ON n.oid = b.typnamespace WHERE b.typtype <> 'd'))sql";

constexpr char kTableBytes[] = R"sql(
  CASE c.relkind
    WHEN 'r' THEN pg_catalog.pg_table_size(c.oid)
    WHEN 'p' THEN (
      WITH RECURSIVE part (id) AS (
        SELECT c.oid UNION ALL
        SELECT i.inhrelid FROM part JOIN pg_catalog.pg_inherits i ON i.inhparent = part.id)
      SELECT pg_catalog.sum(pg_catalog.pg_table_size(part.id))::bigint FROM part)
    ELSE 0 END)sql";

std::string FactsSql(int server_version, std::size_t tables) {
  const bool has_access_methods = server_version >= 120000;
  return absl::StrFormat(
      "SELECT n.nspname, c.relname, c.relkind, %s, "
      "pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint, t.bytes, "
      "a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), %s, %s "
      "FROM (VALUES %s) w (schema_name, table_name) "
      "JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name::name "
      "JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.table_name::name "
      "AND c.relkind IN ('r', 'p', 'f') %s "
      "CROSS JOIN LATERAL (SELECT %s AS bytes) t "
      "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
      "ORDER BY n.nspname, c.relname, a.attnum",
      has_access_methods ? "m.amname IS NOT DISTINCT FROM 'heap'" : "true",
      has_access_methods ? "a.attgenerated <> ''" : "false", kWireFormat, ParameterRows(tables, 2, 1),
      has_access_methods ? "LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam" : "", kTableBytes);
}

void AddFacts(const Result& rows, std::map<TableName, TableFacts>& facts) {
  for (int row = 0; row < rows.rows(); ++row) {
    TableFacts& table = facts[{std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1))}];
    table.kind = rows.Get(row, 2).front();
    table.is_heap = rows.GetBool(row, 3);
    table.pages = rows.GetInt(row, 4);
    table.bytes = rows.GetInt(row, 5);
    if (rows.IsNull(row, 6)) continue;
    table.columns.push_back({std::string(rows.Get(row, 6)), std::string(rows.Get(row, 7)),
                             rows.GetBool(row, 8), std::string(rows.Get(row, 9))});
  }
}

}  // namespace

const ColumnFacts* TableFacts::FindColumn(const std::string& name) const {
  const auto found = std::find_if(columns.begin(), columns.end(),
                                  [&](const ColumnFacts& column) { return column.name == name; });
  return found == columns.end() ? nullptr : &*found;
}

absl::StatusOr<std::map<TableName, TableFacts>> ReadTableFacts(Connection& connection,
                                                               const std::vector<TableName>& tables) {
  std::map<TableName, TableFacts> facts;
  for (std::size_t begin = 0; begin < tables.size(); begin += kRowsPerStatement) {
    const std::size_t end = std::min(tables.size(), begin + kRowsPerStatement);
    std::vector<Parameter> parameters;
    for (std::size_t i = begin; i < end; ++i) {
      parameters.push_back(tables[i].schema);
      parameters.push_back(tables[i].name);
    }
    WF_ASSIGN_OR_RETURN(Result rows,
                        connection.Execute(FactsSql(connection.server_version(), end - begin), parameters));
    AddFacts(rows, facts);
  }
  return facts;
}

}  // namespace walferry
