// Checks of what the source's schema needs on the target: schemas, roles, extensions, collations.
#include <array>
#include <nlohmann/json.hpp>

#include "apply/existing_object.h"
#include "stream/event_triggers.h"
#include "tools/check_schema.h"
#include "tools/excluded_relations.h"
#include "tools/role_needs.h"

namespace walferry {
namespace {

bool IsSuperuser(const Connection& connection) {
  return connection.ReportedParameter("is_superuser") == "on";
}

// Schemas that exist on the target and in which something is to be made.
absl::Status CheckTargetSchemas(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const LeftOut left_out, LeftOutOf(context));
  const std::string excluded = RelationsAsJson(left_out);
  WF_ASSIGN_OR_RETURN(const Result source, context.source.Execute(R"(
SELECT coalesce(pg_catalog.json_agg(DISTINCT n.nspname), '[]')
FROM (SELECT c.relnamespace, 'pg_catalog.pg_class'::regclass, c.oid FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
        AND NOT EXISTS (SELECT FROM pg_catalog.json_array_elements($1::json) w
                        WHERE w ->> 0 = cn.nspname AND w ->> 1 = c.relname)
      UNION ALL
      SELECT p.pronamespace, 'pg_catalog.pg_proc'::regclass, p.oid FROM pg_catalog.pg_proc p
      UNION ALL
      SELECT t.typnamespace, 'pg_catalog.pg_type'::regclass, t.oid FROM pg_catalog.pg_type t
      WHERE t.typtype IN ('d', 'e', 'r')) o (namespace, class, id)
JOIN pg_catalog.pg_namespace n ON n.oid = o.namespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'walferry') AND n.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = o.class AND d.objid = o.id AND d.deptype = 'e'))",
                                                                  {excluded}));
  WF_ASSIGN_OR_RETURN(const Result rows, context.target->Execute(R"(
SELECT w FROM pg_catalog.json_array_elements_text($1::json) w JOIN pg_catalog.pg_namespace n ON n.nspname = w
WHERE NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE') ORDER BY 1)",
                                                                 {source.Get(0, 0)}));
  if (rows.rows() == 0) {
    check.Pass("the user may create in the schemas that are there");
  } else {
    BlockUnlessMade(context, check, "the user may not create in schema " + ListSome(Column(rows, 0)),
                    "GRANT CREATE ON SCHEMA " + QuoteIdentifier(rows.Get(0, 0)) + " TO " +
                        QuoteIdentifier(context.target->user()) + " on the target, and likewise the others");
  }
  return absl::OkStatus();
}

