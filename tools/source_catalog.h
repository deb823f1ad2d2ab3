// The source's catalog as far as a migration depends on it: tables by oid and by name, with their partition
// tree, publication, replica identity and columns. What differs from what a migration has recorded is found
// out by catalog_watch.h. https://www.postgresql.org/docs/current/catalogs.html
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "decoder/message.h"
#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

struct SourceColumn {
  int attnum = 0;  // Stays as it is while the column is renamed or changed.
  std::string name;
  Oid type_oid = 0;
  std::string type;  // As SQL writes it: numeric(10,2)
  bool not_null = false;
  std::string identity;            // pg_attribute.attidentity
  std::string generated;           // The expression of a generated column; "" for others.
  std::string default_expression;  // Of a column that is not generated; "" for none.
  // What rows have that are older than the column and were not rewritten since (ADD COLUMN … DEFAULT, since
  // 11).
  std::optional<std::string> missing_value;
  std::string version;    // xmin of its row of pg_attribute: other after each ALTER of it.
  std::string sequence;   // That it owns, as SQL writes it: of its identity, or of serial; "" for none.
  int target_attnum = 0;  // Of the column on the target that it was first applied to; 0: unknown.
  friend bool operator==(const SourceColumn&, const SourceColumn&) = default;
};

// From a partition to what it is a partition of.
struct PartitionLink {
  TableName child;
  Oid parent_oid = 0;
  TableName parent;
  std::string bound;  // FOR VALUES …
  friend bool operator==(const PartitionLink&, const PartitionLink&) = default;
};

struct SourceRelation {
  Oid oid = 0;
  TableName name;
  char kind = 'r';         // pg_class.relkind: 'r' or 'p'
  char persistence = 'p';  // pg_class.relpersistence: 'p' or 'u'
  Oid parent = 0;          // Of a partition.
  // Of a partition: another one each time it is attached. Of what is recorded: that of all its ancestors,
  // too.
  std::string attachment;
  std::string bound;  // Of a partition: FOR VALUES …
  // It began its life as a partition of its parent, so that it never had a row that was not published through
  // it.
  bool born_as_partition = false;
  Oid filenode = 0;           // Another one after each rewrite of the table.
  std::string identity;       // pg_class.relreplident and the attnums of its index: "d 1 2", "f", "n"
  bool has_identity = false;  // Updates and deletes can be published.
  bool has_primary_key = false;
  bool may_publish = false;  // The user owns it, or is a member of the owner.
  // Its row of pg_publication_rel in the migration's publication, with " WHERE" and " COLUMNS" where it is
  // narrowed; "" where it has none. Of the publication for inserts alone likewise.
  std::string membership;
  std::string insert_membership;
  std::int64_t updates_and_deletes = 0;  // As the statistics have counted them.
  std::vector<SourceColumn> columns;     // By attnum, without dropped ones.
  // Of what is recorded only. The table on the target that it was first applied to; 0: unknown.
  Oid target_oid = 0;
  std::vector<PartitionLink> tree;  // From the table up to its root.
  std::int64_t truncates = 0;       // That the stream had applied when the filenode was recorded.
  // What its published columns were before, the newest first.
  std::vector<std::vector<SourceColumn>> earlier_columns;

  const SourceColumn* FindColumn(std::string_view column) const;  // nullptr where there is none.
  const SourceColumn* FindColumn(int attnum) const;
};

struct SourcePublication {
  Oid oid = 0;
  std::string options;  // "insert,update,delete,truncate", with " via root" and " all tables"
  std::string owner;
  std::string version;  // xmin of its row: another one after each ALTER.
  // Of what is recorded only: relations of which the stream may still have changes that are left out, because
  // they are gone or no part of the migration.
  std::vector<Oid> ignored = {};
  std::vector<SourcePublication> inserts = {};  // Likewise; the publication for inserts, where there is one.
  friend bool operator==(const SourcePublication&, const SourcePublication&) = default;
};

struct SourceCatalog {
  std::optional<SourcePublication> publication;
  std::optional<SourcePublication> insert_publication;
  std::map<Oid, SourceRelation> relations;
  std::map<TableName, Oid> names;

  const SourceRelation* Find(Oid oid) const;  // nullptr where there is none.
  const SourceRelation* FindByName(const TableName& name) const;
  std::vector<PartitionLink> TreeOf(const SourceRelation& relation) const;
  std::string AttachmentsOf(const SourceRelation& relation) const;
  // Parent, grandparent, … root.
  std::vector<const SourceRelation*> AncestorsOf(const SourceRelation& relation) const;
  // The relation that is in a publication on behalf of this one: itself or an ancestor. nullptr: none is.
  const SourceRelation* PublishedThrough(const SourceRelation& relation) const;
  bool IsPublished(const SourceRelation& relation) const { return PublishedThrough(relation) != nullptr; }
};

// All ordinary and partitioned user tables (not temporary, not of extensions, not in schema walferry), in the
// connection's current snapshot. insert_publication: "" for none.
absl::StatusOr<SourceCatalog> ReadSourceCatalog(Connection& source, const std::string& publication,
                                                const std::string& insert_publication);

// One number that differs as soon as something of all that differs: one short query.
absl::StatusOr<std::string> CatalogFingerprint(Connection& source);

// What is recorded of a relation or a publication in the migration's state, and back. An empty or foreign
// text gives nullopt.
std::string ToText(const SourceRelation& relation);
std::optional<SourceRelation> RelationFromText(std::string_view text);
std::string ToText(const SourcePublication& publication);
std::optional<SourcePublication> PublicationFromText(std::string_view text);

}  // namespace walferry
