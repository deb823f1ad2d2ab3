// Tested by tests/servers/catalog_watch_test.cc.
#include "tools/source_catalog.h"

#include <nlohmann/json.hpp>

namespace walferry {
namespace {

using nlohmann::json;

// Ordinary user tables, as a condition on pg_class c joined with pg_namespace n.
#define WF_USER_TABLES                                                                                  \
  "c.relkind IN ('r', 'p') AND c.relpersistence <> 't' "                                                \
  "AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'walferry') AND n.nspname !~ '^pg_toast' " \
  "AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = "                               \
  "'pg_catalog.pg_class'::pg_catalog.regclass "                                                         \
  "AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e')"

// ATTACH PARTITION rewrites the row of each column in pg_attribute (MergeAttributesIntoExisting in
// tablecmds.c), so a table of which one column was never touched was made by CREATE TABLE … PARTITION OF.
// Column ctid (-1) is written when the table is made, and never again.
constexpr char kRelationsSql[] = R"sql(
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, coalesce(h.inhparent, 0), coalesce(h.inhparent || ' ' || h.xmin::text, ''),
       coalesce(pg_catalog.pg_get_expr(c.relpartbound, c.oid), ''),
       h.inhrelid IS NOT NULL AND EXISTS (
         SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attribute s
           ON s.attrelid = a.attrelid AND s.attnum = -1 AND s.xmin = a.xmin AND s.cmin = a.cmin
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND s.xmin = h.xmin),
       c.relfilenode, c.relreplident::text || coalesce(' ' || pg_catalog.array_to_string(k.indkey::int2[], ' '), ''),
       c.relreplident = 'f' OR k.indexrelid IS NOT NULL,
       EXISTS (SELECT FROM pg_catalog.pg_index p
               WHERE p.indrelid = c.oid AND p.indisprimary AND p.indimmediate AND p.indisvalid),
       pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       coalesce((SELECT r.oid || %1$s FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p
                   ON p.oid = r.prpubid WHERE r.prrelid = c.oid AND p.pubname = $1), ''),
       coalesce((SELECT r.oid || %1$s FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p
                   ON p.oid = r.prpubid WHERE r.prrelid = c.oid AND p.pubname = $2), ''),
       pg_catalog.pg_stat_get_tuples_updated(c.oid) + pg_catalog.pg_stat_get_tuples_deleted(c.oid),
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
            a.attnum, a.attname, a.atttypid::bigint, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
            a.attidentity::text, %2$s, %3$s, a.xmin::text, 0,
            CASE WHEN a.attidentity <> '' OR a.atthasdef THEN
              (SELECT o.objid::pg_catalog.regclass::text FROM pg_catalog.pg_depend o
               JOIN pg_catalog.pg_class q ON q.oid = o.objid AND q.relkind = 'S'
               WHERE o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 AND o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 AND o.refobjid = a.attrelid AND o.refobjsubid = a.attnum AND o.deptype IN ('a', 'i')
               ORDER BY o.deptype DESC, o.objid DESC LIMIT 1) END) ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute a
        LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.oid AND c.relispartition
LEFT JOIN pg_catalog.pg_index k ON k.indrelid = c.oid AND k.indisvalid AND k.indimmediate
  AND CASE c.relreplident WHEN 'd' THEN k.indisprimary WHEN 'i' THEN k.indisreplident ELSE false END
WHERE )sql" WF_USER_TABLES;

std::string RelationsSql(int version) {
  const char* const narrowed = version >= 150000 ? "CASE WHEN r.prqual IS NULL THEN '' ELSE ' WHERE' END || "
                                                   "CASE WHEN r.prattrs IS NULL THEN '' ELSE ' COLUMNS' END"
                                                 : "''";
  const char* const expressions =
      version >= 120000
          ? "CASE WHEN a.attgenerated <> '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) ELSE '' END, "
            "CASE WHEN a.attgenerated <> '' THEN '' ELSE coalesce(pg_catalog.pg_get_expr(d.adbin, "
            "d.adrelid), '') END"
          : "'', coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '')";
  // An array of one element of the column's type; of an array type it is one dimension deeper.
  const char* const missing = version >= 110000
                                  ? "CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END"
                                  : "NULL::text";
  std::string sql = absl::StrFormat(kRelationsSql, narrowed, expressions, missing);
  return sql;
}

