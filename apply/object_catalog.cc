// Tested by tests/apply/last_stage_test.cc.
#include "apply/object_catalog.h"

#include <algorithm>
#include <array>

namespace walferry {
namespace {

// Kind and name as pg_dump's headers have them: "schema.index", "schema.table constraint".
constexpr char kObjects[] = R"sql(
SELECT 'INDEX', n.nspname || '.' || c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('i', 'I') AND n.nspname !~ '^pg_'
UNION ALL
SELECT 'INDEX ATTACH', n.nspname || '.' || c.relname
FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('i', 'I')
UNION ALL
SELECT 'PART INDEX', n.nspname || '.' || p.relname || ' ' || tn.nspname || '.' || t.relname
FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'I'
JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
JOIN pg_catalog.pg_index x ON x.indexrelid = i.inhrelid
JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
UNION ALL
SELECT 'STATISTICS', n.nspname || '.' || s.stxname
FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
UNION ALL
SELECT 'ROW SECURITY', n.nspname || '.' || c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relrowsecurity
UNION ALL
SELECT CASE k.contype WHEN 'f' THEN 'FK CONSTRAINT' WHEN 'c' THEN 'CHECK CONSTRAINT' ELSE 'CONSTRAINT' END,
  n.nspname || '.' || c.relname || ' ' || k.conname
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT 'NOT VALID', n.nspname || '.' || c.relname || ' ' || k.conname
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND NOT k.convalidated
UNION ALL
SELECT 'TRIGGER', n.nspname || '.' || c.relname || ' ' || t.tgname
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal
UNION ALL
SELECT 'RULE', n.nspname || '.' || c.relname || ' ' || r.rulename
FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND r.rulename <> '_RETURN'
UNION ALL
SELECT 'POLICY', n.nspname || '.' || c.relname || ' ' || p.polname
FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT 'EVENT TRIGGER', e.evtname FROM pg_catalog.pg_event_trigger e)sql";

constexpr std::array<std::string_view, 11> kKinds = {
    "INDEX",   "INDEX ATTACH", "CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "STATISTICS",
    "TRIGGER", "RULE",         "POLICY",     "ROW SECURITY",  "EVENT TRIGGER"};

}  // namespace

absl::StatusOr<ObjectCatalog> ObjectCatalog::Read(Connection& target) {
  WF_ASSIGN_OR_RETURN(const Result rows, target.Execute(kObjects));
  ObjectCatalog catalog;
  for (int row = 0; row < rows.rows(); ++row) {
    catalog.objects_.emplace(rows.Get(row, 0), rows.Get(row, 1));
  }
  return catalog;
}

std::optional<bool> ObjectCatalog::Has(const SchemaObject& object) const {
  if (std::find(kKinds.begin(), kKinds.end(), object.kind) == kKinds.end()) return std::nullopt;
  // A view that needs a primary key, say, stands there with another query until its rule replaces that.
  if (object.name.ends_with(" _RETURN")) return std::nullopt;
  return objects_.contains({object.kind, object.name});
}

bool ObjectCatalog::HasPartOf(const TableName& parent, const TableName& table) const {
  return objects_.contains({"PART INDEX", parent.ToString() + " " + table.ToString()});
}

bool ObjectCatalog::IsUnvalidated(const SchemaObject& foreign_key) const {
  return objects_.contains({"NOT VALID", foreign_key.name});
}

}  // namespace walferry
