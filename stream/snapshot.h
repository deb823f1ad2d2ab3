// The snapshot that a slot's creation exports: it holds exactly the transactions whose commit record begins
// before the slot's consistent point, and the slot's stream holds the others.
// https://www.postgresql.org/docs/current/protocol-replication.html (CREATE_REPLICATION_SLOT)
#pragma once

#include <string>
#include <utility>

#include "decoder/lsn.h"
#include "stream/connection.h"
#include "stream/slot.h"

namespace walferry {

// Owns the replication connection that created the slot and keeps it idle: the snapshot dies with the next
// command on it, with the connection, and so with this object (a temporary slot, too). Sessions that have
// imported the snapshot keep it, whatever happens here. While it lives it holds back vacuum on the source.
// Used by one thread; name() and consistent_point() by any.
class ExportedSnapshot {
 public:
  // Connects to options.conninfo (options.replication is taken as set) and creates the slot.
  static absl::StatusOr<ExportedSnapshot> FromNewSlot(ConnectOptions options, SlotRequest request);

  // For SET TRANSACTION SNAPSHOT, pg_dump --snapshot and the like, in the same database.
  const std::string& name() const { return name_; }
  Lsn consistent_point() const { return consistent_point_; }

 private:
  ExportedSnapshot(Connection exporter, CreatedSlot slot)
      : exporter_(std::move(exporter)),
        name_(std::move(slot.snapshot_name)),
        consistent_point_(slot.consistent_point) {}

  Connection exporter_;
  std::string name_;
  Lsn consistent_point_;
};

// Opens a read-only transaction that sees the exported snapshot; no transaction is left open where that
// fails. kAborted where the snapshot is gone. Not on a replication connection.
absl::Status BeginInSnapshot(Connection& connection, const std::string& snapshot);

}  // namespace walferry
