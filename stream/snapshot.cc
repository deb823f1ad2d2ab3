// Tested by tests/stream/slot_test.cc
#include "stream/snapshot.h"

namespace walferry {

absl::StatusOr<ExportedSnapshot> ExportedSnapshot::FromNewSlot(ConnectOptions options, SlotRequest request) {
  options.replication = true;
  request.export_snapshot = true;
  // Open() takes idle_in_transaction_session_timeout off, which would end the exporter: it waits in a
  // transaction.
  WF_ASSIGN_OR_RETURN(Connection exporter, Connection::Open(options));
  WF_ASSIGN_OR_RETURN(CreatedSlot slot, CreateSlot(exporter, request));
  return ExportedSnapshot(std::move(exporter), std::move(slot));
}

absl::Status BeginInSnapshot(Connection& connection, const std::string& snapshot) {
  const absl::Status begun =
      connection
          .Execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT " +
                   QuoteLiteral(snapshot))
          .status();
  if (begun.ok() || absl::IsCancelled(begun)) return begun;
  connection.Execute("ROLLBACK").IgnoreError();
  if (IsRetryable(begun)) return begun;
  return Errorf(absl::StatusCode::kAborted,
                "the snapshot that is being copied is gone, because the connection that held it was lost "
                "(%s): the rest is "
                "copied under a new one; tables that are done stay done",
                MessageOf(begun));
}

}  // namespace walferry