// What another migration brought, or somebody made.
absl::Status CheckExistingObjects(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const LeftOut left_out, LeftOutOf(context));
  WF_ASSIGN_OR_RETURN(ObjectDefinitions source, ReadDefinitions(context.source));
  WF_ASSIGN_OR_RETURN(const ObjectDefinitions target, ReadDefinitions(*context.target));
  for (const TableName& relation : left_out.relations) {
    for (const char* const kind : {"VIEW", "MATERIALIZED VIEW"}) source.erase({kind, relation.ToString()});
  }
  for (const DumpedObject& object : left_out.objects) {
    source.erase({object.type, object.schema + "." + object.name});
  }
  const std::string different = DifferentObjects(source, target);
  if (different.empty()) {
    check.Pass("those that are there are as on the source");
  } else {
    BlockUnlessMade(context, check, "there already, and not as on the source: " + different,
                    "drop or rename them on the target, or make them as on the source");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RoleGap>> RoleGaps(CheckContext& context) {
  WF_ASSIGN_OR_RETURN(const std::vector<TableName> excluded,
                      ExcludedRelations(context.source, context.options.tables));
  WF_ASSIGN_OR_RETURN(const std::vector<RoleNeed> needs, ListRoleNeeds(context.source, excluded));
  return FindRoleGaps(*context.target, needs);
}

std::string FixOf(const RoleGap& gap, const std::string& user) {
  const std::string role = QuoteIdentifier(gap.need.role);
  if (gap.need.use == RoleUse::kCreator) {
    return "GRANT CREATE ON SCHEMA " + QuoteIdentifier(gap.need.schema) + " TO " + role;
  }
  return gap.exists ? "GRANT " + role + " TO " + QuoteIdentifier(user) : "CREATE ROLE " + role;
}

absl::Status CheckRoles(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const std::vector<RoleGap> gaps, RoleGaps(context));
  std::vector<std::string> roles;
  std::string fix;
  for (const RoleGap& gap : gaps) {
    if (!IsOfOwners(gap.need.use)) continue;
    const std::string state = gap.need.use == RoleUse::kCreator ? ""
                              : gap.exists                      ? "not granted; "
                                                                : "missing; ";
    roles.push_back(absl::StrFormat("%s (%s%s)", gap.need.role, state, gap.need.object));
    if (fix.empty()) fix = FixOf(gap, context.target->user());
  }
  if (roles.empty()) {
    check.Pass("owners and grantees exist on the target");
  } else {
    check.Warn(absl::StrFormat(
                   "the target lacks roles that the schema mentions, or %s is no member of them, or they "
                   "lack rights: "
                   "%s; %s will own everything, and all grants and privileges (GRANT, REVOKE, ALTER DEFAULT "
                   "PRIVILEGES) are left out",
                   context.target->user(), ListSome(roles, 10), context.target->user()),
               fix + " on the target, and likewise the others, before");
  }
  return absl::OkStatus();
}

// Policies are carried whatever happens to owners and grants.
absl::Status CheckPolicyRoles(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const std::vector<RoleGap> gaps, RoleGaps(context));
  std::vector<std::string> roles;
  std::string fix;
  for (const RoleGap& gap : gaps) {
    if (IsOfOwners(gap.need.use)) continue;
    roles.push_back(gap.need.role + " (" + gap.need.object + ")");
    if (fix.empty()) fix = "CREATE ROLE " + QuoteIdentifier(gap.need.role);
  }
  if (roles.empty()) {
    check.Pass("the roles of policies exist on the target");
  } else {
    check.Warn(
        "the target lacks roles that policies or user mappings are for, and the cutover refuses until "
        "they are there: " +
            ListSome(roles, 10),
        fix + " on the target, and likewise the others; or drop what is for them on the source");
  }
  return absl::OkStatus();
}

absl::Status CheckCarriedEventTriggers(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
SELECT e.evtname FROM pg_catalog.pg_event_trigger e
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e')
ORDER BY 1)"));
  if (rows.rows() == 0) {
    check.Pass("the source has no event triggers");
  } else if (IsSuperuser(*context.target)) {
    check.Pass("event triggers are made last: " + ListSome(Column(rows, 0)));
  } else {
    check.Warn(
        "only a superuser may create event triggers, and the source has some: " + ListSome(Column(rows, 0)),
        "cut over as a superuser of the target, or drop them on the source and make them by hand "
        "afterwards");
  }
  return absl::OkStatus();
}

absl::Status CheckTargetEventTriggers(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const std::vector<EventTrigger> triggers,
                      EventTriggersAt(*context.target, {"CREATE SCHEMA", "CREATE TABLE", "CREATE FUNCTION",
                                                        "DROP SCHEMA", "DROP TABLE", "DROP FUNCTION"}));
  if (triggers.empty()) {
    check.Pass("none is in the way of schema walferry");
    return absl::OkStatus();
  }
  std::vector<std::string> names;
  for (const EventTrigger& trigger : triggers) names.push_back(trigger.name);
  check.Warn("event triggers fire when schema walferry is made: " + ListSome(names),
             "make sure that they let it pass, or disable them until the migration is over");
  return absl::OkStatus();
}