constexpr char kFingerprintSql[] = R"sql(
SELECT pg_catalog.concat_ws(' ',
  (SELECT pg_catalog.sum(pg_catalog.hashtext(c.oid || ' ' || c.xmin::text)::bigint) FROM pg_catalog.pg_class c
   WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'),
  (SELECT pg_catalog.sum(pg_catalog.hashtext(a.attrelid || ' ' || a.attnum || ' ' || a.xmin::text)::bigint)
   FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
   WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND a.attnum > 0),
  (SELECT pg_catalog.sum(pg_catalog.hashtext(i.indexrelid || ' ' || i.xmin::text)::bigint)
   FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
   WHERE c.oid >= 16384 AND c.relpersistence <> 't'),
  (SELECT pg_catalog.sum(pg_catalog.hashtext(h.inhrelid || ' ' || h.inhparent || ' ' || h.xmin::text)::bigint)
   FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid AND c.relpersistence <> 't'),
  (SELECT pg_catalog.sum(pg_catalog.hashtext(p.pubname || ' ' || p.xmin::text)::bigint)
   FROM pg_catalog.pg_publication p),
  (SELECT pg_catalog.sum(pg_catalog.hashtext(r.prpubid || ' ' || r.prrelid || ' ' || r.xmin::text)::bigint)
   FROM pg_catalog.pg_publication_rel r),
  (SELECT pg_catalog.sum(pg_catalog.hashtext(n.nspname || ' ' || n.xmin::text)::bigint)
   FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_(toast_)?temp'),
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attrdef))
)sql";

SourceColumn ColumnFromJson(const json& values) {
  SourceColumn column;
  column.attnum = values.at(0).get<int>();
  column.name = values.at(1).get<std::string>();
  column.type_oid = values.at(2).get<Oid>();
  column.type = values.at(3).get<std::string>();
  column.not_null = values.at(4).get<bool>();
  column.identity = values.at(5).get<std::string>();
  column.generated = values.at(6).is_null() ? "" : values.at(6).get<std::string>();
  column.default_expression = values.at(7).get<std::string>();
  if (!values.at(8).is_null()) column.missing_value = values.at(8).get<std::string>();
  column.version = values.at(9).get<std::string>();
  if (values.size() > 10) column.target_attnum = values.at(10).get<int>();
  if (values.size() > 11 && !values.at(11).is_null()) column.sequence = values.at(11).get<std::string>();
  return column;
}

json ColumnToJson(const SourceColumn& column) {
  return json::array({column.attnum, column.name, column.type_oid, column.type, column.not_null,
                      column.identity, column.generated, column.default_expression,
                      column.missing_value ? json(*column.missing_value) : json(nullptr), column.version,
                      column.target_attnum, column.sequence});
}

json TreeToJson(const std::vector<PartitionLink>& tree) {
  json list = json::array();
  for (const PartitionLink& link : tree) {
    list.push_back({link.child.schema, link.child.name, link.parent_oid, link.parent.schema, link.parent.name,
                    link.bound});
  }
  return list;
}

std::vector<PartitionLink> TreeFromJson(const json& list) {
  std::vector<PartitionLink> tree;
  for (const json& values : list) {
    PartitionLink link;
    link.child = {values.at(0).get<std::string>(), values.at(1).get<std::string>()};
    link.parent_oid = values.at(2).get<Oid>();
    link.parent = {values.at(3).get<std::string>(), values.at(4).get<std::string>()};
    link.bound = values.at(5).get<std::string>();
    tree.push_back(std::move(link));
  }
  return tree;
}

json PublicationToJson(const SourcePublication& publication) {
  json text = {{"oid", publication.oid},
               {"options", publication.options},
               {"owner", publication.owner},
               {"version", publication.version},
               {"ignored", publication.ignored}};
  for (const SourcePublication& inserts : publication.inserts) text["inserts"] = PublicationToJson(inserts);
  return text;
}

SourcePublication PublicationFromJson(const json& text) {
  SourcePublication publication;
  publication.oid = text.value("oid", Oid{0});
  publication.options = text.value("options", "");
  publication.owner = text.value("owner", "");
  publication.version = text.value("version", "");
  publication.ignored = text.value("ignored", std::vector<Oid>());
  if (text.contains("inserts")) publication.inserts.push_back(PublicationFromJson(text.at("inserts")));
  return publication;
}

json ColumnsToJson(const std::vector<SourceColumn>& columns) {
  json list = json::array();
  for (const SourceColumn& column : columns) list.push_back(ColumnToJson(column));
  return list;
}

