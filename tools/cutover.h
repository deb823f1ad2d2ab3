// From "the target follows" to "the target is the database": drain to a marker in the source's WAL, prove
// that nothing came after it, constraints and triggers, sequences. Every step before the switch can be
// repeated; the source is only read.
#pragma once

#include "absl/time/time.h"
#include "tools/migration.h"

namespace walferry {

struct CutoverOptions {
  MigrationOptions migration;
  // Gives up when the marker is not durable on the target by then; the migration then goes on following.
  absl::Duration timeout = absl::Minutes(5);
};

struct CutoverReport {
  Lsn marker;
  Lsn position;                // Everything before is on the target.
  absl::Duration write_pause;  // From the marker until the target was ready for writes.
  int sequences_set = 0;
  std::vector<TableName> sequences_missing;
};

// Whether a cutover could begin: what --dry-run tells. Changes nothing, also while a walferry runs.
absl::Status CheckCutover(const MigrationOptions& options);

// Stops the running `migrate` or `stream` of this migration and takes its place. kFailedPrecondition where
// writes to the source have not stopped, where the migration is not that far, where sequences or constraints
// cannot be set.
absl::StatusOr<CutoverReport> Cutover(const CutoverOptions& options, const StopSignal& stop);

}  // namespace walferry
