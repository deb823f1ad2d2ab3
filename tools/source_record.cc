// Tested by tests/servers/catalog_watch_test.cc.
#include "tools/source_record.h"

#include "absl/strings/str_format.h"
#include "stream/quote.h"

namespace walferry {

std::string Quoted(const TableName& name) {
  return QuoteName(name.schema, name.name);
}

std::string MembershipOf(const SourceCatalog& source, const SourceRelation& relation) {
  const SourceRelation* const through = source.PublishedThrough(relation);
  if (through == nullptr) return "";
  return through->membership + "/" + through->insert_membership;
}

SourceTable TableOf(const SourceCatalog& source, const SourceRelation& relation) {
  SourceTable table;
  table.name = relation.name;
  table.oid = relation.oid;
  table.has_identity = relation.has_identity;
  for (const SourceRelation* ancestor : source.AncestorsOf(relation))
    table.ancestors.push_back(ancestor->name);
  return table;
}

TableRecord RecordOf(const SourceCatalog& source, const SourceRelation& relation) {
  SourceRelation recorded = relation;
  recorded.membership = MembershipOf(source, relation);
  recorded.tree = source.TreeOf(relation);
  recorded.attachment = source.AttachmentsOf(relation);
  TableRecord record;
  record.table = relation.name;
  record.source_oid = relation.oid;
  record.catalog = ToText(recorded);
  return record;
}

TableRecord SetAside(TableRecord gone) {
  gone.phase = TablePhase::kDropped;
  gone.table.name = absl::StrFormat("%s (dropped, oid %d)", gone.table.name, gone.source_oid);
  return gone;
}

}  // namespace walferry
