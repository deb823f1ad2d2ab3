// Tested by tests/apply/applier_progress_test.cc.
#include "apply/position.h"

#include "absl/strings/str_format.h"
#include "stream/quote.h"

namespace walferry {
namespace {

// One message of the simple protocol is one transaction, so that most fences cost a single round trip.
std::string FenceSql(const Confirmation& confirmation) {
  const std::string name = QuoteLiteral(confirmation.migration);
  return absl::StrFormat(
      "SET LOCAL synchronous_commit TO on; "
      "UPDATE walferry.migration SET confirmed = greatest(confirmed, '%s'::pg_catalog.pg_lsn) WHERE name = "
      "%s "
      "AND NOT EXISTS (SELECT FROM walferry.lane WHERE migration = %s AND position < "
      "'%s'::pg_catalog.pg_lsn)",
      confirmation.confirmed.ToString(), name, name, confirmation.applied.ToString());
}

absl::Status RecordFence(Connection& target, const Confirmation& confirmation) {
  WF_ASSIGN_OR_RETURN(const Result updated, target.Execute(FenceSql(confirmation)));
  if (updated.affected() == 1) return absl::OkStatus();
  return Errorf(absl::StatusCode::kAborted, "the target does not stand at %s in migration %s any more",
                confirmation.applied.ToString(), confirmation.migration);
}

absl::Status NoSuchLane(const std::string& migration, int lane) {
  return Errorf(absl::StatusCode::kFailedPrecondition,
                "the target does not know lane %d of migration %s: it was cleaned up, or never begun", lane,
                migration);
}

}  // namespace

absl::StatusOr<Lsn> ReadLanePosition(Connection& target, const std::string& migration, int lane) {
  WF_ASSIGN_OR_RETURN(
      const Result row,
      target.Execute("SELECT position FROM walferry.lane WHERE migration = $1 AND lane = $2 FOR UPDATE",
                     {migration, std::to_string(lane)}));
  if (row.rows() == 1) return Lsn::Parse(row.Get(0, 0));
  return NoSuchLane(migration, lane);
}

absl::StatusOr<LaneHold> TakeLane(Connection& target, const std::string& migration, int lane) {
  WF_ASSIGN_OR_RETURN(const Result row,
                      target.Execute("UPDATE walferry.lane SET epoch = epoch + 1 WHERE migration = $1 AND "
                                     "lane = $2 RETURNING position, epoch",
                                     {migration, std::to_string(lane)}));
  if (row.rows() != 1) return NoSuchLane(migration, lane);
  WF_ASSIGN_OR_RETURN(const Lsn position, Lsn::Parse(row.Get(0, 0)));
  return LaneHold{position, std::string(row.Get(0, 1))};
}

absl::Status CommitFence(Connection& target, const std::string& migration, Lsn confirmed) {
  return RecordFence(target, {migration, Lsn{}, confirmed, {}});
}

absl::Status CommitConfirmation(Connection& target, const Confirmation& confirmation) {
  if (confirmation.counters.empty()) return RecordFence(target, confirmation);
  WF_RETURN_IF_ERROR(target.Execute("BEGIN").status());
  absl::Status status = AddCounters(target, confirmation.migration, confirmation.counters);
  if (status.ok()) status = RecordFence(target, confirmation);
  if (status.ok()) return target.Execute("COMMIT").status();
  if (target.alive()) WF_RETURN_IF_ERROR(target.Execute("ROLLBACK").status());
  return status;
}

}  // namespace walferry
