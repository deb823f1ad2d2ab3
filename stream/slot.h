// Logical replication slots: made, looked at, dropped. Which syntax and which columns exist in which version
// is known here alone (walsender grammar repl_gram.y; view pg_replication_slots). Nothing here makes a slot
// again that is gone.
#pragma once

#include <optional>
#include <string>

#include "decoder/lsn.h"
#include "stream/connection.h"

namespace walferry {

struct SystemIdentity {
  std::string system_id;
  std::int64_t timeline = 0;
  Lsn wal_position;
  std::string database;
};
// IDENTIFY_SYSTEM, on a replication connection.
absl::StatusOr<SystemIdentity> IdentifySystem(Connection& replication);

struct CreatedSlot {
  Lsn consistent_point;
  // Empty where none was asked for. Dies with the next command on the connection that created it, or with it.
  std::string snapshot_name;
};
struct SlotRequest {
  std::string name;
  bool temporary = false;
  bool export_snapshot = false;
  bool failover = false;  // 17+; ignored before, and for temporary slots, which cannot have it.
};
// CREATE_REPLICATION_SLOT with the syntax of the server's version (10 to 18). Waits for transactions that
// were running on the source to end, in any of its databases. Fails with kFailedPrecondition where the slot
// exists (42710).
absl::StatusOr<CreatedSlot> CreateSlot(Connection& replication, const SlotRequest& request);

struct SlotInfo {
  std::string plugin;
  std::string database;
  bool active = false;
  std::int64_t active_pid = 0;
  bool two_phase = false;
  Lsn restart_lsn;
  Lsn confirmed_flush_lsn;
  std::string wal_status;            // reserved, extended, unreserved, lost; empty before 13.
  std::string invalidation_reason;   // Why it was lost, since 17; empty otherwise.
  std::int64_t safe_wal_bytes = -1;  // -1: no limit, or unknown.
  std::int64_t retained_bytes = 0;   // Of WAL that the server keeps for it.
};
// From pg_replication_slots, on an ordinary or a replication connection; nullopt where there is no such slot.
absl::StatusOr<std::optional<SlotInfo>> InspectSlot(Connection& connection, const std::string& name);

// The same; nullopt also where the slot of that name is not this database's: names belong to the server.
absl::StatusOr<std::optional<SlotInfo>> InspectSlotOfDatabase(Connection& connection, const std::string& name,
                                                              const std::string& database);

// Fine where the connection's database has none of that name. A slot that is still active is retried for a
// few seconds; then the error is 55006.
absl::Status DropSlot(Connection& connection, const std::string& name);

// pg_current_wal_lsn(): the end of what was written to WAL (on a standby the replay position).
absl::StatusOr<Lsn> CurrentWalLsn(Connection& connection);

}  // namespace walferry
