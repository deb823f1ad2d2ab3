// Checks of what is in the source: tables, their identities and privileges, and what replication does not
// carry.
#include <algorithm>
#include <array>
#include <map>

#include "apply/target_table.h"
#include "stream/catalog_version.h"
#include "tools/check_schema.h"
#include "tools/cutover_marker.h"
#include "tools/excluded_relations.h"
#include "tools/quantity.h"
#include "tools/replica_identity.h"
#include "tools/sequence_choice.h"

namespace walferry {
namespace {

std::vector<TableName> ChosenTables(const CheckContext& context) {
  std::vector<TableName> names;
  for (const SourceTable& table : context.tables) names.push_back(table.name);
  return names;
}

// Rows of one column as "schema.name" strings.
std::vector<std::string> FirstColumn(const Result& rows) {
  std::vector<std::string> values;
  for (int i = 0; i < rows.rows(); ++i) values.emplace_back(rows.Get(i, 0));
  return values;
}

absl::Status CheckTables(CheckContext& context, CheckRun& check) {
  std::vector<SourceTable> relations = context.all_tables;
  WF_ASSIGN_OR_RETURN(const std::vector<SourceTable> others, ListOtherRelations(context.source));
  relations.insert(relations.end(), others.begin(), others.end());
  const std::vector<std::string> unmatched = context.options.tables.Unmatched(relations);
  if (!unmatched.empty()) {
    check.Block("no table of the source matches " + ListSome(unmatched),
                "correct --tables and --exclude-tables (names are case-sensitive; * is a wildcard)");
    return absl::OkStatus();
  }
  if (context.tables.empty()) {
    check.Block("there is no table to migrate", "connect to the right database, or choose other --tables");
    return absl::OkStatus();
  }
  std::int64_t bytes = 0;
  for (const SourceTable& table : context.tables) bytes += table.size_bytes;
  check.Pass(absl::StrFormat("%d of %d, %s", context.tables.size(), context.all_tables.size(),
                             FormatBytes(static_cast<double>(bytes))));
  return absl::OkStatus();
}

absl::Status CheckCreatePrivilege(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result row, context.source.Execute(R"(
SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'))"));
  if (row.GetBool(0, 0)) {
    check.Pass("the user may create a publication");
  } else {
    check.Block("the user may not create a publication", "GRANT CREATE ON DATABASE " +
                                                             QuoteIdentifier(context.source.database()) +
                                                             " TO " + QuoteIdentifier(context.source.user()));
  }
  return absl::OkStatus();
}

absl::Status CheckOwnership(CheckContext& context, CheckRun& check) {
  const std::string oids = ChosenOids(context);
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
SELECT n.nspname || '.' || c.relname, pg_catalog.pg_get_userbyid(c.relowner)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($1::oid[]) AND NOT pg_catalog.pg_has_role(c.relowner, 'usage') ORDER BY 1)",
                                                                {oids}));
  if (rows.rows() == 0) {
    check.Pass("the user owns the tables, or may act for their owners");
  } else {
    check.Block("only the owner of a table can publish it; not owned: " + ListSome(FirstColumn(rows)),
                absl::StrFormat("GRANT %s TO %s, and likewise for other owners",
                                QuoteIdentifier(rows.Get(0, 1)), QuoteIdentifier(context.source.user())));
  }
  return absl::OkStatus();
}

absl::Status CheckSelect(CheckContext& context, CheckRun& check) {
  const std::string oids = ChosenOids(context);
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
SELECT n.nspname || '.' || c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($1::oid[])
  AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))
ORDER BY 1)",
                                                                {oids}));
  if (rows.rows() == 0) {
    check.Pass("all tables can be read");
  } else {
    const std::string user = QuoteIdentifier(context.source.user());
    check.Block("the user may not read " + ListSome(FirstColumn(rows)),
                context.source.server_version() >= 140000
                    ? "GRANT pg_read_all_data TO " + user
                    : "GRANT USAGE ON SCHEMA … and GRANT SELECT ON ALL TABLES IN SCHEMA … TO " + user);
  }
  return absl::OkStatus();
}

