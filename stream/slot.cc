// Tested by tests/stream/slot_test.cc
#include "stream/slot.h"

#include "absl/time/clock.h"

namespace walferry {
namespace {

// A walsender whose client went away ends within moments; one whose client vanished silently takes
// wal_sender_timeout, and that is for the caller to decide upon.
constexpr absl::Duration kDropPatience = absl::Seconds(10);
constexpr absl::Duration kDropPause = absl::Milliseconds(100);

// The end of WAL on a primary, what was replayed on a standby (where pg_current_wal_lsn() is an error).
constexpr char kWalPosition[] =
    "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END";

std::string CreateSlotCommand(const SlotRequest& request, int server_version) {
  std::string sql = "CREATE_REPLICATION_SLOT " + QuoteIdentifier(request.name);
  if (request.temporary) sql += " TEMPORARY";
  sql += " LOGICAL pgoutput";
  if (server_version < 150000)
    return sql + (request.export_snapshot ? " EXPORT_SNAPSHOT" : " NOEXPORT_SNAPSHOT");
  sql += request.export_snapshot ? " (SNAPSHOT 'export'" : " (SNAPSHOT 'nothing'";
  if (request.failover && !request.temporary && server_version >= 170000) sql += ", FAILOVER true";
  return sql + ")";
}

std::string InspectSlotQuery(const std::string& name, int server_version) {
  std::string sql =
      "SELECT plugin, database, active, active_pid, restart_lsn, confirmed_flush_lsn, "
      "pg_wal_lsn_diff(";
  sql += kWalPosition;
  sql += ", restart_lsn)::bigint";
  sql += server_version >= 130000 ? ", wal_status, safe_wal_size" : ", NULL, NULL";
  sql += server_version >= 140000 ? ", two_phase" : ", false";
  sql += server_version >= 170000 ? ", invalidation_reason" : ", NULL";
  return sql + " FROM pg_replication_slots WHERE slot_name = " + QuoteLiteral(name);
}

absl::StatusOr<Lsn> LsnOrZero(const Result& result, int column) {
  if (result.IsNull(0, column)) return Lsn{};
  return Lsn::Parse(result.Get(0, column));
}

}  // namespace

absl::StatusOr<SystemIdentity> IdentifySystem(Connection& replication) {
  WF_ASSIGN_OR_RETURN(const Result result, replication.Execute("IDENTIFY_SYSTEM"));
  if (result.rows() != 1 || result.columns() < 4) {
    return absl::FailedPreconditionError("IDENTIFY_SYSTEM was not answered by a PostgreSQL server");
  }
  SystemIdentity identity;
  identity.system_id = result.Get(0, 0);
  identity.timeline = result.GetInt(0, 1);
  WF_ASSIGN_OR_RETURN(identity.wal_position, Lsn::Parse(result.Get(0, 2)));
  identity.database = result.Get(0, 3);
  return identity;
}

absl::StatusOr<CreatedSlot> CreateSlot(Connection& replication, const SlotRequest& request) {
  absl::StatusOr<Result> result =
      replication.Execute(CreateSlotCommand(request, replication.server_version()));
  if (!result.ok()) return Annotate(result.status(), "creating replication slot " + request.name);
  CreatedSlot slot;
  WF_ASSIGN_OR_RETURN(slot.consistent_point, Lsn::Parse(result->Get(0, 1)));
  slot.snapshot_name = result->Get(0, 2);
  return slot;
}

absl::StatusOr<std::optional<SlotInfo>> InspectSlot(Connection& connection, const std::string& name) {
  WF_ASSIGN_OR_RETURN(const Result result,
                      connection.Execute(InspectSlotQuery(name, connection.server_version())));
  if (result.rows() == 0) return std::nullopt;
  SlotInfo slot;
  slot.plugin = result.Get(0, 0);
  slot.database = result.Get(0, 1);
  slot.active = result.GetBool(0, 2);
  slot.active_pid = result.GetInt(0, 3);
  WF_ASSIGN_OR_RETURN(slot.restart_lsn, LsnOrZero(result, 4));
  WF_ASSIGN_OR_RETURN(slot.confirmed_flush_lsn, LsnOrZero(result, 5));
  slot.retained_bytes = result.GetInt(0, 6);
  slot.wal_status = result.Get(0, 7);
  if (!result.IsNull(0, 8)) slot.safe_wal_bytes = result.GetInt(0, 8);
  slot.two_phase = result.GetBool(0, 9);
  slot.invalidation_reason = result.Get(0, 10);
  return slot;
}

absl::StatusOr<std::optional<SlotInfo>> InspectSlotOfDatabase(Connection& connection, const std::string& name,
                                                              const std::string& database) {
  absl::StatusOr<std::optional<SlotInfo>> slot = InspectSlot(connection, name);
  if (slot.ok() && slot->has_value() && (*slot)->database != database) return std::nullopt;
  return slot;
}

absl::Status DropSlot(Connection& connection, const std::string& name) {
  const absl::Time deadline = absl::Now() + kDropPatience;
  const std::string sql = absl::StrFormat(
      R"sql(SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots
WHERE slot_name = %s AND database = pg_catalog.current_database())sql",
      QuoteLiteral(name));
  while (true) {
    const absl::Status dropped = connection.Execute(sql).status();
    const std::string sqlstate = SqlstateOf(dropped);
    if (dropped.ok() || sqlstate == "42704") return absl::OkStatus();
    if (sqlstate != "55006" || absl::Now() >= deadline) {
      return Annotate(dropped, "dropping replication slot " + name);
    }
    // Nothing comes on an idle connection: this is a pause that a stop ends.
    const absl::Status paused = connection.Wait(false, absl::Now() + kDropPause);
    if (absl::IsCancelled(paused)) return paused;
  }
}

absl::StatusOr<Lsn> CurrentWalLsn(Connection& connection) {
  WF_ASSIGN_OR_RETURN(const Result result, connection.Execute(std::string("SELECT ") + kWalPosition));
  return LsnOrZero(result, 0);
}

}  // namespace walferry
