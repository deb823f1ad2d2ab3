// Tested by tests/tools/check_schema_test.cc.
#include "tools/role_needs.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace walferry {
namespace {

// pg_shdepend knows every mention of a role in the database: owners, grantees, default privileges, policies,
// user mappings. It does not record the bootstrap superuser (10). $1: excluded relations as JSON.
constexpr char kNeedsSql[] = R"sql(
WITH gone (id) AS (
  SELECT c.oid FROM pg_catalog.json_array_elements($1::json) w
  JOIN pg_catalog.pg_namespace n ON n.nspname = w ->> 0
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w ->> 1),
part (id) AS (
  SELECT id FROM gone
  UNION
  SELECT d.objid FROM gone JOIN pg_catalog.pg_depend d
    ON d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
    AND d.refobjid = gone.id AND d.deptype IN ('a', 'i')),
foreign_schema (id) AS (
  SELECT oid FROM pg_catalog.pg_namespace
  WHERE nspname IN ('pg_catalog', 'information_schema', 'walferry') OR nspname ~ '^pg_(toast|temp)'),
mention (role, use, class, id) AS (
  SELECT s.refobjid,
         CASE WHEN s.classid = 'pg_catalog.pg_user_mapping'::regclass THEN 3
              WHEN s.deptype = 'r' THEN 2 WHEN s.deptype = 'a' THEN 1 ELSE 0 END,
         s.classid, s.objid
  FROM pg_catalog.pg_shdepend s
  WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.deptype IN ('o', 'a', 'r')
    AND s.classid NOT IN ('pg_catalog.pg_extension'::regclass, 'pg_catalog.pg_publication'::regclass,
                          'pg_catalog.pg_subscription'::regclass, 'pg_catalog.pg_largeobject'::regclass)
  UNION ALL
  SELECT relowner, 0, 'pg_catalog.pg_class'::regclass, oid FROM pg_catalog.pg_class
  WHERE relowner = 10 AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
  SELECT proowner, 0, 'pg_catalog.pg_proc'::regclass, oid FROM pg_catalog.pg_proc WHERE proowner = 10
  UNION ALL
  SELECT nspowner, 0, 'pg_catalog.pg_namespace'::regclass, oid FROM pg_catalog.pg_namespace
  WHERE nspowner = 10 AND nspname <> 'public')
SELECT r.rolname, m.use, pg_catalog.min(pg_catalog.pg_describe_object(m.class, m.id, 0))
FROM mention m JOIN pg_catalog.pg_roles r ON r.oid = m.role
LEFT JOIN pg_catalog.pg_class c ON m.class = 'pg_catalog.pg_class'::regclass AND c.oid = m.id
LEFT JOIN pg_catalog.pg_proc p ON m.class = 'pg_catalog.pg_proc'::regclass AND p.oid = m.id
LEFT JOIN pg_catalog.pg_policy y ON m.class = 'pg_catalog.pg_policy'::regclass AND y.oid = m.id
WHERE r.rolname !~ '^pg_'
  AND (m.class <> 'pg_catalog.pg_class'::regclass OR m.id NOT IN (SELECT id FROM part))
  AND (y.oid IS NULL OR y.polrelid NOT IN (SELECT id FROM part))
  AND (m.use = 1 OR NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                                WHERE d.classid = m.class AND d.objid = m.id AND d.deptype = 'e'))
  AND (coalesce(c.relnamespace, p.pronamespace, CASE m.class WHEN 'pg_catalog.pg_namespace'::regclass THEN m.id END)
         NOT IN (SELECT id FROM foreign_schema)
       OR coalesce(c.oid, p.oid) IS NULL AND m.class <> 'pg_catalog.pg_namespace'::regclass
       OR (m.use = 1 AND c.relpersistence IS DISTINCT FROM 't'))
GROUP BY r.rolname, m.use ORDER BY 2, 1)sql";

// Owners of something in a schema that is not theirs. $1: as above.
constexpr char kCreatorsSql[] = R"sql(
SELECT DISTINCT r.rolname, n.nspname
FROM (SELECT c.relowner, c.relnamespace, 'pg_catalog.pg_class'::regclass, c.oid
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
        AND NOT EXISTS (SELECT FROM pg_catalog.json_array_elements($1::json) w
                        WHERE w ->> 0 = cn.nspname AND w ->> 1 = c.relname)
      UNION ALL
      SELECT proowner, pronamespace, 'pg_catalog.pg_proc'::regclass, oid FROM pg_catalog.pg_proc
      UNION ALL
      SELECT typowner, typnamespace, 'pg_catalog.pg_type'::regclass, oid FROM pg_catalog.pg_type
      WHERE typtype IN ('d', 'e', 'r')) o (owner, namespace, class, id)
JOIN pg_catalog.pg_namespace n ON n.oid = o.namespace AND n.nspowner <> o.owner
JOIN pg_catalog.pg_roles r ON r.oid = o.owner
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'walferry') AND n.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = o.class AND d.objid = o.id AND d.deptype = 'e')
ORDER BY 1, 2)sql";

