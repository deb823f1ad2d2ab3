// Tested by tests/servers/key_test.cc and tests/tools/check_test.cc.
#include "tools/replica_identity.h"

#include <functional>
#include <nlohmann/json.hpp>

#include "apply/parameter_rows.h"
#include "stream/quote.h"

namespace walferry {
namespace {

constexpr int kFirstVersionWithGenerated = 120000;
// From this version on a publication may carry generated columns, and the source refuses updates and deletes
// of a table whose identity has one that is not published (REPLICA IDENTITY FULL: all that it has).
constexpr int kFirstVersionThatPublishesThem = 180000;

// Both queries begin with the columns that are generated, of which there are few, and go up from their tables
// to those that are named. %s: what is published, where that is asked for (kPublished).
constexpr char kGeneratedColumns[] = R"sql(
WITH RECURSIVE %s
generated (relid, name, number) AS (
  SELECT attrelid, attname, attnum FROM pg_catalog.pg_attribute WHERE attgenerated <> '' AND NOT attisdropped),
)sql";

constexpr char kPublished[] = R"sql(
published AS MATERIALIZED (
  SELECT schemaname, tablename, attnames FROM pg_catalog.pg_publication_tables
  WHERE pubname IN (SELECT pg_catalog.json_array_elements_text($1::text::json))),
)sql";

constexpr char kIsPublished[] = R"sql(
  EXISTS (SELECT FROM published pt WHERE pt.schemaname = w.schema_name AND pt.tablename = w.table_name
            AND a.name = ANY (pt.attnames)))sql";

// %s: the names, whether generated columns of FULL count, and the condition that a column is published. $1:
// the publications as a list in JSON. A partition's own identity decides what the stream says of its rows.
constexpr char kPartialSql[] = R"sql(
up (part, oid) AS (
  SELECT relid, relid FROM generated
  UNION
  SELECT up.part, i.inhparent FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.oid
  JOIN pg_catalog.pg_class c ON c.oid = up.oid AND c.relispartition)
SELECT w.schema_name, w.table_name, pn.nspname, part.relname,
       pg_catalog.string_agg(a.name::text, ', ' ORDER BY a.number),
       (SELECT ic.relname
        FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid
        WHERE x.indrelid = part.oid AND x.indisunique AND x.indimmediate AND x.indisvalid
          AND x.indpred IS NULL AND x.indexprs IS NULL
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute o
                          WHERE o.attrelid = part.oid AND o.attnum = ANY (x.indkey::int2[])
                            AND (NOT o.attnotnull OR o.attgenerated <> ''))
        ORDER BY x.indnatts, ic.relname LIMIT 1),
       coalesce(pg_catalog.pg_stat_get_tuples_updated(part.oid)
                + pg_catalog.pg_stat_get_tuples_deleted(part.oid), 0)
FROM up JOIN pg_catalog.pg_class c ON c.oid = up.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN (VALUES %s) w (schema_name, table_name) ON w.schema_name::name = n.nspname AND w.table_name::name = c.relname
JOIN pg_catalog.pg_class part ON part.oid = up.part
JOIN pg_catalog.pg_namespace pn ON pn.oid = part.relnamespace
JOIN generated a ON a.relid = part.oid
WHERE CASE part.relreplident WHEN 'f' THEN %s ELSE EXISTS (
        SELECT FROM pg_catalog.pg_index x
        CROSS JOIN LATERAL pg_catalog.unnest(x.indkey::int2[]) WITH ORDINALITY k (attnum, place)
        WHERE x.indrelid = part.oid AND k.place <= x.indnkeyatts AND k.attnum = a.number
          AND CASE part.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END) END
  AND NOT %s
  AND ($1::text = '[]' OR EXISTS (SELECT FROM pg_catalog.pg_publication p
                          WHERE p.pubname IN (SELECT pg_catalog.json_array_elements_text($1::text::json))
                            AND (p.pubupdate OR p.pubdelete)))
GROUP BY w.schema_name, w.table_name, pn.nspname, part.relname, part.oid
ORDER BY 1, 2, 3, 4)sql";

// %s: the names.
constexpr char kGeneratedSql[] = R"sql(
relation AS (
  SELECT a.name, n.nspname, c.relname
  FROM generated a JOIN pg_catalog.pg_class c ON c.oid = a.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace)
SELECT w.schema_name, w.table_name, a.name
FROM relation a JOIN (VALUES %s) w (schema_name, table_name)
  ON w.schema_name::name = a.nspname AND w.table_name::name = a.relname
WHERE %s)sql";

