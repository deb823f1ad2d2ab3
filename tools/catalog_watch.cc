// Tested by tests/servers/catalog_watch_test.cc.
#include "tools/catalog_watch.h"

#include <algorithm>
#include <set>
#include <utility>

#include "stream/quote.h"
#include "tools/column_changes.h"

namespace walferry {
namespace {

// What puts a relation into the stream: its own or its ancestor's rows of the publications.
std::string MembershipOf(const SourceCatalog& source, const SourceRelation& relation) {
  const SourceRelation* const through = source.PublishedThrough(relation);
  if (through == nullptr) return "";
  return through->membership + "/" + through->insert_membership;
}

bool IsNarrowed(const std::string& membership) {
  return membership.find(" WHERE") != membership.npos || membership.find(" COLUMNS") != membership.npos;
}

// Behind SQL, as a comment: it can be pasted as it is.
constexpr char kOnSource[] = " -- on the source";
constexpr char kOnTarget[] = " -- on the target";

std::string Quoted(const TableName& name) {
  return QuoteName(name.schema, name.name);
}

class TableComparison {
 public:
  TableComparison(const RecordedCatalog& recorded, const SourceCatalog& source, const SourceCatalog& target,
                  CatalogFindings& findings)
      : recorded_(recorded), source_(source), target_(target), findings_(findings) {
    const auto before = PublicationFromText(recorded.migration.publication_catalog);
    narrowed_ = before && source.publication && source.publication->oid == before->oid &&
                source.publication->options != before->options;
  }

  void Run(const TableRecord& table) {
    const std::optional<SourceRelation> before = RelationFromText(table.catalog);
    if (!before || table.phase == TablePhase::kDropped) return;
    record_ = table;
    before_ = *before;
    agreed_ = *before;
    there_ = TargetOf();
    now_ = source_.Find(table.source_oid);
    if (now_ == nullptr) {
      Gone();
    } else {
      Present();
    }
    if (record_.phase != TablePhase::kDropped && !record_.needs_copy.empty()) NameCopy();
    record_.catalog = ToText(agreed_);
    const bool same = record_.table == table.table && record_.phase == table.phase &&
                      record_.catalog == table.catalog && record_.needs_copy == table.needs_copy &&
                      record_.source_oid == table.source_oid;
    if (!same) findings_.updates.emplace_back(table.table, record_);
  }

 private:
  // Under whatever name it has there by now.
  const SourceRelation* TargetOf() const {
    const SourceRelation* const bound = before_.target_oid == 0 ? nullptr : target_.Find(before_.target_oid);
    return bound != nullptr ? bound : target_.FindByName(record_.table);
  }
  bool schema_is_there() const { return recorded_.migration.phase > Phase::kSchema; }
  bool is_copied() const { return record_.phase == TablePhase::kCopied; }

  void Differ(std::string kind, std::string text, std::string command, bool stops) {
    findings_.differences.push_back(
        {std::move(kind), record_.table.ToString(), std::move(text), std::move(command), stops});
  }
  void Agree(const std::string& text) { findings_.events.push_back(text); }
  void NeedsCopy(const std::string& why) {
    if (is_copied() && record_.needs_copy.empty()) record_.needs_copy = why;
  }
  void Forget(const std::string& text) {
    record_.phase = TablePhase::kDropped;
    Agree(text);
  }

  void NameCopy() {
    Differ(
        "needs-copy",
        absl::StrFormat("table %s has to be copied again: %s", record_.table.ToString(), record_.needs_copy),
        "walferry migrate, which copies it anew and goes on", false);
  }

  void Gone() {
    const std::string name = record_.table.ToString();
    if (const SourceRelation* const heir = source_.FindByName(before_.name);
        heir != nullptr && heir->kind == 'r' && heir->persistence == 'p') {
      return Replaced(*heir);
    }
    if (!is_copied()) return Forget("table " + name + " was dropped on the source before it was copied");
    if (there_ == nullptr) return Forget("table " + name + " was dropped on both sides");
    Differ("dropped-tables", "table " + name + " was dropped on the source, and is still on the target",
           "DROP TABLE " + Quoted(there_->name) + ";" + std::string(kOnTarget), false);
  }