absl::Status CheckExtensionSchemas(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result source, context.source.Execute(R"(
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(e.extname, n.nspname, EXISTS (
  SELECT FROM pg_catalog.pg_depend m
  JOIN pg_catalog.pg_depend u ON u.refclassid = m.classid AND u.refobjid = m.objid AND u.deptype = 'n'
  LEFT JOIN pg_catalog.pg_rewrite r ON u.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = u.objid
  WHERE m.refclassid = 'pg_catalog.pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e'
    AND u.classid IN ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_proc'::regclass,
                      'pg_catalog.pg_type'::regclass, 'pg_catalog.pg_attrdef'::regclass,
                      'pg_catalog.pg_constraint'::regclass, 'pg_catalog.pg_rewrite'::regclass)
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend o
                    WHERE o.classid = CASE WHEN r.oid IS NULL THEN u.classid ELSE 'pg_catalog.pg_class'::regclass END
                      AND o.objid = coalesce(r.ev_class, u.objid) AND o.deptype = 'e')))), '[]')
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname <> 'plpgsql')"));
  WF_ASSIGN_OR_RETURN(const Result rows, context.target->Execute(R"(
SELECT w ->> 0, w ->> 1, n.nspname, (w ->> 2)::bool
FROM pg_catalog.json_array_elements($1::json) w
JOIN pg_catalog.pg_extension e ON e.extname = w ->> 0
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace AND n.nspname <> w ->> 1 ORDER BY 1)",
                                                                 {source.Get(0, 0)}));
  std::vector<std::string> used;
  std::vector<std::string> unused;
  std::string fix;
  for (int row = 0; row < rows.rows(); ++row) {
    const bool is_used = rows.GetBool(row, 3);
    (is_used ? used : unused)
        .push_back(absl::StrFormat("%s is in schema %s here, in %s on the source", rows.Get(row, 0),
                                   rows.Get(row, 2), rows.Get(row, 1)));
    if (!fix.empty() && !is_used) continue;
    fix = absl::StrFormat("ALTER EXTENSION %s SET SCHEMA %s on the target", QuoteIdentifier(rows.Get(row, 0)),
                          QuoteIdentifier(rows.Get(row, 1)));
  }
  if (!used.empty()) {
    BlockUnlessMade(context, check, ListSome(used) + "; what uses it names that schema", fix);
  } else if (!unused.empty()) {
    check.Warn(ListSome(unused), fix);
  } else {
    check.Pass("each in the same schema, as far as they are there");
  }
  return absl::OkStatus();
}

absl::Status CheckExtensionRights(CheckContext& context, CheckRun& check) {
  if (IsSuperuser(*context.target)) {
    check.Pass("a superuser may create all");
    return absl::OkStatus();
  }
  WF_ASSIGN_OR_RETURN(const Result source, context.source.Execute(R"(
SELECT coalesce(pg_catalog.json_agg(extname), '[]') FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql')"));
  // trusted is of version 13.
  WF_ASSIGN_OR_RETURN(const Result rows, context.target->Execute(R"(
SELECT w FROM pg_catalog.json_array_elements_text($1::json) w
JOIN pg_catalog.pg_available_extensions a ON a.name = w AND a.installed_version IS NULL
JOIN pg_catalog.pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
WHERE v.superuser AND NOT coalesce((pg_catalog.to_jsonb(v) ->> 'trusted')::bool, false) ORDER BY 1)",
                                                                 {source.Get(0, 0)}));
  if (rows.rows() == 0) {
    check.Pass("the user may create those that are not there");
  } else {
    BlockUnlessMade(context, check,
                    "not created on the target, and only a superuser may: " + ListSome(Column(rows, 0), 10),
                    "CREATE EXTENSION " + QuoteIdentifier(rows.Get(0, 0)) +
                        " on the target as a superuser (or with its provider), and likewise the others");
  }
  return absl::OkStatus();
}

absl::Status CheckLanguages(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
SELECT n.nspname || '.' || p.proname
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang AND l.lanname IN ('c', 'internal')
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'walferry') AND n.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1)"));
  if (rows.rows() == 0) {
    check.Pass("no function in C outside of extensions");
  } else if (!IsSuperuser(*context.target)) {
    BlockUnlessMade(context, check,
                    "only a superuser of the target may create functions in C: " + ListSome(Column(rows, 0)),
                    "migrate as a superuser of the target, or drop them on the source");
  } else {
    check.Warn("functions in C need their libraries on the target: " + ListSome(Column(rows, 0)),
               "install the libraries there");
  }
  return absl::OkStatus();
}