// $1, $2: JSON lists of as many roles and schemas.
constexpr char kMayCreateSql[] = R"sql(
SELECT r.oid IS NULL OR coalesce(pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE'), false)
FROM ROWS FROM (pg_catalog.json_array_elements_text($1::json), pg_catalog.json_array_elements_text($2::json))
  WITH ORDINALITY w (role, schema, number)
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.role
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
ORDER BY w.number)sql";

// $1: a JSON list of names.
constexpr char kHeldSql[] = R"sql(
SELECT r.rolname, pg_catalog.pg_has_role(current_user, r.oid, %s)
FROM pg_catalog.json_array_elements_text($1::json) w JOIN pg_catalog.pg_roles r ON r.rolname = w)sql";

bool IsSuperuser(const Connection& connection) {
  return connection.ReportedParameter("is_superuser") == "on";
}

// A superuser gives an object to whom it likes.
absl::Status AddCreatorGaps(Connection& target, const std::vector<RoleNeed>& needs,
                            std::vector<RoleGap>& gaps) {
  if (IsSuperuser(target)) return absl::OkStatus();
  nlohmann::json roles = nlohmann::json::array();
  nlohmann::json schemas = nlohmann::json::array();
  std::vector<RoleNeed> creators;
  for (const RoleNeed& need : needs) {
    if (need.use != RoleUse::kCreator) continue;
    creators.push_back(need);
    roles.push_back(need.role);
    schemas.push_back(need.schema);
  }
  const std::string role_list = roles.dump();
  const std::string schema_list = schemas.dump();
  WF_ASSIGN_OR_RETURN(const Result rows, target.Execute(kMayCreateSql, {role_list, schema_list}));
  for (std::size_t i = 0; i < creators.size(); ++i) {
    if (!rows.GetBool(static_cast<int>(i), 0)) gaps.push_back({.need = creators[i], .exists = true});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<RoleNeed>> ListRoleNeeds(Connection& source,
                                                    const std::vector<TableName>& excluded) {
  nlohmann::json names = nlohmann::json::array();
  for (const TableName& table : excluded) names.push_back(nlohmann::json::array({table.schema, table.name}));
  const std::string text = names.dump();
  WF_ASSIGN_OR_RETURN(const Result rows, source.Execute(kNeedsSql, {text}));
  std::vector<RoleNeed> needs;
  for (int row = 0; row < rows.rows(); ++row) {
    needs.push_back({.role = std::string(rows.Get(row, 0)),
                     .use = static_cast<RoleUse>(rows.GetInt(row, 1)),
                     .object = std::string(rows.Get(row, 2)),
                     .schema = {}});
  }
  WF_ASSIGN_OR_RETURN(const Result creators, source.Execute(kCreatorsSql, {text}));
  for (int row = 0; row < creators.rows(); ++row) {
    const std::string schema(creators.Get(row, 1));
    needs.push_back({.role = std::string(creators.Get(row, 0)),
                     .use = RoleUse::kCreator,
                     .object = "no right to create in schema " + schema,
                     .schema = schema});
  }
  return needs;
}

absl::StatusOr<std::vector<RoleGap>> FindRoleGaps(Connection& target, const std::vector<RoleNeed>& needs) {
  nlohmann::json names = nlohmann::json::array();
  for (const RoleNeed& need : needs) names.push_back(need.role);
  const std::string text = names.dump();
  // Since version 16 a member may lack the right to SET ROLE, and without it gives nothing away.
  const char* const kind = target.server_version() >= 160000 ? "'SET'" : "'MEMBER'";
  WF_ASSIGN_OR_RETURN(const Result rows, target.Execute(absl::StrFormat(kHeldSql, kind), {text}));
  std::vector<RoleGap> gaps;
  for (const RoleNeed& need : needs) {
    if (need.use == RoleUse::kCreator) continue;
    RoleGap gap{.need = need, .exists = false};
    bool held = false;
    for (int row = 0; row < rows.rows(); ++row) {
      if (rows.Get(row, 0) != need.role) continue;
      gap.exists = true;
      held = rows.GetBool(row, 1);
    }
    const bool met = need.use == RoleUse::kOwner ? held : gap.exists;
    if (!met) gaps.push_back(std::move(gap));
  }
  WF_RETURN_IF_ERROR(AddCreatorGaps(target, needs, gaps));
  return gaps;
}

bool IsOfOwners(RoleUse use) {
  return use == RoleUse::kOwner || use == RoleUse::kGrantee || use == RoleUse::kCreator;
}

bool OwnersCanBeKept(const std::vector<RoleGap>& gaps) {
  return std::none_of(gaps.begin(), gaps.end(), [](const RoleGap& gap) { return IsOfOwners(gap.need.use); });
}

}  // namespace walferry
