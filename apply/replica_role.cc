// Tested by tests/apply/applier_role_test.cc.
#include "apply/replica_role.h"

#include "apply/parameter_rows.h"
#include "stream/quote.h"

namespace walferry {
namespace {

constexpr std::size_t kShown = 3;

// The tables in question with their partitions, as relation "t(oid)". `listed` is a VALUES list of names, or
// empty.
std::string TablesSql(const std::vector<TableName>& tables) {
  if (tables.empty()) {
    return "WITH t AS (SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = "
           "c.relnamespace WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname "
           "<> "
           "'walferry' AND n.nspname !~ '^pg_') ";
  }
  std::string listed;
  for (const TableName& table : tables) {
    listed +=
        (listed.empty() ? "(" : ", (") + QuoteLiteral(table.schema) + ", " + QuoteLiteral(table.name) + ")";
  }
  return "WITH RECURSIVE t AS (SELECT c.oid FROM (VALUES " + listed +
         ") l(schema, name) JOIN pg_catalog.pg_namespace n ON n.nspname = l.schema JOIN pg_catalog.pg_class "
         "c ON "
         "c.relnamespace = n.oid AND c.relname = l.name UNION SELECT i.inhrelid FROM t JOIN "
         "pg_catalog.pg_inherits i "
         "ON i.inhparent = t.oid) ";
}

// Internal triggers of unique and exclusion constraints only check again what is deferred; those of foreign
// keys are on both tables of the key.
constexpr char kFiringSql[] =
    "SELECT DISTINCT CASE WHEN k.contype = 'f' THEN 'foreign key ' ELSE 'trigger ' END || "
    "coalesce(k.conname, g.tgname) || ' of ' || n.nspname || '.' || c.relname FROM t "
    "JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.oid LEFT JOIN pg_catalog.pg_constraint k ON k.oid = "
    "g.tgconstraint "
    "JOIN pg_catalog.pg_class c ON c.oid = coalesce(nullif(k.conrelid, 0), g.tgrelid) "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE g.tgenabled IN ('O', 'A') AND NOT (g.tgisinternal AND k.contype IN ('p', 'u', 'x')) "
    "UNION SELECT 'rule ' || r.rulename || ' of ' || n.nspname || '.' || c.relname FROM t "
    "JOIN pg_catalog.pg_rewrite r ON r.ev_class = t.oid JOIN pg_catalog.pg_class c ON c.oid = t.oid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE r.ev_enabled IN ('O', 'A') ORDER BY 1";

constexpr char kAlwaysSql[] =
    "SELECT pg_catalog.count(*) FROM t JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.oid "
    "WHERE g.tgenabled IN ('A', 'R') AND NOT g.tgisinternal";

// A rule on SELECT makes a view; the others rewrite what is applied.
constexpr char kRulesSql[] = R"sql(
SELECT n.nspname, c.relname, r.rulename
FROM t JOIN pg_catalog.pg_rewrite r ON r.ev_class = t.oid
JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE r.ev_enabled IN ('A', 'R') AND r.ev_type <> '1' ORDER BY 1, 2, 3)sql";

absl::Status CheckNoRuleFires(const Result& rules) {
  if (rules.rows() == 0) return absl::OkStatus();
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "rule %s of table %s.%s on the target is ENABLE ALWAYS or ENABLE REPLICA, so it would rewrite "
      "what is applied and rows would be lost%s: run there ALTER TABLE %s DISABLE RULE %s; and enable it "
      "again after the cutover",
      rules.Get(0, 2), rules.Get(0, 0), rules.Get(0, 1),
      rules.rows() > 1 ? absl::StrFormat(" (and so would %d more)", rules.rows() - 1) : "",
      QuoteName(rules.Get(0, 0), rules.Get(0, 1)), QuoteIdentifier(rules.Get(0, 2)));
}

absl::Status Refuse(Connection& target, const Result& firing) {
  std::string shown;
  const int count = firing.rows();
  for (int row = 0; row < count && row < static_cast<int>(kShown); ++row) {
    shown += (row == 0 ? "" : ", ") + std::string(firing.Get(row, 0));
  }
  if (count > static_cast<int>(kShown))
    shown += absl::StrFormat(" and %d more", count - static_cast<int>(kShown));
  const std::string role = QuoteIdentifier(target.user());
  const std::string grant = target.server_version() >= 150000
                                ? "GRANT SET ON PARAMETER session_replication_role TO " + role + ";"
                                : "ALTER ROLE " + role + " SET session_replication_role = replica;";
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "role %s may not set session_replication_role on the target, so these would fire for changes that "
      "the source has already worked out: %s. As superuser run there: %s (or create triggers and foreign "
      "keys after the cutover)",
      target.user(), shown, grant);
}

}  // namespace

absl::StatusOr<ReplicaRole> TakeReplicaRole(Connection& target, const std::vector<TableName>& tables) {
  WF_ASSIGN_OR_RETURN(const auto results, target.ExecuteEach(std::vector<Connection::Statement>{
                                              {"SET session_replication_role = replica", {}},
                                              {"SHOW session_replication_role", {}},
                                              {TablesSql(tables) + kAlwaysSql, {}},
                                              {TablesSql(tables) + kRulesSql, {}},
                                          }));
  const absl::StatusOr<Result>& set = results[0];
  if (!set.ok() && SqlstateOf(set.status()) != "42501") return set.status();
  // A proxy may swallow it; a setting of the role may have set it at login.
  const absl::StatusOr<Result>& shown = results[1];
  WF_RETURN_IF_ERROR(shown.status());
  if (shown->Get(0, 0) == "replica") {
    const absl::StatusOr<Result>& always = results[2];
    WF_RETURN_IF_ERROR(always.status());
    WF_RETURN_IF_ERROR(results[3].status());
    WF_RETURN_IF_ERROR(CheckNoRuleFires(*results[3]));
    std::string text =
        "session_replication_role = replica is in force on the target: triggers, foreign keys and rules "
        "do not fire";
    if (always->GetInt(0, 0) > 0) {
      text += absl::StrFormat(", except %d triggers that are ENABLE ALWAYS or ENABLE REPLICA",
                              always->GetInt(0, 0));
    }
    return ReplicaRole{true, std::move(text)};
  }
  WF_ASSIGN_OR_RETURN(const Result firing, target.Execute(TablesSql(tables) + kFiringSql));
  if (firing.rows() > 0) return Refuse(target, firing);
  return ReplicaRole{
      false, absl::StrFormat("role %s may not set session_replication_role on the target; there is no "
                             "trigger, foreign key or rule yet that could fire, so this goes on: do "
                             "not create any before the cutover",
                             target.user())};
}

}  // namespace walferry