// They are read in the write pause of the cutover, and by `copy`.
absl::Status CheckSequencePrivilege(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(std::vector<SequenceInfo> sequences, ListSequences(context.source));
  std::vector<TableName> chosen;
  for (const SourceTable& table : context.tables) chosen.push_back(table.name);
  const std::vector<TableName> unreadable =
      ChooseSequences(std::move(sequences), context.all_tables, chosen, context.options.tables).unreadable();
  if (unreadable.empty()) {
    check.Pass("all sequences can be read");
    return absl::OkStatus();
  }
  std::vector<std::string> names;
  for (const TableName& sequence : unreadable) names.push_back(sequence.ToString());
  check.Block("the user may not read sequence " + ListSome(names),
              GrantToRead(unreadable.front(), context.source.user()) +
                  (unreadable.size() > 1 ? " and likewise for the others" : ""));
  return absl::OkStatus();
}

// A warning only: up to the cutover nothing needs it.
absl::Status CheckMarkerPrivilege(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const std::string function, MarkerFunctionWithoutExecute(context.source));
  if (function.empty()) {
    check.Pass("the user may write the marker of the cutover");
  } else {
    check.Warn("the cutover writes a marker with pg_logical_emit_message, which the user may not call",
               "GRANT EXECUTE ON FUNCTION " + function + " TO " + QuoteIdentifier(context.source.user()));
  }
  return absl::OkStatus();
}

absl::Status CheckRowSecurity(CheckContext& context, CheckRun& check) {
  const std::string oids = ChosenOids(context);
  // row_security_active() is what decides for this user: owner, BYPASSRLS and FORCE are in it.
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
SELECT n.nspname || '.' || c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($1::oid[]) AND c.relrowsecurity AND pg_catalog.row_security_active(c.oid) ORDER BY 1)",
                                                                {oids}));
  if (rows.rows() == 0) {
    check.Pass("row-level security hides nothing");
  } else {
    check.Block("row-level security hides rows from the copy: " + ListSome(FirstColumn(rows)),
                BypassRlsFix(context.source_provider, context.source.user()));
  }
  return absl::OkStatus();
}

struct Identityless {
  std::string name;
  std::string fix;
  std::int64_t changes = 0;  // Updates and deletes since the statistics were reset.
};

absl::StatusOr<std::vector<Identityless>> TablesWithoutIdentity(CheckContext& context) {
  std::string oids = "{";
  for (const SourceTable& table : context.tables) {
    if (table.has_identity) continue;
    if (oids.size() > 1) oids.push_back(',');
    oids += std::to_string(table.oid);
  }
  oids.push_back('}');
  // An index can be the identity if it is unique, immediate, whole, of plain columns, and all of them are NOT
  // NULL. One with a generated column would not arrive whole.
  const std::string generated = context.source.server_version() >= 120000 ? "a.attgenerated <> ''" : "false";
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(absl::StrFormat(R"(
SELECT n.nspname, c.relname,
       coalesce(pg_catalog.pg_stat_get_tuples_updated(c.oid) + pg_catalog.pg_stat_get_tuples_deleted(c.oid), 0),
       (SELECT ic.relname
        FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid
        WHERE x.indrelid = c.oid AND x.indisunique AND x.indimmediate AND x.indisvalid
          AND x.indpred IS NULL AND x.indexprs IS NULL
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                          WHERE a.attrelid = c.oid AND a.attnum = ANY (x.indkey::int2[])
                            AND (NOT a.attnotnull OR %s))
        ORDER BY x.indisprimary DESC, x.indnatts, ic.relname LIMIT 1)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($1::oid[]) ORDER BY 3 DESC, 1, 2)",
                                                                                generated),
                                                                {oids}));
  std::vector<Identityless> tables;
  for (int i = 0; i < rows.rows(); ++i) {
    const std::string table = QuoteName(rows.Get(i, 0), rows.Get(i, 1));
    tables.push_back({.name = absl::StrFormat("%s.%s", rows.Get(i, 0), rows.Get(i, 1)),
                      .fix = "ALTER TABLE " + table + " REPLICA IDENTITY " +
                             (rows.IsNull(i, 3) ? "FULL" : "USING INDEX " + QuoteIdentifier(rows.Get(i, 3))),
                      .changes = rows.GetInt(i, 2)});
  }
  return tables;
}

