// The position of a lane moves by compare-and-set inside the transaction of
// its data, and the source is told nothing that is not durably recorded on the target before.
#pragma once

#include <map>
#include <string>

#include "apply/state.h"
#include "decoder/lsn.h"
#include "stream/connection.h"

namespace walferry {

// SQLSTATE raised by walferry.advance() when the lane is not where the caller thought: another writer was
// there.
inline constexpr std::string_view kPositionMovedSqlstate = "WF001";

// SELECT walferry.advance($1 migration, $2 lane, $3 expected, $4 new, $5 epoch): the first statement of every
// batch's transaction. It takes the row lock, so that a second writer waits and then fails; it raises
// kPositionMovedSqlstate instead of touching no row, because in a pipeline nobody looks between it and
// COMMIT. A NULL epoch is not compared: of lanes that the caller has stopped itself.
inline constexpr std::string_view kAdvanceSql = "SELECT walferry.advance($1, $2, $3, $4, $5)";

// Where the lane stands, for certain: waits for a transaction that still moves it, so that the outcome of a
// COMMIT whose answer was lost is known. kFailedPrecondition where the migration has no such lane.
absl::StatusOr<Lsn> ReadLanePosition(Connection& target, const std::string& migration, int lane);

struct LaneHold {
  Lsn position;
  std::string epoch;
};
// The same, and nobody who took the lane before moves it any more: batches that a killed walferry has sent
// ahead still wait in the target's socket.
absl::StatusOr<LaneHold> TakeLane(Connection& target, const std::string& migration, int lane);

// The durability fence: a small synchronous commit, after which everything that was committed before on this
// server is durable, too. It records `confirmed` (greatest wins) so that a start can tell a slot that
// somebody else moved.
absl::Status CommitFence(Connection& target, const std::string& migration, Lsn confirmed);

struct Confirmation {
  std::string migration;
  Lsn applied;                                  // No lane is before this, as far as the caller knows.
  Lsn confirmed;                                // What the source will be told.
  std::map<TableName, TableCounters> counters;  // To be added to the tables' in the same transaction.
};

// A fence for what the lanes have applied. kAborted, and nothing recorded, where a lane stands before
// `applied`: the server lost commits in a crash (they were asynchronous), and the source must not hear of
// them.
absl::Status CommitConfirmation(Connection& target, const Confirmation& confirmation);

}  // namespace walferry
