// Tested by tests/servers/catalog_watch_test.cc.
#include "tools/table_comparison.h"

#include <algorithm>
#include <utility>

#include "stream/quote.h"
#include "tools/column_changes.h"
#include "tools/source_record.h"

namespace walferry {
namespace {

bool IsNarrowed(const std::string& membership) {
  return membership.find(" WHERE") != membership.npos || membership.find(" COLUMNS") != membership.npos;
}

// By more than a change of its owner: what it published may have been narrowed for a while.
bool WasAltered(const SourcePublication& before, const std::optional<SourcePublication>& now) {
  if (!now || now->oid != before.oid) return false;  // Named as such.
  return now->options != before.options || (now->version != before.version && now->owner == before.owner);
}

bool SameTree(const std::vector<PartitionLink>& a, const std::vector<PartitionLink>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const PartitionLink& x, const PartitionLink& y) {
                      return x.parent == y.parent && x.bound == y.bound;
                    });
}

std::string RenameSql(const TableName& from, const TableName& to) {
  std::string sql;
  if (from.name != to.name) {
    sql = "ALTER TABLE " + Quoted(from) + " RENAME TO " + QuoteIdentifier(to.name) + ";";
  }
  if (from.schema != to.schema) {
    sql += std::string(sql.empty() ? "" : " ") + "ALTER TABLE " + QuoteName(from.schema, to.name) +
           " SET SCHEMA " + QuoteIdentifier(to.schema) + ";";
  }
  return sql;
}

class TableComparison {
 public:
  TableComparison(const RecordedCatalog& recorded, const SourceCatalog& source, const SourceCatalog& target,
                  CatalogFindings& findings)
      : recorded_(recorded), source_(source), target_(target), findings_(findings) {
    const auto before = PublicationFromText(recorded.migration.publication_catalog);
    narrowed_ = before && WasAltered(*before, source.publication);
    inserts_narrowed_ =
        before && !before->inserts.empty() && WasAltered(before->inserts.front(), source.insert_publication);
  }

  void Run(const TableRecord& table) {
    const std::optional<SourceRelation> before = RelationFromText(table.catalog);
    if (!before) return;
    record_ = table;
    detached_ = false;
    before_ = *before;
    agreed_ = *before;
    now_ = source_.Find(table.source_oid);
    there_ = TargetOf();
    if (table.phase == TablePhase::kDropped) return NameLeftover();
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
    const SourceRelation* const named = bound != nullptr ? bound : target_.FindByName(record_.table);
    if (named != nullptr || before_.target_oid != 0 || now_ == nullptr) return named;
    return target_.FindByName(now_->name);  // Renamed on both sides before it was known by its number.
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
    if (!is_copied()) {
      Forget("table " + name + " was dropped on the source before it was copied");
      return NameLeftover();
    }
    if (there_ == nullptr) return Forget("table " + name + " was dropped on both sides");
    NameDropped();
  }

  void NameDropped() {
    Differ("dropped-tables",
           "table " + there_->name.ToString() + " was dropped on the source, and is still on the target",
           "DROP TABLE " + Quoted(there_->name) + ";" + std::string(kOnTarget), false);
  }

  // What left the migration, and then the source.
  void NameLeftover() {
    if (now_ != nullptr || there_ == nullptr || !schema_is_there()) return;
    if (source_.FindByName(there_->name) == nullptr) NameDropped();
  }

  void Replaced(const SourceRelation& heir) {
    const std::string name = record_.table.ToString();
    NeedsCopy("it was dropped on the source and made anew");
    record_.source_oid = heir.oid;
    agreed_ = heir;
    agreed_.membership = MembershipOf(source_, heir);
    agreed_.tree = source_.TreeOf(heir);
    agreed_.attachment = source_.AttachmentsOf(heir);
    agreed_.target_oid = there_ == nullptr ? 0 : there_->oid;
    agreed_.columns = ColumnsInCommon(heir);
    Differ("replaced-tables",
           "table " + name +
               " of the source is another one than the one that was copied: it was dropped and made anew, "
               "or another one was given its name",
           "walferry migrate again, which publishes the table and copies it anew", true);
  }