absl::Status CheckReplicaIdentity(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const std::vector<Identityless> tables, TablesWithoutIdentity(context));
  if (tables.empty()) {
    check.Pass("every table has a replica identity");
    return absl::OkStatus();
  }
  // From 15.15, 16.11, 17.7 and 18 on also INSERT … ON CONFLICT DO UPDATE is refused.
  for (const Identityless& table : tables) {
    const std::string counted =
        table.changes > 0 ? FormatCount(table.changes) + " were counted" : "none were counted so far";
    if (context.options.inserts_only) {
      check.Warn(absl::StrFormat(
                     "%s has no replica identity, so only its inserts and truncations are published: its "
                     "updates and deletes would be missing (%s)",
                     table.name, counted),
                 table.fix);
    } else {
      check.Block(
          absl::StrFormat("%s has no replica identity: once it is published, the source refuses updates, "
                          "deletes and upserts of it to the application (%s); --no-identity insert-only "
                          "publishes its inserts alone",
                          table.name, counted),
          table.fix);
    }
  }
  return absl::OkStatus();
}

// The source itself refuses such updates and deletes from version 18 on.
absl::Status CheckWholeIdentity(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const std::vector<PartialIdentity> partial,
                      FindPartialIdentities(context.source, ChosenTables(context), ""));
  if (partial.empty()) {
    check.Pass("every replica identity is published whole");
    return absl::OkStatus();
  }
  const bool refused = context.source.server_version() >= 180000;
  for (const PartialIdentity& identity : partial) {
    const std::string evidence = absl::StrFormat(
        "the replica identity of %s has generated columns, which are not published (%s): %s",
        identity.part.ToString(), identity.columns,
        refused ? "once it is published, the source refuses updates and deletes of it to the application"
                : "an update or delete of it does not say which row it is about, and stops the stream");
    if (refused || identity.changes > 0) {
      check.Block(evidence, identity.fix);
    } else {
      check.Warn(evidence + " (none were counted so far)", identity.fix);
    }
  }
  return absl::OkStatus();
}

// "schema.name" of each chosen table with an identity of columns, and these columns.
absl::StatusOr<std::map<TableName, std::vector<std::string>>> IdentityColumns(CheckContext& context) {
  const std::string oids = ChosenOids(context);
  const std::string sql = absl::StrFormat(R"(
SELECT n.nspname, c.relname, a.attname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_index x ON x.indrelid = c.oid
  AND CASE c.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END
CROSS JOIN LATERAL pg_catalog.unnest(x.indkey::int2[]) WITH ORDINALITY k (attnum, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE c.oid = ANY ($1::oid[]) AND k.place <= x.%s ORDER BY 1, 2, k.place)",
                                          KeyColumnCount(context.source.server_version()));
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(sql, {oids}));
  std::map<TableName, std::vector<std::string>> columns;
  for (int i = 0; i < rows.rows(); ++i) {
    columns[{std::string(rows.Get(i, 0)), std::string(rows.Get(i, 1))}].emplace_back(rows.Get(i, 2));
  }
  return columns;
}

// Whether the target has a key within the columns, so that it finds a row by its index, and no other.
bool HasKeyWithin(const TargetTable& table, const std::vector<std::string>& columns) {
  return std::any_of(table.keys.begin(), table.keys.end(), [&](const UniqueKey& key) {
    return std::all_of(key.columns.begin(), key.columns.end(), [&](std::size_t column) {
      const TargetColumn& of_key = table.columns[column];
      return !of_key.generated && std::find(columns.begin(), columns.end(), of_key.name) != columns.end();
    });
  });
}

std::string UniqueIndexSql(const TargetTable& table, const std::vector<std::string>& columns) {
  std::string list;
  for (const std::string& column : columns) list += (list.empty() ? "" : ", ") + QuoteIdentifier(column);
  return "CREATE UNIQUE INDEX ON " + table.sql_name + " (" + list + ")";
}

// Tables that the user has made.
absl::Status CheckTargetKeys(CheckContext& context, CheckRun& check) {
  if (context.target == nullptr || context.options.copy_schema) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(const auto identities, IdentityColumns(context));
  WF_ASSIGN_OR_RETURN(const auto tables, ReadTargetTables(*context.target, ChosenTables(context)));
  bool passed = true;
  for (const auto& [name, table] : tables) {
    const auto identity = identities.find(name);
    if (identity == identities.end() || HasKeyWithin(table, identity->second)) continue;
    passed = false;
    check.Warn(
        absl::StrFormat("the target has no unique index of %s within the columns by which the source names "
                        "a row (%s): each update and delete reads the whole table, and stops the stream "
                        "where several rows fit",
                        name.ToString(), ListSome(identity->second)),
        "on the target: " + UniqueIndexSql(table, identity->second));
  }
  if (passed) check.Pass("the target finds every row by a key");
  return absl::OkStatus();
}

