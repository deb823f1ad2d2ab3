// The first copy of tables: rows of one snapshot of the source, as raw COPY bytes, into the target, by
// several workers that take ranges of the tables from one queue, largest first.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "apply/state.h"
#include "stream/connection.h"
#include "stream/stop_signal.h"

namespace walferry {

enum class CopyFormat {
  kAuto,
  kBinary,
  kText
};  // kAuto: binary where all column types are equal on both sides.

struct TableCopyOptions {
  std::string source;  // conninfo
  std::string target;
  std::string application_name = "walferry";
  std::string migration;  // "": no state is kept (walferry copy).
  std::string
      snapshot;  // Name of the exported snapshot; its exporter stays connected and idle all the while.
  Lsn position;  // The snapshot's consistent point.
  int jobs = 4;
  CopyFormat format = CopyFormat::kAuto;
  // A table that is too large to be copied whole (copy_plan.h) is cut into ctid ranges of about this size;
  // on a source before version 14 none is.
  std::int64_t range_bytes = std::int64_t{256} << 20;
  // How long a server may be away, and a table of the source be locked.
  absl::Duration retry_for = absl::Minutes(10);
  // If set: told once for each table whose lock is waited for who holds it. By the workers' threads.
  std::function<void(const std::string&)> waiting = nullptr;
  // If set: a connection to the source in a transaction that sees the snapshot and holds ACCESS SHARE on the
  // tables. It is used and taken for what is copied first, with one job: whoever asks for such a lock anew
  // stands in line behind those who want to truncate.
  std::optional<Connection>* begun_source = nullptr;
};

// The table on whose account CopyTables() returned kAborted, if it was rewritten on the source.
std::optional<TableName> RewrittenTable(const absl::Status& status);

// Read by the thread that shows progress while Run() works.
struct TableCopyProgress {
  std::atomic<std::int64_t> tables_total = 0;
  std::atomic<std::int64_t> tables_done = 0;
  std::atomic<std::int64_t> bytes_expected = 0;       // By the size of the tables on the source; an estimate.
  std::atomic<std::int64_t> bytes_expected_done = 0;  // The part of bytes_expected whose ranges are done.
  std::atomic<std::int64_t> bytes_copied = 0;         // As they went over the wire.
  std::atomic<std::int64_t> rows_copied = 0;
};

// Copies every table of `tables` that is not kCopied. A table of which rows are already there from a run that
// was killed (kCopying) is emptied first. When all ranges of a table are in, its record (kCopied, position,
// rows, bytes) is committed. Connection losses are retried by transaction (copy_plan.h). A table that a
// CHECK refuses is tried again after the others, as long as others come. Stops at the first other error.
// After OK all tables are durably kCopied on the target. kAborted: the snapshot is gone or a table was
// rewritten on the source; take a new snapshot for what is not done. `table_done` is called by the workers'
// threads, one at a time. Tables are leaf tables or plain ones: what pg_publication_tables lists; a
// partitioned one is copied through its root.
absl::Status CopyTables(const TableCopyOptions& options, const std::vector<TableRecord>& tables,
                        TableCopyProgress& progress, const StopSignal& stop,
                        std::function<void(const TableRecord&)> table_done);

}  // namespace walferry