  void Replaced(const SourceRelation& heir) {
    const std::string name = record_.table.ToString();
    NeedsCopy("it was dropped on the source and made anew");
    record_.source_oid = heir.oid;
    agreed_ = heir;
    agreed_.membership = MembershipOf(source_, heir);
    agreed_.target_oid = 0;
    for (SourceColumn& column : agreed_.columns) column.target_attnum = 0;
    Differ("replaced-tables",
           "table " + name +
               " of the source is another one than the one that was copied: it was dropped and made anew, "
               "or another one was given its name",
           "walferry migrate again, which publishes the table and copies it anew", true);
  }

  void Present() {
    if (schema_is_there() && there_ == nullptr) {
      return Differ("missing-tables", "table " + record_.table.ToString() + " is not on the target",
                    "pg_dump --schema-only --table on the source for it, then walferry migrate", true);
    }
    if (there_ != nullptr) Bind();
    Name();
    Persistence();
    Tree();
    if (record_.phase == TablePhase::kDropped) return;
    if (narrowed_) NeedsCopy("the publication was narrowed for a while");
    Membership();
    Identity();
    if (there_ != nullptr && schema_is_there()) Columns();
  }

  void Bind() {
    if (agreed_.target_oid == there_->oid) return;
    if (agreed_.target_oid != 0) NeedsCopy("the target's table was dropped and made anew");
    agreed_.target_oid = there_->oid;
    for (SourceColumn& column : agreed_.columns) {
      const SourceColumn* const there = there_->FindColumn(column.name);
      column.target_attnum = there == nullptr ? 0 : there->attnum;
    }
    before_ = agreed_;
  }

  void Name() {
    if (now_->name == before_.name && (there_ == nullptr || there_->name == record_.table)) return;
    const std::string change = record_.table.ToString() + " to " + now_->name.ToString();
    if (there_ == nullptr || there_->name == now_->name) {
      agreed_.name = now_->name;
      record_.table = now_->name;
      return Agree("table " + change + ": renamed on both sides");
    }
    if (now_->name == before_.name) {
      record_.table = there_->name;
      return Differ("renamed-tables",
                    "table " + now_->name.ToString() + " of the source is called " + there_->name.ToString() +
                        " on the target",
                    RenameCommand(), false);
    }
    Differ("renamed-tables", "table " + change + ": renamed on the source only", RenameCommand(),
           !is_copied());
  }

  std::string RenameCommand() const {
    std::string sql;
    if (there_->name.name != now_->name.name) {
      sql += "ALTER TABLE " + Quoted(there_->name) + " RENAME TO " + QuoteIdentifier(now_->name.name) + ";";
    }
    if (there_->name.schema != now_->name.schema) {
      sql += std::string(sql.empty() ? "" : " ") + "ALTER TABLE " +
             QuoteName(there_->name.schema, now_->name.name) + " SET SCHEMA " +
             QuoteIdentifier(now_->name.schema) + ";";
    }
    return sql + kOnTarget;
  }

  void Persistence() {
    if (now_->persistence == 'p') return;
    NeedsCopy("it was unlogged for a while, and changes of unlogged tables are in no stream");
    Differ("unlogged-tables",
           "table " + record_.table.ToString() + " is unlogged: its changes are in no stream",
           "ALTER TABLE " + Quoted(now_->name) + " SET LOGGED;" + kOnSource, true);
  }

  void Tree() {
    if (now_->attachment == before_.attachment) return;
    if (now_->parent == 0) return Detached();
    const SourceRelation* const parent = source_.Find(now_->parent);
    if (before_.parent == now_->parent) {
      NeedsCopy("it was detached and attached again");
    } else if (parent != nullptr && (there_ == nullptr || there_->parent == 0)) {
      if (!schema_is_there()) {
        agreed_.parent = now_->parent;
        agreed_.attachment = now_->attachment;
        return;
      }
      return Differ("attached-partitions",
                    "table " + record_.table.ToString() + " was attached to " + parent->name.ToString() +
                        " on the source only",
                    "ALTER TABLE " + Quoted(parent->name) + " ATTACH PARTITION " + Quoted(record_.table) +
                        " " + now_->bound + ";" + kOnTarget,
                    false);
    }
    agreed_.parent = now_->parent;
    agreed_.attachment = now_->attachment;
  }

  void Detached() {
    const std::string name = record_.table.ToString();
    if (there_ != nullptr && there_->parent != 0) {
      const SourceRelation* const parent = target_.Find(there_->parent);
      return Differ("detached-partitions", "partition " + name + " was detached on the source only",
                    parent == nullptr ? ""
                                      : "ALTER TABLE " + Quoted(parent->name) + " DETACH PARTITION " +
                                            Quoted(there_->name) + ";" + kOnTarget,
                    false);
    }
    agreed_.parent = 0;
    agreed_.attachment.clear();
    if (MembershipOf(source_, *now_).empty()) {
      Forget("partition " + name + " was detached on both sides, and is followed no more");
    }
  }

