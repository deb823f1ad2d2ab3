// Tested by tests/apply/left_out_test.cc.
#include "apply/left_out.h"

#include <algorithm>

#include "decoder/status.h"

namespace walferry {
namespace {

// excluded: the relations of the choice, and each partitioned table whose leaves are all excluded.
// gone: these, and what depends on them. A table that was chosen never goes: what it needs is found at the
// end. %s: a list of (schema, name) literals.
constexpr char kClosure[] = R"sql(
WITH RECURSIVE named (id) AS (
  SELECT c.oid FROM (VALUES %s) w (schema_name, table_name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name::name
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.table_name::name),
leaf (root, id, is_leaf) AS (
  SELECT i.inhparent, i.inhrelid, c.relkind <> 'p' FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
  UNION
  SELECT l.root, i.inhrelid, c.relkind <> 'p' FROM leaf l
  JOIN pg_catalog.pg_inherits i ON i.inhparent = l.id
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid),
excluded (id) AS (
  SELECT id FROM named
  UNION
  SELECT root FROM leaf WHERE is_leaf
  GROUP BY root HAVING bool_and(id IN (SELECT id FROM named))),
gone (class, id) AS (
  SELECT 'pg_catalog.pg_class'::regclass::oid, id FROM excluded
  UNION
  SELECT CASE WHEN v.oid IS NULL THEN d.classid ELSE 'pg_catalog.pg_class'::regclass::oid END,
         coalesce(v.oid, d.objid)
  FROM gone
  JOIN pg_catalog.pg_depend d ON d.refclassid = gone.class AND d.refobjid = gone.id AND d.deptype NOT IN ('e', 'x')
  LEFT JOIN pg_catalog.pg_rewrite r
    ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid AND r.ev_type = '1'
  LEFT JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
  LEFT JOIN pg_catalog.pg_class t ON d.classid = 'pg_catalog.pg_class'::regclass AND t.oid = d.objid
  WHERE t.oid IS NULL OR t.relkind NOT IN ('r', 'p', 'f')),
gone_class (id) AS (SELECT id FROM gone WHERE class = 'pg_catalog.pg_class'::regclass),
)sql";

// kind, schema, name of the object or of its table, name within the table, whether it is worth a word.
constexpr char kObjects[] = R"sql(
found (type, schema, owner, name, named) AS (
  SELECT 'TABLE', n.nspname, c.relname, '', false FROM excluded e
  JOIN pg_catalog.pg_class c ON c.oid = e.id JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  UNION ALL
  SELECT 'SEQUENCE', n.nspname, c.relname, '', false FROM gone_class g
  JOIN pg_catalog.pg_class c ON c.oid = g.id AND c.relkind = 'S' AND c.oid NOT IN (SELECT id FROM excluded)
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  UNION ALL
  SELECT 'VIEW', n.nspname, c.relname, '', c.oid NOT IN (SELECT id FROM excluded) FROM gone_class g
  JOIN pg_catalog.pg_class c ON c.oid = g.id AND c.relkind IN ('v', 'm')
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  UNION ALL
  SELECT CASE coalesce(pg_catalog.to_jsonb(p) ->> 'prokind', CASE WHEN (pg_catalog.to_jsonb(p) ->> 'proisagg')::bool THEN 'a' END)
           WHEN 'a' THEN 'AGGREGATE' WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END,
         n.nspname, '',
         p.proname || '(' || coalesce((SELECT pg_catalog.string_agg(pg_catalog.format_type(a.t, NULL), ', ' ORDER BY a.i)
                                       FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY a (t, i)), '') || ')', true
  FROM gone g JOIN pg_catalog.pg_proc p ON g.class = 'pg_catalog.pg_proc'::regclass AND p.oid = g.id
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  UNION ALL
  SELECT 'STATISTICS', n.nspname, '', s.stxname, s.stxrelid NOT IN (SELECT id FROM gone_class)
  FROM gone g JOIN pg_catalog.pg_statistic_ext s ON g.class = 'pg_catalog.pg_statistic_ext'::regclass AND s.oid = g.id
  JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
  UNION ALL
  SELECT 'INDEX', n.nspname, '', i.relname, true
  FROM gone_class g JOIN pg_catalog.pg_class i ON i.oid = g.id AND i.relkind IN ('i', 'I')
  JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
  JOIN pg_catalog.pg_index x ON x.indexrelid = i.oid AND x.indrelid NOT IN (SELECT id FROM gone_class)
  UNION ALL
  SELECT o.type, n.nspname, c.relname, o.name, o.named
  FROM (SELECT 'FK CONSTRAINT', k.conrelid, k.conname, coalesce(pg_catalog.to_jsonb(k) ->> 'conparentid', '0') = '0'
        FROM gone g JOIN pg_catalog.pg_constraint k
          ON g.class = 'pg_catalog.pg_constraint'::regclass AND k.oid = g.id AND k.contype = 'f'
        UNION ALL
        SELECT 'RULE', r.ev_class, r.rulename, true
        FROM gone g JOIN pg_catalog.pg_rewrite r ON g.class = 'pg_catalog.pg_rewrite'::regclass AND r.oid = g.id
        UNION ALL
        SELECT 'POLICY', p.polrelid, p.polname, true
        FROM gone g JOIN pg_catalog.pg_policy p ON g.class = 'pg_catalog.pg_policy'::regclass AND p.oid = g.id
        UNION ALL
        SELECT 'TRIGGER', t.tgrelid, t.tgname, true
        FROM gone g JOIN pg_catalog.pg_trigger t
          ON g.class = 'pg_catalog.pg_trigger'::regclass AND t.oid = g.id AND NOT t.tgisinternal) o (type, relid, name, named)
  JOIN pg_catalog.pg_class c ON c.oid = o.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE o.relid NOT IN (SELECT id FROM gone_class))
SELECT type, schema, owner, name, bool_or(named) FROM found GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4)sql";

// Everything else that is gone is a part of what is gone, or a part of what stays.
constexpr char kNeeded[] = R"sql(
kept (class, id, sub) AS (
  SELECT d.classid, d.objid, d.objsubid FROM gone
  JOIN pg_catalog.pg_depend d ON d.refclassid = gone.class AND d.refobjid = gone.id AND d.deptype NOT IN ('e', 'x')
  JOIN pg_catalog.pg_class t ON d.classid = 'pg_catalog.pg_class'::regclass AND t.oid = d.objid
    AND t.relkind IN ('r', 'p', 'f') AND t.oid NOT IN (SELECT id FROM gone_class)
  UNION
  SELECT g.class, g.id, 0 FROM gone g JOIN pg_catalog.pg_attrdef a
    ON g.class = 'pg_catalog.pg_attrdef'::regclass AND a.oid = g.id AND a.adrelid NOT IN (SELECT id FROM gone_class)
  UNION
  SELECT g.class, g.id, 0 FROM gone g JOIN pg_catalog.pg_constraint k
    ON g.class = 'pg_catalog.pg_constraint'::regclass AND k.oid = g.id AND k.contype NOT IN ('f', 't')
    AND CASE WHEN k.conrelid = 0 THEN true ELSE k.conrelid NOT IN (SELECT id FROM gone_class) END
  UNION
  SELECT g.class, g.id, 0 FROM gone g
  WHERE g.class IN ('pg_catalog.pg_cast'::regclass, 'pg_catalog.pg_operator'::regclass, 'pg_catalog.pg_opclass'::regclass)
  UNION
  SELECT g.class, g.id, 0 FROM gone g JOIN pg_catalog.pg_type t
    ON g.class = 'pg_catalog.pg_type'::regclass AND t.oid = g.id AND t.typtype IN ('d', 'r')
  UNION
  SELECT g.class, g.id, 0 FROM gone g JOIN pg_catalog.pg_class c
    ON g.class = 'pg_catalog.pg_class'::regclass AND c.oid = g.id AND c.relkind = 'c')
SELECT pg_catalog.pg_describe_object(class, id, sub) FROM kept ORDER BY 1)sql";

