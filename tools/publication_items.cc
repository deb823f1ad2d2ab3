// Tested by tests/servers/publication_test.cc.
#include "tools/publication_items.h"

#include <algorithm>
#include <set>

#include "tools/source_record.h"

namespace walferry {
namespace {

// A partitioned table under which every partition, also one to come, may be published: each has an identity
// by the root's primary key, and none is left out by the user's choice.
bool MayPublishRoot(const SourceCatalog& catalog, const SourceRelation& root, const TableFilter& choice,
                    int server_version) {
  if (server_version < 130000 || !root.may_publish || !root.has_primary_key) return false;
  if (root.persistence != 'p' || !choice.Matches(TableOf(catalog, root))) return false;
  return std::all_of(catalog.relations.begin(), catalog.relations.end(), [&](const auto& entry) {
    const SourceRelation& leaf = entry.second;
    const auto ancestors = catalog.AncestorsOf(leaf);
    if (leaf.kind != 'r' || ancestors.empty() || ancestors.back()->oid != root.oid) return true;
    return leaf.has_identity && choice.Matches(TableOf(catalog, leaf));
  });
}

}  // namespace

bool IsChosen(const SourceCatalog& catalog, const SourceRelation& relation, const TableFilter& choice) {
  return relation.kind == 'r' && relation.persistence == 'p' && choice.Matches(TableOf(catalog, relation));
}

PublicationItems ItemsOf(const SourceCatalog& catalog, const TableFilter& choice, int server_version) {
  std::set<TableName> all;
  PublicationItems items;
  for (const auto& [oid, relation] : catalog.relations) {
    const auto ancestors = catalog.AncestorsOf(relation);
    const SourceRelation& top = ancestors.empty() ? relation : *ancestors.back();
    if (top.kind == 'p' && MayPublishRoot(catalog, top, choice, server_version)) {
      all.insert(top.name);
    } else if (IsChosen(catalog, relation, choice)) {
      relation.has_identity ? void(all.insert(relation.name)) : items.inserts.push_back(relation.name);
    }
  }
  items.all.assign(all.begin(), all.end());
  return items;
}

}  // namespace walferry