TableName NameAt(const Result& rows, int row, int column) {
  return {std::string(rows.Get(row, column)), std::string(rows.Get(row, column + 1))};
}

std::string FixFor(const Result& rows, int row, int server_version) {
  const std::string table = QuoteName(rows.Get(row, 2), rows.Get(row, 3));
  if (!rows.IsNull(row, 5)) {
    return "ALTER TABLE " + table + " REPLICA IDENTITY USING INDEX " + QuoteIdentifier(rows.Get(row, 5));
  }
  if (server_version < kFirstVersionThatPublishesThem)
    return "ALTER TABLE " + table + " REPLICA IDENTITY FULL";
  return "make a unique index of plain columns that are NOT NULL, then ALTER TABLE " + table +
         " REPLICA IDENTITY USING INDEX it (FULL does not do: it takes in the generated columns)";
}

// Asks for some of the tables at a time. sql: for a number of them.
absl::Status AskFor(Connection& source, const std::vector<TableName>& tables, const std::string& publication,
                    const std::function<std::string(std::size_t)>& sql,
                    const std::function<void(const Result&, int)>& take_row) {
  WF_ASSIGN_OR_RETURN(const std::vector<std::string> names, ParsePublicationList(publication));
  const std::string publications = nlohmann::json(names).dump();
  for (std::size_t begin = 0; begin < tables.size(); begin += kRowsPerStatement) {
    const std::size_t end = std::min(tables.size(), begin + kRowsPerStatement);
    std::vector<Parameter> parameters = {publications};
    for (std::size_t i = begin; i < end; ++i) {
      parameters.insert(parameters.end(), {tables[i].schema, tables[i].name});
    }
    WF_ASSIGN_OR_RETURN(const Result rows, source.Execute(sql(end - begin), parameters));
    for (int row = 0; row < rows.rows(); ++row) take_row(rows, row);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<PartialIdentity>> FindPartialIdentities(Connection& source,
                                                                   const std::vector<TableName>& tables,
                                                                   const std::string& publication) {
  std::vector<PartialIdentity> partial;
  const int version = source.server_version();
  if (version < kFirstVersionWithGenerated) return partial;
  const bool publishes = version >= kFirstVersionThatPublishesThem;
  const auto sql = [&](std::size_t count) {
    return absl::StrFormat(kGeneratedColumns, publishes ? kPublished : "") +
           absl::StrFormat(kPartialSql, ParameterRows(count, 2, 2), publishes ? "true" : "false",
                           publishes ? kIsPublished : "false");
  };
  WF_RETURN_IF_ERROR(AskFor(source, tables, publication, sql, [&](const Result& rows, int row) {
    partial.push_back({.table = NameAt(rows, row, 0),
                       .part = NameAt(rows, row, 2),
                       .columns = std::string(rows.Get(row, 4)),
                       .fix = FixFor(rows, row, version),
                       .changes = rows.GetInt(row, 6)});
  }));
  return partial;
}

absl::Status CheckIdentitiesAreWhole(const std::vector<PartialIdentity>& partial) {
  if (partial.empty()) return absl::OkStatus();
  const PartialIdentity& first = partial.front();
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "the replica identity of %s has generated columns that are not published (%s), so its updates and "
      "deletes do not say which row they are about%s: run on the source %s; and begin with a new slot",
      first.part.ToString(), first.columns,
      partial.size() > 1 ? absl::StrFormat(", and so has that of %d more", partial.size() - 1) : "",
      first.fix);
}

absl::StatusOr<std::map<TableName, SourceNotes>> ReadSourceNotes(Connection& source,
                                                                 const std::vector<TableName>& tables,
                                                                 const std::string& publication) {
  std::map<TableName, SourceNotes> notes;
  WF_ASSIGN_OR_RETURN(const std::vector<PartialIdentity> partial,
                      FindPartialIdentities(source, tables, publication));
  for (const PartialIdentity& identity : partial) {
    notes[identity.table].unpublished_identity = identity.columns;
  }
  // Before, what is published is not generated; what was generated a moment ago may be plain by now.
  if (source.server_version() < kFirstVersionThatPublishesThem) return notes;
  const auto sql = [](std::size_t count) {
    return absl::StrFormat(kGeneratedColumns, kPublished) +
           absl::StrFormat(kGeneratedSql, ParameterRows(count, 2, 2), kIsPublished);
  };
  WF_RETURN_IF_ERROR(AskFor(source, tables, publication, sql, [&](const Result& rows, int row) {
    notes[NameAt(rows, row, 0)].generated.emplace(rows.Get(row, 2));
  }));
  return notes;
}

}  // namespace walferry