  // As if the heir had had the target's columns at first: what differs is named then.
  std::vector<SourceColumn> ColumnsInCommon(const SourceRelation& heir) const {
    std::vector<SourceColumn> columns = heir.columns;
    if (there_ == nullptr) return columns;
    std::erase_if(columns, [&](const SourceColumn& one) { return there_->FindColumn(one.name) == nullptr; });
    for (SourceColumn& column : columns) {
      const SourceColumn& there = *there_->FindColumn(column.name);
      column.target_attnum = there.attnum;
      column.default_expression = there.default_expression;
      column.not_null = there.not_null;
    }
    for (const SourceColumn& there : there_->columns) {
      if (heir.FindColumn(there.name) != nullptr) continue;
      columns.push_back(there);
      columns.back().attnum = -there.attnum;
      columns.back().target_attnum = there.attnum;
    }
    return columns;
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
    const SourceRelation* const through = source_.PublishedThrough(*now_);
    const bool inserts_only = through != nullptr && through->membership.empty();
    if (inserts_only ? inserts_narrowed_ : narrowed_) NeedsCopy("the publication was altered for a while");
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
    record_.table = there_->name;
    if (now_->name == before_.name) {
      return Differ("renamed-tables",
                    "table " + now_->name.ToString() + " of the source is called " + there_->name.ToString() +
                        " on the target",
                    RenameCommand(), false);
    }
    Differ("renamed-tables", "table " + change + ": renamed on the source only", RenameCommand(),
           !is_copied());
  }

  // All statements of one look may be run one after the other. Where another table of the migration has the
  // name still, which has a statement of its own, this one gets out of its way and waits for that: "". A
  // stranger has to make room.
  std::string RenameCommand() const {
    const SourceRelation* const other = target_.FindByName(now_->name);
    const std::string rename = RenameSql(there_->name, now_->name) + kOnTarget;
    if (other == nullptr || other == there_) return rename;
    const auto aside = [](const SourceRelation& table) {
      return TableName{table.name.schema, absl::StrFormat("walferry_renamed_%d", table.oid)};
    };
    if (!IsOfMigration(*other)) return RenameSql(other->name, aside(*other)) + " " + rename;
    if (there_->name == aside(*there_)) return {};
    return RenameSql(there_->name, aside(*there_)) + kOnTarget;
  }

  bool IsOfMigration(const SourceRelation& target) const {
    return std::any_of(recorded_.tables.begin(), recorded_.tables.end(), [&](const TableRecord& record) {
      const std::optional<SourceRelation> relation = RelationFromText(record.catalog);
      const Oid bound = relation ? relation->target_oid : 0;
      return bound == 0 ? record.table == target.name : bound == target.oid;
    });
  }

  void Persistence() {
    if (now_->persistence == 'p') return;
    NeedsCopy("it was unlogged for a while, and changes of unlogged tables are in no stream");
    Differ("unlogged-tables",
           "table " + record_.table.ToString() + " is unlogged: its changes are in no stream",
           "ALTER TABLE " + Quoted(now_->name) + " SET LOGGED;" + kOnSource, true);
  }

  void Tree() {
    const std::vector<PartitionLink> now = source_.TreeOf(*now_);
    const SourceRelation* const through = source_.PublishedThrough(*now_);
    detached_ = now.size() < before_.tree.size();
    agreed_.attachment = source_.AttachmentsOf(*now_);
    if (agreed_.attachment != before_.attachment && through != now_ && !detached_) {
      NeedsCopy("it was detached for a while");
    }
    if (now == before_.tree) return;
    if (schema_is_there() && there_ != nullptr) {
      const std::vector<PartitionLink> there = target_.TreeOf(*there_);
      if (!SameTree(now, there)) return NameTree(now, there);
    }
    agreed_.tree = now;
    agreed_.parent = now_->parent;
    if (detached_ && through == nullptr) {
      Forget("partition " + record_.table.ToString() +
             " was detached on both sides, and is followed no more");
    }
  }

