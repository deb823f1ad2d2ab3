// Tested by tests/servers/cutover_flow_test.cc.
#include "tools/cutover_leftovers.h"

#include <utility>

#include "apply/object_catalog.h"
#include "apply/state.h"
#include "tools/check_context.h"

namespace walferry {
namespace {

// Tables below a view, through other views, and those of a foreign key, whose row security holds for their
// owners, too.
constexpr char kForced[] = R"sql(
WITH RECURSIVE top (id) AS (
  SELECT c.oid FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'm' AND n.nspname || '.' || c.relname = $1
  UNION
  SELECT unnest(ARRAY[f.conrelid, f.confrelid]) FROM pg_catalog.pg_constraint f
  JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE f.contype = 'f' AND n.nspname || '.' || c.relname || ' ' || f.conname = $1), below (id) AS (
  SELECT id FROM top
  UNION
  SELECT d.refobjid FROM below b
  JOIN pg_catalog.pg_rewrite r ON r.ev_class = b.id
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_catalog.pg_class'::regclass)
SELECT n.nspname, c.relname FROM below b
JOIN pg_catalog.pg_class c ON c.oid = b.id
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND c.relforcerowsecurity ORDER BY 1, 2)sql";

void Append(std::vector<Leftover>& leftovers, const std::vector<SchemaObject>& objects,
            std::string_view what) {
  for (const SchemaObject& object : objects) {
    leftovers.push_back({absl::StrFormat("%s %s", object.name, what), object.sql});
  }
}

}  // namespace

absl::StatusOr<LastStage> LoadUnfinishedStage(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(const std::vector<SchemaObject> objects, LoadObjects(target, name));
  WF_ASSIGN_OR_RETURN(const ObjectCatalog there, ObjectCatalog::Read(target));
  LastStage stage = PlanLastStage(objects, there);
  // The switch was one transaction: what it made and is not there any more was dropped by someone else.
  stage.switching.clear();
  const auto is_done = [](const SchemaObject& object) { return object.done; };
  std::erase_if(stage.refreshes, is_done);
  std::erase_if(stage.event_triggers, is_done);
  return stage;
}

absl::StatusOr<std::vector<Leftover>> ListLeftovers(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(const LastStage stage, LoadUnfinishedStage(target, name));
  std::vector<Leftover> leftovers;
  Append(leftovers, stage.refreshes, "is not refreshed");
  Append(leftovers, stage.validations, "is not validated");
  Append(leftovers, stage.event_triggers, "is not made");
  return leftovers;
}

std::string StatementByHand(Connection& target, const SchemaObject& object) {
  const absl::StatusOr<Result> forced = target.Execute(kForced, {object.name});
  if (!forced.ok() || forced->rows() == 0) return object.sql;
  std::string before;
  std::string after;
  for (int row = 0; row < forced->rows(); ++row) {
    const std::string alter = "ALTER TABLE " + QuoteName(forced->Get(row, 0), forced->Get(row, 1));
    before += alter + " NO FORCE ROW LEVEL SECURITY; ";
    after += " " + alter + " FORCE ROW LEVEL SECURITY;";
  }
  return "BEGIN; SET LOCAL row_security = off; " + before + object.sql + after + " COMMIT;";
}

std::string Describe(const std::vector<Leftover>& leftovers) {
  std::vector<std::string> texts;
  for (const Leftover& leftover : leftovers) texts.push_back(leftover.text);
  return ListSome(texts);
}

}  // namespace walferry
