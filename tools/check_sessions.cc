// What check knows of the number of sessions, on either side.
#include "tools/check_context.h"

namespace walferry {

// Other users' sessions are visible as rows, not in detail: a member of pg_read_all_stats alone sees that one
// is a client's. What has a user and a database, and sends no WAL, counts as one. Superusers are above the
// limits of roles and databases. reserved_connections is of version 16.
absl::StatusOr<SessionRoom> FindSessionRoom(Connection& connection) {
  WF_ASSIGN_OR_RETURN(const Result row, connection.Execute(R"sql(
WITH me AS (SELECT * FROM pg_catalog.pg_roles WHERE rolname = current_user),
  session AS (
    SELECT usesysid, datname FROM pg_catalog.pg_stat_activity
    WHERE CASE WHEN backend_type IS NULL
               THEN usesysid IS NOT NULL AND datname IS NOT NULL
                 AND pid NOT IN (SELECT pid FROM pg_catalog.pg_stat_replication)
               ELSE backend_type = 'client backend' END),
  room (rest, name) AS (
    SELECT pg_catalog.current_setting('max_connections')::bigint - (SELECT pg_catalog.count(*) FROM session)
           - CASE WHEN me.rolsuper THEN 0 ELSE (
               SELECT coalesce(pg_catalog.sum(setting::bigint), 0) FROM pg_catalog.pg_settings
               WHERE name IN ('superuser_reserved_connections', 'reserved_connections')) END,
           'max_connections is ' || pg_catalog.current_setting('max_connections') FROM me
    UNION ALL
    SELECT me.rolconnlimit - (SELECT pg_catalog.count(*) FROM session WHERE usesysid = me.oid),
           'CONNECTION LIMIT of role ' || me.rolname || ' is ' || me.rolconnlimit
    FROM me WHERE me.rolconnlimit >= 0 AND NOT me.rolsuper
    UNION ALL
    SELECT d.datconnlimit - (SELECT pg_catalog.count(*) FROM session WHERE datname = d.datname),
           'CONNECTION LIMIT of database ' || d.datname || ' is ' || d.datconnlimit
    FROM pg_catalog.pg_database d, me
    WHERE d.datname = pg_catalog.current_database() AND d.datconnlimit >= 0 AND NOT me.rolsuper)
SELECT rest, name FROM room ORDER BY rest LIMIT 1)sql"));
  if (row.rows() != 1) return absl::NotFoundError("the server does not list the role of this session");
  return SessionRoom{.free = row.GetInt(0, 0), .limit = std::string(row.Get(0, 1))};
}

}  // namespace walferry
