// Tested by tests/apply/existing_object_test.cc.
#include "apply/existing_object.h"

namespace walferry {
namespace {

// The text of a view depends on the server's version, and is not compared.
constexpr char kDefinitions[] = R"sql(
WITH own (id) AS (
  SELECT oid FROM pg_catalog.pg_namespace
  WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'walferry') AND nspname !~ '^pg_(toast|temp)'),
member (class, id) AS (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'),
object (kind, schema, name, definition, class, id) AS (
  SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.typnamespace, t.typname::text,
         CASE t.typtype
           WHEN 'e' THEN (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder)
                          FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid)
           WHEN 'c' THEN (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname) || ' ' ||
                                   pg_catalog.format_type(a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
                          FROM pg_catalog.pg_attribute a
                          WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
           WHEN 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) || ' ' || t.typnotnull || ' ' ||
                coalesce(t.typdefault, '') || coalesce((
                  SELECT pg_catalog.string_agg(k.conname || ' ' || pg_catalog.pg_get_constraintdef(k.oid), ',' ORDER BY k.conname)
                  FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'), '')
           WHEN 'r' THEN (SELECT pg_catalog.format_type(r.rngsubtype, NULL) FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid)
         END,
         'pg_catalog.pg_type'::regclass, t.oid
  FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
  WHERE t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
  UNION ALL
  SELECT CASE coalesce(pg_catalog.to_jsonb(p) ->> 'prokind', CASE WHEN (pg_catalog.to_jsonb(p) ->> 'proisagg')::bool THEN 'a' END)
           WHEN 'a' THEN 'AGGREGATE' WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END,
         p.pronamespace,
         p.proname || '(' || coalesce((SELECT pg_catalog.string_agg(pg_catalog.format_type(a.t, NULL), ', ' ORDER BY a.i)
                                       FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY a (t, i)), '') || ')',
         pg_catalog.concat_ws(' ', pg_catalog.format_type(p.prorettype, NULL), p.proretset, l.lanname, p.provolatile,
                              p.proisstrict, p.prosecdef, p.proparallel, p.proconfig::text, p.probin, p.prosrc,
                              CASE WHEN pg_catalog.to_jsonb(p) ->> 'prosqlbody' IS NOT NULL
                                   THEN pg_catalog.pg_get_functiondef(p.oid) END),
         'pg_catalog.pg_proc'::regclass, p.oid
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  UNION ALL
  SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'SEQUENCE' END,
         c.relnamespace, c.relname::text,
         (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname) || ' ' ||
                   pg_catalog.format_type(a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND c.relkind <> 'S') ||
         coalesce((SELECT pg_catalog.concat_ws(' ', pg_catalog.format_type(s.seqtypid, NULL), s.seqincrement, s.seqmin,
                                               s.seqmax, s.seqcycle)
                   FROM pg_catalog.pg_sequence s WHERE s.seqrelid = c.oid), ''),
         'pg_catalog.pg_class'::regclass, c.oid
  FROM pg_catalog.pg_class c WHERE c.relkind IN ('v', 'm', 'S')
  UNION ALL
  SELECT 'COLLATION', collnamespace, collname::text, '', 'pg_catalog.pg_collation'::regclass, oid FROM pg_catalog.pg_collation
  UNION ALL
  SELECT 'CONVERSION', connamespace, conname::text, '', 'pg_catalog.pg_conversion'::regclass, oid FROM pg_catalog.pg_conversion
  UNION ALL
  SELECT 'TEXT SEARCH CONFIGURATION', cfgnamespace, cfgname::text, '', 'pg_catalog.pg_ts_config'::regclass, oid
  FROM pg_catalog.pg_ts_config
  UNION ALL
  SELECT 'TEXT SEARCH DICTIONARY', dictnamespace, dictname::text, coalesce(dictinitoption, ''),
         'pg_catalog.pg_ts_dict'::regclass, oid
  FROM pg_catalog.pg_ts_dict)
SELECT o.kind, n.nspname || '.' || o.name, coalesce(o.definition, '')
FROM object o JOIN own ON own.id = o.schema JOIN pg_catalog.pg_namespace n ON n.oid = o.schema
WHERE NOT EXISTS (SELECT FROM member m WHERE m.class = o.class AND m.id = o.id)
UNION ALL
SELECT w.kind, w.name, ''
FROM (SELECT 'FOREIGN DATA WRAPPER', fdwname::text, 'pg_catalog.pg_foreign_data_wrapper'::regclass, oid
      FROM pg_catalog.pg_foreign_data_wrapper
      UNION ALL
      SELECT 'SERVER', srvname::text, 'pg_catalog.pg_foreign_server'::regclass, oid FROM pg_catalog.pg_foreign_server
      UNION ALL
      SELECT 'PROCEDURAL LANGUAGE', lanname::text, 'pg_catalog.pg_language'::regclass, oid FROM pg_catalog.pg_language
      ) w (kind, name, class, id)
WHERE NOT EXISTS (SELECT FROM member m WHERE m.class = w.class AND m.id = w.id))sql";

// Of an identity column the script has an ALTER TABLE under the sequence's name.
bool IsMadeByItself(const SchemaObject& object) {
  return object.kind != "SEQUENCE" || object.sql.find("CREATE SEQUENCE ") != object.sql.npos;
}

}  // namespace

absl::StatusOr<ObjectDefinitions> ReadDefinitions(Connection& connection) {
  WF_ASSIGN_OR_RETURN(const Result rows, connection.Execute(kDefinitions));
  ObjectDefinitions definitions;
  for (int row = 0; row < rows.rows(); ++row) {
    definitions[{std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1))}] = rows.Get(row, 2);
  }
  return definitions;
}

std::string DifferentObjects(const ObjectDefinitions& source, const ObjectDefinitions& target) {
  std::string names;
  for (const auto& [object, definition] : source) {
    const auto there = target.find(object);
    if (there == target.end() || there->second == definition) continue;
    names += (names.empty() ? "" : ", ") + object.first + " " + object.second;
  }
  return names;
}

absl::Status LeaveOutExisting(const ObjectDefinitions& source, const ObjectDefinitions& target,
                              std::vector<SchemaObject>& pre_data) {
  ObjectDefinitions dumped;
  std::erase_if(pre_data, [&](const SchemaObject& object) {
    const std::pair<std::string, std::string> key(object.kind, object.name);
    if (!target.contains(key) || !IsMadeByItself(object)) return false;
    if (const auto here = source.find(key); here != source.end()) dumped.insert(*here);
    return true;
  });
  const std::string different = DifferentObjects(dumped, target);
  if (different.empty()) return absl::OkStatus();
  return Errorf(absl::StatusCode::kFailedPrecondition,
                "the target has these already, and they are not as on the source: %s; drop or rename them "
                "there, or make them as on the source",
                different);
}

}  // namespace walferry