  void NameTree(const std::vector<PartitionLink>& now, const std::vector<PartitionLink>& there) {
    const char* const kind = detached_              ? "detached-partitions"
                             : before_.tree.empty() ? "attached-partitions"
                                                    : "moved-partitions";
    const char* const what = detached_              ? " was detached on the source only"
                             : before_.tree.empty() ? " was attached on the source only"
                                                    : " stands elsewhere in its tree on the source";
    Differ(kind, "partition " + record_.table.ToString() + what, TreeCommand(now, there), false);
  }

  // The first step from the target's tree to the source's.
  std::string TreeCommand(const std::vector<PartitionLink>& now,
                          const std::vector<PartitionLink>& there) const {
    std::size_t i = 0;
    while (i < now.size() && i < there.size() && SameTree({now[i]}, {there[i]})) ++i;
    const auto detach = [&] {
      return "ALTER TABLE " + Quoted(there[i].parent) + " DETACH PARTITION " + Quoted(there[i].child) + ";";
    };
    if (i >= now.size()) return detach() + kOnTarget;
    const TableName& child = i < there.size() ? there[i].child : i == 0 ? there_->name : now[i].child;
    const std::string attach = "ALTER TABLE " + Quoted(now[i].parent) + " ATTACH PARTITION " + Quoted(child) +
                               " " + now[i].bound + ";";
    if (i >= there.size()) return attach + kOnTarget;
    const bool renamed = now[i].parent != there[i].parent && i < before_.tree.size() &&
                         before_.tree[i].parent_oid == now[i].parent_oid;
    if (renamed) return RenameSql(there[i].parent, now[i].parent) + kOnTarget;
    return detach() + " " + attach + kOnTarget;
  }

  void Membership() {
    if (recorded_.migration.phase <= Phase::kPublication) return;
    const std::string membership = MembershipOf(source_, *now_);
    if (membership == before_.membership) return;
    const std::string publication = QuoteIdentifier(recorded_.migration.publication);
    if (membership.empty()) {
      if (detached_) return;  // That is named already.
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
    if (now_->updates_and_deletes == before_.updates_and_deletes) return;
    NeedsCopy(now_->updates_and_deletes > before_.updates_and_deletes
                  ? "it is published for inserts only, and rows of it were updated or deleted"
                  : "it is published for inserts only, and the counters that tell of updates were reset");
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
    if (WasRewrittenUnseen(changes)) {
      return Differ(
          "rewritten-partitions",
          "partition " + record_.table.ToString() +
              " was rewritten on the source: by VACUUM FULL or CLUSTER, or it was unlogged for a while and "
              "changes are missing",
          "walferry verify, and where it finds no difference walferry cutover --accept "
          "rewritten-partitions",
          false);
    }
    agreed_.truncates = record_.counters.truncates;
    if (!SamePublishedShape(before_.columns, changes.columns)) {
      agreed_.earlier_columns.insert(agreed_.earlier_columns.begin(), before_.columns);
    }
    agreed_.columns = std::move(changes.columns);
    agreed_.filenode = now_->filenode;
  }

  // A partition that is published through its root may be SET UNLOGGED and LOGGED again. TRUNCATE is in the
  // stream.
  bool WasRewrittenUnseen(const ColumnChanges& changes) const {
    const SourceRelation* const through = source_.PublishedThrough(*now_);
    return is_copied() && through != nullptr && through != now_ && now_->filenode != before_.filenode &&
           record_.counters.truncates == before_.truncates && record_.needs_copy.empty() &&
           changes.columns == before_.columns;
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
  bool inserts_narrowed_ = false;
  bool detached_ = false;
  TableRecord record_;
  SourceRelation before_;
  SourceRelation agreed_;  // What is to be recorded.
  const SourceRelation* now_ = nullptr;
  const SourceRelation* there_ = nullptr;
};

}  // namespace

void CompareTables(const RecordedCatalog& recorded, const SourceCatalog& source, const SourceCatalog& target,
                   CatalogFindings& findings) {
  TableComparison comparison(recorded, source, target, findings);
  for (const TableRecord& table : recorded.tables) comparison.Run(table);
}

}  // namespace walferry
