// Tested by tests/servers/cutover_objects_test.cc.
#include "tools/object_refresh.h"

#include <algorithm>
#include <set>
#include <utility>

#include "apply/object_catalog.h"
#include "apply/object_difference.h"
#include "apply/schema.h"
#include "apply/schema_script.h"
#include "tools/excluded_relations.h"
#include "tools/role_needs.h"
#include "tools/source_catalog.h"
#include "tools/table_names.h"

namespace walferry {
namespace {

constexpr char kViews[] = R"sql(
SELECT n.nspname, c.relname, c.relkind, pg_catalog.pg_get_viewdef(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'walferry') AND n.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.oid)sql";

// What the server itself makes of an object; no row for a kind that it has no words for.
constexpr char kDefinition[] = R"sql(
SELECT pg_catalog.pg_get_indexdef(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE $1 = 'INDEX' AND c.relkind IN ('i', 'I') AND n.nspname || '.' || c.relname = $2
UNION ALL
SELECT pg_catalog.pg_get_constraintdef(k.oid)
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE $1 LIKE '%CONSTRAINT' AND n.nspname || '.' || c.relname || ' ' || k.conname = $2
UNION ALL
SELECT pg_catalog.pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE $1 = 'TRIGGER' AND n.nspname || '.' || c.relname || ' ' || t.tgname = $2
UNION ALL
SELECT pg_catalog.pg_get_ruledef(r.oid) || ' ' || r.ev_enabled::text
FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE $1 = 'RULE' AND n.nspname || '.' || c.relname || ' ' || r.rulename = $2
UNION ALL
SELECT pg_catalog.pg_get_statisticsobjdef(s.oid)
FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
WHERE $1 = 'STATISTICS' AND n.nspname || '.' || s.stxname = $2
UNION ALL
SELECT pg_catalog.concat_ws(' ', p.polcmd, p.polpermissive,
  (SELECT pg_catalog.string_agg(coalesce(r.rolname, 'PUBLIC'), ',' ORDER BY r.rolname)
   FROM pg_catalog.unnest(p.polroles) u (id) LEFT JOIN pg_catalog.pg_roles r ON r.oid = u.id),
  pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'CHECK', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE $1 = 'POLICY' AND n.nspname || '.' || c.relname || ' ' || p.polname = $2)sql";

absl::StatusOr<std::string> DefinitionOf(Connection& connection, const SchemaObject& object) {
  WF_ASSIGN_OR_RETURN(const Result rows, connection.Execute(kDefinition, {object.kind, object.name}));
  return rows.rows() == 1 ? std::string(rows.Get(0, 0)) : std::string();
}

// Of the source; the target has to have them before what belongs to them.
absl::StatusOr<std::vector<TableName>> ViewsNotThere(const RefreshSubject& subject,
                                                     const std::vector<SchemaObject>& recorded,
                                                     const std::set<TableName>& excluded,
                                                     std::vector<ObjectProblem>& problems) {
  std::set<std::string> there;  // Or made by an object of the list, later.
  for (const SchemaObject& object : recorded) {
    if (object.kind == "VIEW" || object.kind == "MATERIALIZED VIEW") there.insert(object.name);
  }
  WF_ASSIGN_OR_RETURN(const Result on_target, subject.target.Execute(kViews));
  for (int row = 0; row < on_target.rows(); ++row) {
    there.insert(
        TableName{std::string(on_target.Get(row, 0)), std::string(on_target.Get(row, 1))}.ToString());
  }
  WF_ASSIGN_OR_RETURN(const Result rows, subject.source.Execute(kViews));
  std::vector<TableName> missing;
  for (int row = 0; row < rows.rows(); ++row) {
    const TableName view{std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1))};
    if (excluded.contains(view) || there.contains(view.ToString())) continue;
    missing.push_back(view);
    const std::string_view kind = rows.Get(row, 2) == "m" ? "MATERIALIZED VIEW" : "VIEW";
    std::string query(rows.Get(row, 3));
    if (query.ends_with(";")) query.pop_back();
    problems.push_back({absl::StrFormat("%s %s of the source is not on the target",
                                        kind == "VIEW" ? "view" : "materialized view", view.ToString()),
                        absl::StrFormat("CREATE %s %s AS%s%s;", kind, QuoteName(view.schema, view.name),
                                        query, kind == "VIEW" ? "" : " WITH NO DATA")});
  }
  return missing;
}

// With the names that the target's tables have.
absl::StatusOr<std::vector<SchemaObject>> DumpForTarget(const RefreshSubject& subject,
                                                        const std::vector<SchemaObject>& recorded,
                                                        const StopSignal& stop, ObjectRefresh& refresh) {
  WF_ASSIGN_OR_RETURN(const SourceCatalog source, ReadSourceCatalog(subject.source, "", ""));
  WF_ASSIGN_OR_RETURN(const SourceCatalog target, ReadSourceCatalog(subject.target, "", ""));
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> records,
                      LoadTables(subject.target, subject.record.name));
  const TablesOnBothSides tables = MatchTables(records, subject.choice, source, target);
  WF_ASSIGN_OR_RETURN(const std::vector<TableName> not_chosen,
                      ExcludedRelations(subject.source, subject.choice));
  std::set<TableName> excluded(not_chosen.begin(), not_chosen.end());
  excluded.insert(tables.left_out.begin(), tables.left_out.end());
  // The choice knew them by their old names.
  for (const auto& [oid, name] : tables.target_names) excluded.erase(source.Find(oid)->name);
  SchemaDumpOptions options;
  options.source = subject.source_conninfo;
  options.lock_retry = subject.lock_retry;
  options.excluded_tables.assign(excluded.begin(), excluded.end());
  // A view of a table that is left out is left out with it.
  WF_ASSIGN_OR_RETURN(const LeftOut left_out, FindLeftOut(subject.source, options.excluded_tables));
  excluded.insert(left_out.relations.begin(), left_out.relations.end());
  WF_ASSIGN_OR_RETURN(const std::vector<TableName> views,
                      ViewsNotThere(subject, recorded, excluded, refresh.problems));
  options.excluded_tables.insert(options.excluded_tables.end(), views.begin(), views.end());
  WF_ASSIGN_OR_RETURN(const std::vector<RoleNeed> needs,
                      ListRoleNeeds(subject.source, options.excluded_tables));
  WF_ASSIGN_OR_RETURN(const std::vector<RoleGap> gaps, FindRoleGaps(subject.target, needs));
  options.keep_owners = OwnersCanBeKept(gaps);
  WF_ASSIGN_OR_RETURN(SchemaDump dump, DumpObjects(options, subject.source.server_version(), stop));
  for (SchemaObject& object : dump.post_data) {
    object = WithTablesRenamed(std::move(object), tables.renames);
  }
  return std::move(dump.post_data);
}