std::string Lowered(std::string_view type) {
  if (type == "FK CONSTRAINT") return "foreign key";
  std::string lower(type);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

// One row of kObjects.
void AddObject(const Result& rows, int row, LeftOut& left_out) {
  const std::string type(rows.Get(row, 0));
  const std::string schema(rows.Get(row, 1));
  const std::string owner(rows.Get(row, 2));
  const std::string name(rows.Get(row, 3));
  const bool named = rows.GetBool(row, 4);
  if (type == "SEQUENCE") {
    left_out.objects.insert({type, schema, owner});
    left_out.objects.insert({"SEQUENCE OWNED BY", schema, owner});
    return;
  }
  if (type == "TABLE" || type == "VIEW") {
    left_out.relations.push_back({schema, owner});
    if (named) left_out.names.push_back(Lowered(type) + " " + schema + "." + owner);
    return;
  }
  left_out.objects.insert({type, schema, owner.empty() ? name : owner + " " + name});
  if (!named) return;
  left_out.names.push_back(owner.empty() ? Lowered(type) + " " + schema + "." + name
                                         : Lowered(type) + " " + name + " of " + schema + "." + owner);
}

}  // namespace

absl::StatusOr<LeftOut> FindLeftOut(Connection& source, const std::vector<TableName>& excluded) {
  LeftOut left_out;
  if (excluded.empty()) return left_out;
  std::string listed;
  for (const TableName& table : excluded) {
    if (!listed.empty()) listed += ", ";
    listed += "(" + QuoteLiteral(table.schema) + ", " + QuoteLiteral(table.name) + ")";
  }
  const std::string closure = absl::StrFormat(kClosure, listed);
  WF_ASSIGN_OR_RETURN(const Result objects, source.Execute(closure + kObjects));
  for (int row = 0; row < objects.rows(); ++row) AddObject(objects, row, left_out);
  WF_ASSIGN_OR_RETURN(const Result needed, source.Execute(closure + kNeeded));
  for (int row = 0; row < needed.rows(); ++row) left_out.needed.emplace_back(needed.Get(row, 0));
  return left_out;
}

absl::Status CheckNothingNeeded(const LeftOut& left_out) {
  if (left_out.needed.empty()) return absl::OkStatus();
  std::string list;
  for (const std::string& object : left_out.needed) list += (list.empty() ? "" : ", ") + object;
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "what was chosen cannot be made without a table that was left out: %s; choose that table, too, "
      "or make the schema by hand and use --schema none",
      list);
}

}  // namespace walferry