std::vector<SourceColumn> ColumnsFromJson(const json& list) {
  std::vector<SourceColumn> columns;
  for (const json& column : list) columns.push_back(ColumnFromJson(column));
  return columns;
}

absl::StatusOr<std::optional<SourcePublication>> ReadPublication(Connection& source,
                                                                 const std::string& name) {
  if (name.empty()) return std::nullopt;
  const int version = source.server_version();
  const std::string sql = absl::StrFormat(
      "SELECT oid, pg_catalog.concat_ws(',', CASE WHEN pubinsert THEN 'insert' END, CASE WHEN pubupdate THEN "
      "'update' END, CASE WHEN pubdelete THEN 'delete' END%s) || CASE WHEN puballtables THEN ' all tables' "
      "ELSE '' "
      "END%s, pg_catalog.pg_get_userbyid(pubowner), xmin FROM pg_catalog.pg_publication WHERE pubname = $1",
      version >= 110000 ? ", CASE WHEN pubtruncate THEN 'truncate' END" : "",
      version >= 130000 ? " || CASE WHEN pubviaroot THEN ' via root' ELSE '' END" : "");
  WF_ASSIGN_OR_RETURN(const Result row, source.Execute(sql, {name}));
  if (row.rows() == 0) return std::nullopt;
  SourcePublication publication;
  publication.oid = static_cast<Oid>(row.GetInt(0, 0));
  publication.options = row.Get(0, 1);
  publication.owner = row.Get(0, 2);
  publication.version = row.Get(0, 3);
  return publication;
}

// The server wrote it, so it is of this form; a text of the state may be anything.
json Parse(std::string_view text) {
  return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

SourceRelation ReadRelation(const Result& rows, int row) {
  SourceRelation relation;
  relation.oid = static_cast<Oid>(rows.GetInt(row, 0));
  relation.name = {std::string(rows.Get(row, 1)), std::string(rows.Get(row, 2))};
  relation.kind = rows.Get(row, 3).front();
  relation.persistence = rows.Get(row, 4).front();
  relation.parent = static_cast<Oid>(rows.GetInt(row, 5));
  relation.attachment = rows.Get(row, 6);
  relation.bound = rows.Get(row, 7);
  relation.born_as_partition = rows.GetBool(row, 8);
  relation.filenode = static_cast<Oid>(rows.GetInt(row, 9));
  relation.identity = rows.Get(row, 10);
  relation.has_identity = rows.GetBool(row, 11);
  relation.has_primary_key = rows.GetBool(row, 12);
  relation.may_publish = rows.GetBool(row, 13);
  relation.membership = rows.Get(row, 14);
  relation.insert_membership = rows.Get(row, 15);
  relation.updates_and_deletes = rows.IsNull(row, 16) ? 0 : rows.GetInt(row, 16);
  if (!rows.IsNull(row, 17)) {
    relation.columns = ColumnsFromJson(Parse(rows.Get(row, 17)));
  }
  return relation;
}

}  // namespace

const SourceColumn* SourceRelation::FindColumn(std::string_view column) const {
  for (const SourceColumn& one : columns) {
    if (one.name == column) return &one;
  }
  return nullptr;
}

const SourceColumn* SourceRelation::FindColumn(int attnum) const {
  for (const SourceColumn& one : columns) {
    if (one.attnum == attnum) return &one;
  }
  return nullptr;
}

const SourceRelation* SourceCatalog::Find(Oid oid) const {
  const auto found = relations.find(oid);
  return found == relations.end() ? nullptr : &found->second;
}

const SourceRelation* SourceCatalog::FindByName(const TableName& name) const {
  const auto found = names.find(name);
  return found == names.end() ? nullptr : Find(found->second);
}

std::vector<PartitionLink> SourceCatalog::TreeOf(const SourceRelation& relation) const {
  std::vector<PartitionLink> tree;
  const SourceRelation* child = &relation;
  for (const SourceRelation* parent : AncestorsOf(relation)) {
    tree.push_back({child->name, parent->oid, parent->name, child->bound});
    child = parent;
  }
  return tree;
}

std::string SourceCatalog::AttachmentsOf(const SourceRelation& relation) const {
  std::string attachments = relation.attachment;
  for (const SourceRelation* parent : AncestorsOf(relation)) attachments += "," + parent->attachment;
  return attachments;
}