  void Membership() {
    if (recorded_.migration.phase <= Phase::kPublication) return;
    const std::string membership = MembershipOf(source_, *now_);
    if (membership == before_.membership) return;
    const std::string publication = QuoteIdentifier(recorded_.migration.publication);
    if (membership.empty()) {
      if (now_->parent == 0 && before_.parent != 0) return;  // Its being detached is named already.
      NeedsCopy("it was not published for a while");
      return Differ("publication",
                    "table " + record_.table.ToString() + " left publication " +
                        recorded_.migration.publication + ": its changes are missing since",
                    "ALTER PUBLICATION " + publication + " ADD TABLE ONLY " + Quoted(now_->name) + ";" +
                        kOnSource + ", then walferry migrate, which copies the table anew",
                    true);
    }
    if (IsNarrowed(membership)) {
      NeedsCopy("a row filter or a column list kept some of its changes from being published");
      return Differ("publication",
                    "publication " + recorded_.migration.publication +
                        " has a row filter or a column list for table " + record_.table.ToString(),
                    "ALTER PUBLICATION " + publication + " DROP TABLE " + Quoted(now_->name) +
                        "; ALTER PUBLICATION " + publication + " ADD TABLE ONLY " + Quoted(now_->name) + ";" +
                        kOnSource + ", then walferry migrate, which copies the table anew",
                    true);
    }
    if (!before_.membership.empty()) {
      NeedsCopy("it was taken out of the publication and put into it again");
    }
    agreed_.membership = membership;
  }

  void Identity() {
    const SourceRelation* const through = source_.PublishedThrough(*now_);
    if (through != nullptr && through->membership.empty()) return InsertOnly();
    if (before_.has_identity && !now_->has_identity) {
      return Differ("replica-identity",
                    "table " + record_.table.ToString() +
                        " has lost its replica identity: the source refuses its UPDATEs and DELETEs",
                    "ALTER TABLE " + Quoted(now_->name) + " REPLICA IDENTITY FULL;" + kOnSource, false);
    }
    if (before_.identity != now_->identity) {
      Agree("table " + record_.table.ToString() + " has another replica identity");
    }
    agreed_.identity = now_->identity;
    agreed_.has_identity = now_->has_identity;
  }

  void InsertOnly() {
    if (now_->updates_and_deletes <= before_.updates_and_deletes) return;
    NeedsCopy("it is published for inserts only, and rows of it were updated or deleted");
    agreed_.updates_and_deletes = now_->updates_and_deletes;
  }

  void Columns() {
    ColumnChanges changes = CompareColumns(before_, *now_, *there_);
    if (!changes.needs_copy.empty() && changes.aligned) NeedsCopy(changes.needs_copy);
    std::string statements = changes.Statements(Quoted(StatementTable()));
    if (!statements.empty()) {
      std::string what;
      for (const std::string& one : changes.what) what += (what.empty() ? "" : ", ") + one;
      Differ("columns", absl::StrFormat("table %s: %s on the source only", record_.table.ToString(), what),
             statements + kOnTarget, false);
      if (!changes.needs_copy.empty()) {
        findings_.differences.back().text += "; it is copied again then, because " + changes.needs_copy;
      }
    }
    if (!changes.aligned) return;
    if (!SamePublishedShape(before_.columns, changes.columns)) {
      agreed_.earlier_columns.insert(agreed_.earlier_columns.begin(), before_.columns);
    }
    agreed_.columns = std::move(changes.columns);
    agreed_.filenode = now_->filenode;
  }

  // Columns of a partition are those of its root.
  TableName StatementTable() const {
    const std::vector<const SourceRelation*> ancestors = target_.AncestorsOf(*there_);
    return ancestors.empty() ? there_->name : ancestors.back()->name;
  }

