// Tested by tests/stream/event_triggers_test.cc.
#include "stream/event_triggers.h"

namespace walferry {
namespace {

// $1: tags as an array; NULL for any.
constexpr char kInForce[] = R"sql(
SELECT e.evtname, e.evtenabled FROM pg_catalog.pg_event_trigger e
WHERE e.evtenabled IN ('O', 'A') AND e.evtevent IN ('ddl_command_start', 'ddl_command_end', 'sql_drop')
  AND ($1::text[] IS NULL OR e.evttags IS NULL OR e.evttags && $1::text[])
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e')
ORDER BY e.evtname)sql";

constexpr int kHasSwitch = 170000;  // event_triggers

absl::StatusOr<std::vector<EventTrigger>> InForce(Connection& connection, const Parameter& tags) {
  WF_ASSIGN_OR_RETURN(const Result rows, connection.Execute(kInForce, {tags}));
  std::vector<EventTrigger> triggers;
  for (int row = 0; row < rows.rows(); ++row) {
    triggers.push_back({.name = std::string(rows.Get(row, 0)), .enabled = rows.Get(row, 1).front()});
  }
  return triggers;
}

std::string NamesOf(const std::vector<EventTrigger>& triggers) {
  std::string names;
  for (const EventTrigger& trigger : triggers) {
    names += (names.empty() ? "" : ", ") + QuoteIdentifier(trigger.name);
  }
  return names;
}

std::string DisableAll(const std::vector<EventTrigger>& triggers) {
  std::string sql;
  for (const EventTrigger& trigger : triggers) {
    sql += "ALTER EVENT TRIGGER " + QuoteIdentifier(trigger.name) + " DISABLE;";
  }
  return sql;
}

std::string EnableAsBefore(const std::vector<EventTrigger>& triggers) {
  std::string sql;
  for (const EventTrigger& trigger : triggers) {
    sql += "ALTER EVENT TRIGGER " + QuoteIdentifier(trigger.name) + " ENABLE" +
           (trigger.enabled == 'A' ? " ALWAYS;" : ";");
  }
  return sql;
}

// Not the server's own refusal of the command: its connection, locks, shutdown, names and syntax.
bool MayBeOfAnEventTrigger(const absl::Status& status) {
  const std::string sqlstate = SqlstateOf(status);
  if (sqlstate.empty() || sqlstate == "42501") return !sqlstate.empty();
  for (const std::string_view of_the_command : {"08", "40", "42", "55", "57"}) {
    if (sqlstate.starts_with(of_the_command)) return false;
  }
  return true;
}

absl::Status InTransaction(Connection& connection, const std::function<absl::Status()>& body) {
  WF_RETURN_IF_ERROR(connection.Execute("BEGIN").status());
  absl::Status status = body();
  if (status.ok()) status = connection.Execute("COMMIT").status();
  if (!status.ok() && connection.alive()) connection.Execute("ROLLBACK").status().IgnoreError();
  return status;
}

absl::Status WithoutEventTriggers(Connection& connection, const std::vector<EventTrigger>& triggers,
                                  const std::function<absl::Status()>& ddl) {
  if (connection.server_version() >= kHasSwitch) {
    WF_RETURN_IF_ERROR(connection.Execute("SET LOCAL event_triggers = off").status());
    return ddl();
  }
  WF_RETURN_IF_ERROR(connection.Execute(DisableAll(triggers)).status());
  WF_RETURN_IF_ERROR(ddl());
  return connection.Execute(EnableAsBefore(triggers)).status();
}

}  // namespace

absl::StatusOr<std::vector<EventTrigger>> EventTriggersAt(Connection& connection,
                                                          const std::vector<std::string>& tags) {
  std::string array = "{";
  for (const std::string& tag : tags) array += (array.size() > 1 ? ",\"" : "\"") + tag + "\"";
  array += "}";
  return InForce(connection, array);
}

absl::Status ExecutePastEventTriggers(Connection& connection, const std::function<absl::Status()>& ddl) {
  const absl::Status first = InTransaction(connection, ddl);
  if (first.ok() || !connection.alive()) return first;
  const absl::StatusOr<std::vector<EventTrigger>> triggers = InForce(connection, std::nullopt);
  if (!triggers.ok() || triggers->empty()) return first;
  const absl::Status second =
      InTransaction(connection, [&] { return WithoutEventTriggers(connection, *triggers, ddl); });
  if (second.ok()) return second;
  return Errorf(absl::StatusCode::kFailedPrecondition,
                "%s; event triggers are in force (%s), and only a superuser can do it without them: disable "
                "them for a moment (ALTER EVENT TRIGGER … DISABLE), or run this as a superuser",
                MessageOf(first), NamesOf(*triggers));
}

absl::Status NameEventTriggers(Connection& connection, const absl::Status& status, std::string_view tag,
                               std::string_view side) {
  if (status.ok() || !connection.alive() || !MayBeOfAnEventTrigger(status)) return status;
  const absl::StatusOr<std::vector<EventTrigger>> triggers = EventTriggersAt(connection, {std::string(tag)});
  if (!triggers.ok() || triggers->empty()) return status;
  const absl::Status named =
      Errorf(status.code(),
             "%s; event triggers of %s fire at %s (%s): disable the one that refuses it for a moment, or "
             "let it pass this command, and run this again",
             MessageOf(status), side, tag, NamesOf(*triggers));
  return WithSqlstate(named, SqlstateOf(status));
}

}  // namespace walferry
