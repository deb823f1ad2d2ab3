// Checks of what a database has besides its tables and objects, and what is left behind with it.
// Tested by tests/tools/check_left_behind_test.cc.
#include <algorithm>
#include <array>

#include "tools/check_schema.h"

namespace walferry {
namespace {

// What extensions say is the user's (pg_extension_config_dump): the table and the condition of its rows.
constexpr char kConfigurationTables[] = R"sql(
SELECT e.extname, n.nspname, c.relname, w.condition,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_extension e
CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition)) w (id, condition)
JOIN pg_catalog.pg_class c ON c.oid = w.id AND c.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 2, 3)sql";

absl::Status CheckExtensionRows(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result tables, context.source.Execute(kConfigurationTables));
  std::vector<std::string> found;
  std::string first;
  for (int row = 0; row < tables.rows(); ++row) {
    const std::string table = QuoteName(tables.Get(row, 1), tables.Get(row, 2));
    const std::string of_extension =
        absl::StrFormat("%s.%s of extension %s", tables.Get(row, 1), tables.Get(row, 2), tables.Get(row, 0));
    if (!tables.GetBool(row, 4)) {
      found.push_back(of_extension + " (not readable)");
    } else {
      WF_ASSIGN_OR_RETURN(const Result any,
                          context.source.Execute(absl::StrFormat("SELECT EXISTS (SELECT FROM %s %s)", table,
                                                                 tables.Get(row, 3))));
      if (!any.GetBool(0, 0)) continue;
      found.push_back(of_extension);
    }
    if (first.empty())
      first = absl::StrFormat(
          "COPY (SELECT * FROM %s %s) TO STDOUT on the source into COPY %s FROM STDIN "
          "on the target",
          table, tables.Get(row, 3), table);
  }
  if (found.empty()) {
    check.Pass("extensions keep no rows of yours");
  } else {
    check.Warn("rows of yours in tables of extensions are not carried: " + ListSome(found, 10),
               first + " (psql's \\copy does both), and likewise the others, before the application begins");
  }
  return absl::OkStatus();
}

// Settings of the database, of its roles in it, and of its roles everywhere, as statements. A setting whose
// value is a list is stored as one.
constexpr char kSettings[] = R"sql(
SELECT pg_catalog.format('%s SET %s = %s',
         CASE WHEN s.setrole = 0 THEN 'ALTER DATABASE %1$s'
              WHEN s.setdatabase = 0 THEN pg_catalog.format('ALTER ROLE %I', r.rolname)
              ELSE pg_catalog.format('ALTER ROLE %I IN DATABASE', r.rolname) || ' %1$s' END,
         pg_catalog.split_part(c.setting, '=', 1),
         CASE WHEN pg_catalog.split_part(c.setting, '=', 1) IN ('search_path', 'temp_tablespaces',
                'DateStyle', 'session_preload_libraries', 'local_preload_libraries')
              THEN pg_catalog.substr(c.setting, pg_catalog.strpos(c.setting, '=') + 1)
              ELSE pg_catalog.quote_literal(pg_catalog.substr(c.setting, pg_catalog.strpos(c.setting, '=') + 1)) END)
FROM pg_catalog.pg_db_role_setting s
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c (setting)
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
  AND (s.setrole = 0 OR r.oid IS NOT NULL)
ORDER BY s.setrole <> 0, 1)sql";

// Those that the other side has, too, left out. %1$s stands for the database's name, which may be another.
absl::Status CheckSettings(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result source, context.source.Execute(kSettings));
  std::vector<std::string> statements = Column(source, 0);
  std::string database = context.source.database();
  if (context.target != nullptr) {
    WF_ASSIGN_OR_RETURN(const Result target, context.target->Execute(kSettings));
    const std::vector<std::string> there = Column(target, 0);
    std::erase_if(statements, [&](const std::string& statement) {
      return std::find(there.begin(), there.end(), statement) != there.end();
    });
    database = context.target->database();
  }
  for (std::string& statement : statements) {
    constexpr std::string_view kName = "%1$s";
    if (const std::size_t at = statement.find(kName); at != statement.npos) {
      statement.replace(at, kName.size(), QuoteIdentifier(database));
    }
  }
  if (statements.empty()) {
    check.Pass("no settings of the database or of roles that the target lacks");
  } else {
    check.Warn("settings of the database and of roles are not carried: " + ListSome(statements, 10),
               "run on the target, as far as they are to hold there: " + statements.front() +
                   "; and likewise the others");
  }
  return absl::OkStatus();
}

// $1: the name of the migration.
constexpr char kPublications[] = R"sql(
SELECT 'publication ' || pg_catalog.quote_ident(p.pubname) FROM pg_catalog.pg_publication p
WHERE p.pubname NOT IN ($1::name, (pg_catalog.left($1, 55) || '_inserts')::name)
UNION ALL
SELECT 'subscription ' || pg_catalog.quote_ident(s.subname) FROM pg_catalog.pg_subscription s
WHERE s.subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
ORDER BY 1)sql";

absl::Status CheckPublications(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(kPublications, {context.options.name}));
  if (rows.rows() == 0) {
    check.Pass("no publications or subscriptions of yours");
  } else {
    check.Warn("publications and subscriptions are not carried: " + ListSome(Column(rows, 0), 10),
               "CREATE PUBLICATION and CREATE SUBSCRIPTION on the target after the cutover, and let the "
               "subscribers begin anew there");
  }
  return absl::OkStatus();
}

constexpr char kComments[] = R"sql(
SELECT 'schema public'
WHERE coalesce(pg_catalog.obj_description((SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'public'),
                                          'pg_namespace'), 'standard public schema') <> 'standard public schema'
UNION ALL
SELECT 'extension ' || e.extname
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_available_extensions a ON a.name = e.extname
WHERE pg_catalog.obj_description(e.oid, 'pg_extension') <> a.comment
UNION ALL
SELECT 'database ' || d.datname FROM pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database() AND pg_catalog.shobj_description(d.oid, 'pg_database') IS NOT NULL
UNION ALL
SELECT DISTINCT 'security label on ' || l.objtype || ' ' || l.objname FROM pg_catalog.pg_seclabels l
WHERE l.objtype NOT IN ('database', 'role', 'tablespace')
UNION ALL
SELECT DISTINCT 'tablespace ' || t.spcname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace
WHERE t.spcname NOT LIKE 'pg\_%')sql";

absl::Status CheckTrimmings(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(kComments));
  if (rows.rows() == 0) {
    check.Pass("no comments on what the target has already, no security labels, no tablespaces");
  } else {
    check.Warn("comments on what the target has already, security labels and tablespaces are not carried: " +
                   ListSome(Column(rows, 0), 10),
               "set them on the target by hand where they matter");
  }
  return absl::OkStatus();
}

constexpr std::array kChecks = {
    CheckDefinition{"extension-rows", CheckSide::kSource, "rows of extensions", CheckExtensionRows},
    CheckDefinition{"settings", CheckSide::kSource, "settings", CheckSettings},
    CheckDefinition{"publications", CheckSide::kSource, "publications", CheckPublications},
    CheckDefinition{"trimmings", CheckSide::kSource, "comments, labels, tablespaces", CheckTrimmings},
};

}  // namespace

std::span<const CheckDefinition> LeftBehindChecks() {
  return kChecks;
}

}  // namespace walferry