// What is on the target is left alone: it is the same to the server, or somebody has to decide.
absl::Status Understand(const RefreshSubject& subject, const ChangedObject& object, ObjectRefresh& refresh) {
  WF_ASSIGN_OR_RETURN(const std::string on_source, DefinitionOf(subject.source, object.after));
  WF_ASSIGN_OR_RETURN(const std::string on_target, DefinitionOf(subject.target, object.after));
  if (on_source == on_target) {
    refresh.changed.push_back(object.after);
    const std::string comments = CommentsOf(object.after.sql);
    if (!comments.empty() && comments != CommentsOf(object.before.sql)) {
      refresh.added.push_back({.id = 0,
                               .stage = ObjectStage::kTrigger,
                               .kind = std::string(kCommentKind),
                               .name = object.after.kind + " " + object.after.name,
                               .sql = comments});
    }
    return absl::OkStatus();
  }
  const std::string drop = DropOf(object.before);
  refresh.objects.push_back(object.before);
  refresh.problems.push_back({absl::StrFormat("%s %s is another one on the source than on the target",
                                              object.after.kind, object.after.name),
                              drop.empty() ? object.after.sql : drop + " " + object.after.sql});
  return absl::OkStatus();
}

void NoteLeftovers(const ObjectDifference& difference, const ObjectCatalog& there, ObjectRefresh& refresh) {
  for (const SchemaObject& object : difference.gone) {
    refresh.gone.push_back(object.id);
    const std::string drop = DropOf(object);
    if (drop.empty() || !there.Has(object).value_or(false)) continue;
    refresh.notes.push_back(
        {absl::StrFormat("%s %s is on the target and no more on the source", object.kind, object.name),
         drop});
  }
  for (const ChangedObject& object : difference.renamed) {
    refresh.objects.push_back(object.before);
    refresh.notes.push_back({absl::StrFormat("%s %s of the target is called %s on the source",
                                             object.before.kind, object.before.name, object.after.name),
                             "ALTER … RENAME, where the name matters"});
  }
}

}  // namespace

absl::StatusOr<ObjectRefresh> ReadObjects(const RefreshSubject& subject, const StopSignal& stop) {
  ObjectRefresh refresh;
  WF_ASSIGN_OR_RETURN(std::vector<SchemaObject> recorded, LoadObjects(subject.target, subject.record.name));
  if (!subject.record.copies_schema) {
    refresh.objects = std::move(recorded);
    return refresh;
  }
  std::int64_t id = 0;
  for (const SchemaObject& object : recorded) id = std::max(id, object.id);
  WF_ASSIGN_OR_RETURN(std::vector<SchemaObject> dumped, DumpForTarget(subject, recorded, stop, refresh));
  WF_ASSIGN_OR_RETURN(const ObjectCatalog there, ObjectCatalog::Read(subject.target));
  EraseAttachedOtherwise(there, dumped);
  ObjectDifference difference = CompareObjects(recorded, dumped, there);
  refresh.objects = std::move(difference.kept);
  refresh.added = std::move(difference.added);
  for (ChangedObject& object : difference.changed) refresh.changed.push_back(std::move(object.after));
  for (const ChangedObject& object : difference.different) {
    WF_RETURN_IF_ERROR(Understand(subject, object, refresh));
  }
  NoteLeftovers(difference, there, refresh);
  for (SchemaObject& object : refresh.added) object.id = ++id;
  const auto take = [&](const std::vector<SchemaObject>& objects) {
    refresh.objects.insert(refresh.objects.end(), objects.begin(), objects.end());
  };
  take(refresh.changed);
  take(refresh.added);
  std::sort(refresh.objects.begin(), refresh.objects.end(),
            [](const SchemaObject& a, const SchemaObject& b) { return a.id < b.id; });
  return refresh;
}

absl::Status RecordObjects(Connection& target, const std::string& migration, const ObjectRefresh& refresh) {
  const auto record = [&]() -> absl::Status {
    WF_RETURN_IF_ERROR(target.Execute("BEGIN").status());
    WF_RETURN_IF_ERROR(DeleteObjects(target, migration, refresh.gone));
    for (const SchemaObject& object : refresh.changed) {
      WF_RETURN_IF_ERROR(UpdateObject(target, migration, object));
    }
    WF_RETURN_IF_ERROR(InsertObjects(target, migration, refresh.added));
    return target.Execute("COMMIT").status();
  };
  if (refresh.gone.empty() && refresh.changed.empty() && refresh.added.empty()) return absl::OkStatus();
  const absl::Status recorded = record();
  if (!recorded.ok() && target.alive()) (void)target.Execute("ROLLBACK");
  return recorded;
}

}  // namespace walferry