  const RecordedCatalog& recorded_;
  const SourceCatalog& source_;
  const SourceCatalog& target_;
  CatalogFindings& findings_;
  bool narrowed_ = false;
  TableRecord record_;
  SourceRelation before_;
  SourceRelation agreed_;  // What is to be recorded.
  const SourceRelation* now_ = nullptr;
  const SourceRelation* there_ = nullptr;
};

// Options that the migration's own publication has, and another one than it had.
void ComparePublication(const RecordedCatalog& recorded, const SourceCatalog& source,
                        CatalogFindings& findings) {
  const std::optional<SourcePublication> before = PublicationFromText(recorded.migration.publication_catalog);
  if (!before) return;
  const std::string& name = recorded.migration.publication;
  const auto differ = [&](const std::string& text, const std::string& command) {
    findings.differences.push_back({"publication", name, text, command, true});
  };
  if (!source.publication) {
    return differ(
        "publication " + name + " was dropped on the source: what is written since cannot be decoded",
        "walferry cleanup, and walferry migrate from the beginning");
  }
  if (source.publication->oid != before->oid) {
    return differ(
        "publication " + name +
            " was dropped and made again on the source: what was written in between cannot be decoded",
        "walferry cleanup, and walferry migrate from the beginning");
  }
  if (source.publication->options == before->options) return;
  const std::string actions = before->options.substr(0, before->options.find(' '));
  differ("publication " + name + " publishes \"" + source.publication->options + "\" instead of \"" +
             before->options + "\"",
         "ALTER PUBLICATION " + QuoteIdentifier(name) + " SET (publish = '" + actions + "'" +
             (before->options.find("via root") == std::string::npos &&
                      source.publication->options.find("via root") != std::string::npos
                  ? ", publish_via_partition_root = false"
                  : "") +
             ");" + kOnSource + ", then walferry migrate, which copies the tables anew");
}

// Relations of the source that are not recorded.
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
    if (relation.persistence != 'p') return;
    if (relation.kind == 'p') return Root(relation);
    if (known_.contains(relation.oid)) {
      if (!WasDetached(relation)) return;
    }
    const bool chosen = recorded_.choice.Matches(TableOf(source_, relation));
    if (ignored_.contains(relation.oid) && (source_.IsPublished(relation) || IsMigratedPartition(relation)))
      return;
    if (IsMigratedPartition(relation)) {
      if (chosen) return Partition(relation);
      if (source_.IsPublished(relation)) findings_.ignored.push_back(relation.oid);
      return;
    }
    if (source_.IsPublished(relation)) return Intruder(relation);
    if (chosen) New(relation);
  }

 private:
  // A partition that the migration has let go, and that is a table of its own now.
  bool WasDetached(const SourceRelation& relation) const {
    if (relation.parent != 0) return false;
    return std::any_of(recorded_.tables.begin(), recorded_.tables.end(), [&](const TableRecord& table) {
      return table.source_oid == relation.oid && table.phase == TablePhase::kDropped;
    });
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

// Columns of many partitions are one root's, and one statement mends them all.
void RemoveRepeated(std::vector<CatalogDifference>& differences) {
  std::set<std::pair<std::string, std::string>> seen;
  std::erase_if(differences, [&](const CatalogDifference& difference) {
    return difference.kind == "columns" && !seen.insert({difference.kind, difference.command}).second;
  });
}

}  // namespace

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
  TableRecord record;
  record.table = relation.name;
  record.source_oid = relation.oid;
  record.catalog = ToText(recorded);
  return record;
}

CatalogFindings CompareCatalogs(const RecordedCatalog& recorded, const SourceCatalog& source,
                                const SourceCatalog& target) {
  CatalogFindings findings;
  // Others' publications are their owners' business: tables come and go with them.
  if (!recorded.migration.owns_publication) return findings;
  for (const TableRecord& table : recorded.tables) {
    TableComparison(recorded, source, target, findings).Run(table);
  }
  ComparePublication(recorded, source, findings);
  Newcomers newcomers(recorded, source, target, findings);
  for (const auto& [oid, relation] : source.relations) newcomers.Run(relation);
  RemoveRepeated(findings.differences);
  return findings;
}

absl::StatusOr<CatalogFindings> FindCatalogDifferences(Connection& source, Connection& target,
                                                       const RecordedCatalog& recorded) {
  if (!recorded.migration.owns_publication) return CatalogFindings{};
  WF_ASSIGN_OR_RETURN(
      const SourceCatalog on_source,
      ReadSourceCatalog(source, recorded.migration.publication, recorded.migration.insert_publication));
  WF_ASSIGN_OR_RETURN(const SourceCatalog on_target, ReadSourceCatalog(target, "", ""));
  return CompareCatalogs(recorded, on_source, on_target);
}

}  // namespace walferry