absl::Status CheckNotCarried(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
SELECT CASE c.relkind WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table ' ELSE 'unlogged table ' END
         || n.nspname || '.' || c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE (c.relkind IN ('m', 'f') OR (c.relkind = 'r' AND c.relpersistence = 'u'))
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'walferry')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1)"));
  if (rows.rows() == 0) {
    check.Pass("no unlogged or foreign tables, no materialized views");
  } else {
    check.Warn("the contents of these are not replicated: " + ListSome(FirstColumn(rows), 8),
               "at cutover: REFRESH MATERIALIZED VIEW on the target, copy unlogged tables by hand");
  }
  return absl::OkStatus();
}

absl::Status CheckLargeObjects(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(
      const Result row,
      context.source.Execute("SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata"));
  const std::string evidence =
      absl::StrFormat("%s large objects are not carried", FormatCount(row.GetInt(0, 0)));
  if (row.GetInt(0, 0) == 0) {
    check.Pass("no large objects");
  } else if (context.options.leaves_large_objects) {
    check.Warn(evidence, "copy them after writes have stopped (pg_dump --section=data --blobs)");
  } else {
    BlockUnlessMade(
        context, check, evidence,
        "move them into bytea columns, remove those that nothing refers to (vacuumlo), or choose "
        "--large-objects leave and copy them by hand after writes have stopped (pg_dump --blobs)");
  }
  return absl::OkStatus();
}

absl::Status CheckSequences(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
SELECT schemaname || '.' || sequencename || ' (' ||
       pg_catalog.round(100 * (last_value::numeric - min_value) / (max_value::numeric - min_value)) || ' % used)'
FROM pg_catalog.pg_sequences
WHERE last_value IS NOT NULL AND NOT cycle AND increment_by > 0
  AND (last_value::numeric - min_value) > 0.75 * (max_value::numeric - min_value) ORDER BY 1)"));
  if (rows.rows() == 0) {
    check.Pass("none is near its end");
  } else {
    check.Warn("near their end: " + ListSome(FirstColumn(rows)),
               "widen the column and the sequence to bigint, before or after the migration");
  }
  return absl::OkStatus();
}

constexpr std::array kChecks = {
    CheckDefinition{"tables", CheckSide::kSource, "tables", CheckTables},
    CheckDefinition{"publication-privilege", CheckSide::kSource, "right to publish", CheckCreatePrivilege,
                    CheckNeed::kStream},
    CheckDefinition{"table-owner", CheckSide::kSource, "ownership of tables", CheckOwnership,
                    CheckNeed::kStream},
    CheckDefinition{"select-privilege", CheckSide::kSource, "right to read", CheckSelect},
    CheckDefinition{"sequence-privilege", CheckSide::kSource, "right to read sequences",
                    CheckSequencePrivilege},
    CheckDefinition{"marker", CheckSide::kSource, "right to write a marker", CheckMarkerPrivilege,
                    CheckNeed::kStream},
    CheckDefinition{"row-security", CheckSide::kSource, "row-level security", CheckRowSecurity},
    CheckDefinition{"replica-identity", CheckSide::kSource, "replica identity", CheckReplicaIdentity,
                    CheckNeed::kStream},
    CheckDefinition{"whole-identity", CheckSide::kSource, "whole identities", CheckWholeIdentity,
                    CheckNeed::kStream},
    CheckDefinition{"target-keys", CheckSide::kBoth, "keys of the target", CheckTargetKeys,
                    CheckNeed::kStream},
    CheckDefinition{"not-replicated", CheckSide::kSource, "not replicated", CheckNotCarried},
    CheckDefinition{"large-objects", CheckSide::kSource, "large objects", CheckLargeObjects},
    CheckDefinition{"sequences", CheckSide::kSource, "sequences", CheckSequences},
};

}  // namespace

std::span<const CheckDefinition> SourceTableChecks() {
  return kChecks;
}

}  // namespace walferry
