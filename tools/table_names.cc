// Tested by tests/servers/cutover_objects_test.cc.
#include "tools/table_names.h"

#include <algorithm>

#include "tools/catalog_watch.h"
#include "tools/source_record.h"

namespace walferry {
namespace {

// By its oid where that is known: two tables may have exchanged their names on one side only.
const SourceRelation* FindOnTarget(const TableRecord& record, const SourceRelation& relation,
                                   const SourceCatalog& target) {
  const std::optional<SourceRelation> recorded = RelationFromText(record.catalog);
  if (recorded && recorded->target_oid != 0) {
    if (const SourceRelation* const found = target.Find(recorded->target_oid)) return found;
  }
  if (const SourceRelation* const found = target.FindByName(relation.name)) return found;
  return target.FindByName(record.table);
}

// No rows of it are followed: an unlogged table, or a partitioned one without partitions.
bool IsUnrecordedThere(const SourceCatalog& source, const SourceRelation& relation, const TableFilter& choice,
                       const SourceCatalog& target) {
  return (relation.kind == 'p' || relation.persistence == 'u') && choice.Matches(TableOf(source, relation)) &&
         target.FindByName(relation.name) != nullptr;
}

}  // namespace

TablesOnBothSides MatchTables(const std::vector<TableRecord>& records, const TableFilter& choice,
                              const SourceCatalog& source, const SourceCatalog& target) {
  TablesOnBothSides tables;
  for (const TableRecord& record : records) {
    const SourceRelation* const relation =
        record.source_oid == 0 ? source.FindByName(record.table) : source.Find(record.source_oid);
    if (relation == nullptr) continue;
    const SourceRelation* const there = FindOnTarget(record, *relation, target);
    if (there == nullptr) continue;
    tables.target_names[relation->oid] = there->name;
    const auto above = source.AncestorsOf(*relation);
    const auto above_there = target.AncestorsOf(*there);
    for (std::size_t i = 0; i < std::min(above.size(), above_there.size()); ++i) {
      tables.target_names.emplace(above[i]->oid, above_there[i]->name);
    }
  }
  for (const auto& [oid, relation] : source.relations) {
    const auto found = tables.target_names.find(oid);
    if (found != tables.target_names.end()) {
      if (found->second != relation.name) tables.renames.emplace_back(relation.name, found->second);
    } else if (IsUnrecordedThere(source, relation, choice, target)) {
      tables.target_names[oid] = relation.name;
    } else {
      tables.left_out.push_back(relation.name);
    }
  }
  return tables;
}

}  // namespace walferry
