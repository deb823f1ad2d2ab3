// Tested by tests/servers/cutover_last_stage_test.cc.
#include "tools/excluded_relations.h"

#include <nlohmann/json.hpp>

namespace walferry {
namespace {

// The kind: 'p' is a partitioned table that has partitions, which decide about it; 'e' one without.
constexpr char kOthersSql[] = R"sql(
WITH RECURSIVE ancestor (leaf, parent) AS (
  SELECT i.inhrelid, i.inhparent
  FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
  UNION ALL
  SELECT a.leaf, i.inhparent
  FROM ancestor a JOIN pg_catalog.pg_class c ON c.oid = a.parent AND c.relispartition
  JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.parent
)
SELECT n.nspname, c.relname,
       CASE WHEN c.relkind <> 'p' THEN c.relkind
            WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) THEN 'p' ELSE 'e' END,
       coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_array(an.nspname, ac.relname))
                 FROM ancestor a JOIN pg_catalog.pg_class ac ON ac.oid = a.parent
                 JOIN pg_catalog.pg_namespace an ON an.oid = ac.relnamespace
                 WHERE a.leaf = c.oid), '[]')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE (c.relkind IN ('v', 'm', 'S', 'f', 'p') OR (c.relkind = 'r' AND c.relpersistence = 'u'))
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'walferry') AND n.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2)sql";

struct OtherRelation {
  SourceTable relation;
  char kind = 'r';
};

absl::StatusOr<std::vector<OtherRelation>> ListOthers(Connection& source) {
  WF_ASSIGN_OR_RETURN(const Result rows, source.Execute(kOthersSql));
  std::vector<OtherRelation> others;
  for (int row = 0; row < rows.rows(); ++row) {
    OtherRelation& other = others.emplace_back();
    other.relation.name = {std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1))};
    other.kind = rows.Get(row, 2).front();
    for (const auto& pair : nlohmann::json::parse(rows.Get(row, 3))) {
      other.relation.ancestors.push_back({pair.at(0).get<std::string>(), pair.at(1).get<std::string>()});
    }
  }
  return others;
}

bool IsOutside(const OtherRelation& other, const TableFilter& filter) {
  if (other.kind == 'p') return false;
  const bool may_be_needed = other.kind == 'v' || other.kind == 'm' || other.kind == 'S';
  return may_be_needed ? filter.Excludes(other.relation) : !filter.Matches(other.relation);
}

}  // namespace

absl::StatusOr<std::vector<SourceTable>> ListOtherRelations(Connection& source) {
  WF_ASSIGN_OR_RETURN(const std::vector<OtherRelation> others, ListOthers(source));
  std::vector<SourceTable> relations;
  for (const OtherRelation& other : others) relations.push_back(other.relation);
  return relations;
}

absl::StatusOr<std::vector<TableName>> ExcludedRelations(Connection& source, const TableFilter& filter) {
  std::vector<TableName> excluded;
  if (filter.selects_all()) return excluded;
  WF_ASSIGN_OR_RETURN(const std::vector<SourceTable> tables, ListSourceTables(source));
  for (const SourceTable& table : tables) {
    if (!filter.Matches(table)) excluded.push_back(table.name);
  }
  WF_ASSIGN_OR_RETURN(const std::vector<OtherRelation> others, ListOthers(source));
  for (const OtherRelation& other : others) {
    if (IsOutside(other, filter)) excluded.push_back(other.relation.name);
  }
  return excluded;
}

}  // namespace walferry
