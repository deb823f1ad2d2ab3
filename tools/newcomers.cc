// Tested by tests/servers/catalog_watch_test.cc.
#include "tools/newcomers.h"

#include <algorithm>
#include <set>

#include "stream/quote.h"
#include "tools/source_record.h"

namespace walferry {
namespace {

class Newcomers {
 public:
  Newcomers(const RecordedCatalog& recorded, const SourceCatalog& source, const SourceCatalog& target,
            CatalogFindings& findings)
      : recorded_(recorded), source_(source), target_(target), findings_(findings) {
    for (const TableRecord& table : recorded.tables) {
      known_.insert(table.source_oid);
      if (table.phase == TablePhase::kDropped) continue;
      if (const SourceRelation* const relation = source.Find(table.source_oid)) {
        for (const SourceRelation* ancestor : source.AncestorsOf(*relation)) roots_.insert(ancestor->oid);
      }
    }
    for (const auto& [name, record] : findings.updates) known_.insert(record.source_oid);
    if (const auto publication = PublicationFromText(recorded.migration.publication_catalog)) {
      ignored_.insert(publication->ignored.begin(), publication->ignored.end());
    }
  }

  void Run(const SourceRelation& relation) {
    if (relation.kind == 'p') return Root(relation);
    if (known_.contains(relation.oid) && !WasLetGo(relation)) return;
    const bool chosen = recorded_.choice.Matches(TableOf(source_, relation));
    if (relation.persistence != 'p') {
      if (chosen && IsMigratedPartition(relation)) Unlogged(relation);
      return;
    }
    if (!chosen && ignored_.contains(relation.oid)) return;
    if (IsMigratedPartition(relation)) {
      if (chosen) return Partition(relation);
      if (source_.IsPublished(relation)) findings_.ignored.push_back(relation.oid);
      return;
    }
    if (source_.IsPublished(relation)) return Intruder(relation);
    if (chosen) New(relation);
  }

 private:
  // A table that left the migration, and may come back.
  bool WasLetGo(const SourceRelation& relation) const {
    return std::any_of(recorded_.tables.begin(), recorded_.tables.end(), [&](const TableRecord& table) {
      return table.source_oid == relation.oid && table.phase == TablePhase::kDropped;
    });
  }

  void Unlogged(const SourceRelation& relation) {
    findings_.differences.push_back({"unlogged-tables", relation.name.ToString(),
                                     "partition " + relation.name.ToString() +
                                         " is unlogged: neither its rows nor its changes are migrated",
                                     "ALTER TABLE " + Quoted(relation.name) + " SET LOGGED;" + kOnSource,
                                     false});
  }

  bool IsMigratedPartition(const SourceRelation& relation) const {
    const auto ancestors = source_.AncestorsOf(relation);
    return std::any_of(ancestors.begin(), ancestors.end(), [&](const SourceRelation* ancestor) {
      return roots_.contains(ancestor->oid) || source_.IsPublished(*ancestor);
    });
  }

  void Partition(const SourceRelation& relation) {
    findings_.new_partitions.push_back(relation.oid);
    findings_.differences.push_back({"new-partitions", relation.name.ToString(),
                                     "partition " + relation.name.ToString() + " is new on the source",
                                     "walferry migrate, which follows it", false});
  }

  void New(const SourceRelation& relation) {
    findings_.differences.push_back(
        {"new-tables", relation.name.ToString(),
         "table " + relation.name.ToString() +
             " is new on the source: neither its rows nor its changes are migrated",
         "walferry migrate --exclude-tables " + TableFilter::PatternOf(relation.name) +
             ", or begin anew (walferry cleanup, then migrate) to have it, too",
         false});
  }

  void Root(const SourceRelation& relation) {
    if (relation.persistence != 'p' || IsMigratedPartition(relation)) return;
    const bool known = roots_.contains(relation.oid) || source_.IsPublished(relation) ||
                       target_.FindByName(relation.name) != nullptr;
    if (!known && recorded_.choice.Matches(TableOf(source_, relation))) New(relation);
  }

  void Intruder(const SourceRelation& relation) {
    findings_.differences.push_back({"new-tables", relation.name.ToString(),
                                     "table " + relation.name.ToString() + " is in publication " +
                                         recorded_.migration.publication +
                                         ", but not among the migration's tables",
                                     "ALTER PUBLICATION " + QuoteIdentifier(recorded_.migration.publication) +
                                         " DROP TABLE " + Quoted(relation.name) + ";" + kOnSource,
                                     true});
  }

  const RecordedCatalog& recorded_;
  const SourceCatalog& source_;
  const SourceCatalog& target_;
  CatalogFindings& findings_;
  std::set<Oid> known_;
  std::set<Oid> ignored_;
  std::set<Oid> roots_;  // Partitioned tables of which a partition is migrated.
};

}  // namespace

void FindNewcomers(const RecordedCatalog& recorded, const SourceCatalog& source, const SourceCatalog& target,
                   CatalogFindings& findings) {
  Newcomers newcomers(recorded, source, target, findings);
  for (const auto& [oid, relation] : source.relations) newcomers.Run(relation);
}

}  // namespace walferry
