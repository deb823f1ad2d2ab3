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
  if (begun.ok()) return begun;
  connection.Execute("ROLLBACK").IgnoreError();
  return Annotate(begun, "importing the snapshot " + snapshot);
}

}  // namespace walferry