std::vector<const SourceRelation*> SourceCatalog::AncestorsOf(const SourceRelation& relation) const {
  std::vector<const SourceRelation*> ancestors;
  for (const SourceRelation* at = Find(relation.parent); at != nullptr; at = Find(at->parent)) {
    ancestors.push_back(at);
  }
  return ancestors;
}

const SourceRelation* SourceCatalog::PublishedThrough(const SourceRelation& relation) const {
  const auto is_member = [](const SourceRelation& one) {
    return !one.membership.empty() || !one.insert_membership.empty();
  };
  if (is_member(relation)) return &relation;
  for (const SourceRelation* ancestor : AncestorsOf(relation)) {
    if (is_member(*ancestor)) return ancestor;
  }
  return nullptr;
}

absl::StatusOr<SourceCatalog> ReadSourceCatalog(Connection& source, const std::string& publication,
                                                const std::string& insert_publication) {
  SourceCatalog catalog;
  WF_ASSIGN_OR_RETURN(catalog.publication, ReadPublication(source, publication));
  WF_ASSIGN_OR_RETURN(catalog.insert_publication, ReadPublication(source, insert_publication));
  WF_ASSIGN_OR_RETURN(const Result rows, source.Execute(RelationsSql(source.server_version()),
                                                        {publication, insert_publication}));
  for (int row = 0; row < rows.rows(); ++row) {
    SourceRelation relation = ReadRelation(rows, row);
    const Oid oid = relation.oid;
    catalog.names.emplace(relation.name, oid);
    catalog.relations.emplace(oid, std::move(relation));
  }
  return catalog;
}

absl::StatusOr<std::string> CatalogFingerprint(Connection& source) {
  WF_ASSIGN_OR_RETURN(const Result row, source.Execute(kFingerprintSql));
  return std::string(row.Get(0, 0));
}

std::string ToText(const SourceRelation& relation) {
  json earlier = json::array();
  for (const auto& columns : relation.earlier_columns) earlier.push_back(ColumnsToJson(columns));
  return json{{"oid", relation.oid},
              {"schema", relation.name.schema},
              {"name", relation.name.name},
              {"kind", std::string(1, relation.kind)},
              {"persistence", std::string(1, relation.persistence)},
              {"parent", relation.parent},
              {"attachment", relation.attachment},
              {"tree", TreeToJson(relation.tree)},
              {"truncates", relation.truncates},
              {"filenode", relation.filenode},
              {"identity", relation.identity},
              {"has_identity", relation.has_identity},
              {"membership", relation.membership},
              {"insert_membership", relation.insert_membership},
              {"updates_and_deletes", relation.updates_and_deletes},
              {"target_oid", relation.target_oid},
              {"columns", ColumnsToJson(relation.columns)},
              {"earlier_columns", std::move(earlier)}}
      .dump();
}

std::optional<SourceRelation> RelationFromText(std::string_view text) {
  const json found = Parse(text);
  if (!found.is_object() || !found.contains("columns")) return std::nullopt;
  SourceRelation relation;
  relation.oid = found.value("oid", Oid{0});
  relation.name = {found.value("schema", ""), found.value("name", "")};
  relation.kind = found.value("kind", "r").front();
  relation.persistence = found.value("persistence", "p").front();
  relation.parent = found.value("parent", Oid{0});
  relation.attachment = found.value("attachment", "");
  relation.tree = TreeFromJson(found.value("tree", json::array()));
  relation.truncates = found.value("truncates", std::int64_t{0});
  relation.filenode = found.value("filenode", Oid{0});
  relation.identity = found.value("identity", "");
  relation.has_identity = found.value("has_identity", false);
  relation.membership = found.value("membership", "");
  relation.insert_membership = found.value("insert_membership", "");
  relation.updates_and_deletes = found.value("updates_and_deletes", std::int64_t{0});
  relation.target_oid = found.value("target_oid", Oid{0});
  relation.columns = ColumnsFromJson(found.at("columns"));
  for (const json& columns : found.at("earlier_columns")) {
    relation.earlier_columns.push_back(ColumnsFromJson(columns));
  }
  return relation;
}

std::string ToText(const SourcePublication& publication) {
  return PublicationToJson(publication).dump();
}

std::optional<SourcePublication> PublicationFromText(std::string_view text) {
  const json found = Parse(text);
  if (!found.is_object()) return std::nullopt;
  return PublicationFromJson(found);
}

}  // namespace walferry