// Collations of the operating system's or ICU's that columns name; those of users are made with the schema.
absl::Status CheckCollations(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result source, context.source.Execute(R"(
SELECT coalesce(pg_catalog.json_agg(DISTINCT o.collname), '[]')
FROM pg_catalog.pg_collation o JOIN pg_catalog.pg_attribute a ON a.attcollation = o.oid AND NOT a.attisdropped
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'i', 'I')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE o.collnamespace = 'pg_catalog'::regnamespace
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'walferry') AND n.nspname !~ '^pg_(toast|temp)')"));
  WF_ASSIGN_OR_RETURN(const Result rows, context.target->Execute(R"(
SELECT w FROM pg_catalog.json_array_elements_text($1::json) w
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_collation o
                  WHERE o.collname = w AND o.collnamespace = 'pg_catalog'::regnamespace
                    AND o.collencoding IN (-1, (SELECT encoding FROM pg_catalog.pg_database
                                                WHERE datname = pg_catalog.current_database())))
ORDER BY 1)",
                                                                 {source.Get(0, 0)}));
  if (rows.rows() == 0) {
    check.Pass("the target has those that columns name");
  } else {
    BlockUnlessMade(context, check, "the target has no collation " + ListSome(Column(rows, 0)),
                    "install the locale on the target's machine, then SELECT "
                    "pg_import_system_collations('pg_catalog') there");
  }
  return absl::OkStatus();
}

// Runs the check where the schema is to be made.
template <absl::Status (*run)(CheckContext&, CheckRun&)>
absl::Status IfMade(CheckContext& context, CheckRun& check) {
  const std::string none = NoSchemaToMake(context);
  if (none.empty()) return run(context, check);
  check.Pass(none);
  return absl::OkStatus();
}

constexpr std::array kChecks = {
    CheckDefinition{"target-schemas", CheckSide::kTarget, "schemas", IfMade<CheckTargetSchemas>},
    CheckDefinition{"existing-objects", CheckSide::kBoth, "types and functions",
                    IfMade<CheckExistingObjects>},
    CheckDefinition{"roles", CheckSide::kBoth, "roles", IfMade<CheckRoles>},
    CheckDefinition{"policy-roles", CheckSide::kBoth, "roles of policies", IfMade<CheckPolicyRoles>},
    CheckDefinition{"target-event-triggers", CheckSide::kTarget, "event triggers", CheckTargetEventTriggers},
    CheckDefinition{"carried-event-triggers", CheckSide::kBoth, "event triggers carried",
                    IfMade<CheckCarriedEventTriggers>},
    CheckDefinition{"extension-schemas", CheckSide::kBoth, "schemas of extensions",
                    IfMade<CheckExtensionSchemas>},
    CheckDefinition{"extension-rights", CheckSide::kBoth, "right to create extensions",
                    IfMade<CheckExtensionRights>},
    CheckDefinition{"languages", CheckSide::kBoth, "languages", IfMade<CheckLanguages>},
    CheckDefinition{"collations", CheckSide::kBoth, "collations of columns", IfMade<CheckCollations>},
};

}  // namespace

std::span<const CheckDefinition> TargetSchemaChecks() {
  return kChecks;
}

}  // namespace walferry
