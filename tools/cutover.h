// From "the target follows" to "the target is the database": what can be taken back first (the gate, the wait
// for open transactions, the drain to a marker, the proof that nothing came after it), then the switch.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tools/cutover_gate.h"
#include "tools/cutover_switch.h"
#include "tools/migration.h"

namespace walferry {

struct CutoverOptions {
  MigrationOptions migration;
  // For open transactions to end, then for the marker to be durable on the target, and for a view to be
  // refreshed; whatever takes longer is given up, and the migration goes on.
  absl::Duration timeout = absl::Minutes(5);
  std::vector<std::string> accepted;  // Kinds of the gate.
};

// The write pause, from the first marker until the target took over, by its parts.
struct WritePause {
  absl::Duration drain;      // To the marker.
  absl::Duration proof;      // That nothing came after it.
  absl::Duration objects;    // Of the switch.
  absl::Duration sequences;  // Read and set.
  absl::Duration total;
};

struct CutoverReport {
  bool was_switched = false;  // By an earlier run: only what that had left over was done.
  Lsn marker;
  Lsn position;  // Everything before is on the target.
  WritePause pause;
  int sequences_set = 0;
  std::vector<TableName> sequences_missing;
  std::vector<Leftover> leftovers;
};

// What a cutover would meet and cost.
struct CutoverForecast {
  std::vector<GateReason> reasons;  // Without those that were accepted.
  bool can_begin = false;           // What follows is known only where the phase allows a cutover.
  std::uint64_t lag_bytes = 0;
  int sequences = 0;
  absl::Duration reading_sequences;
  int objects = 0;      // In the write pause.
  int validations = 0;  // After it.
  int refreshes = 0;
  int event_triggers = 0;
  absl::Duration pause;  // A guess.
};

// What --dry-run tells. Changes nothing, also while a walferry runs.
absl::StatusOr<CutoverForecast> ForecastCutover(const CutoverOptions& options, const StopSignal& stop);

// Stops the running `migrate` or `stream` of this migration and takes its place. kFailedPrecondition where
// the gate refuses or writes to the source have not stopped; the migration goes on then as if nothing had
// been. For one that was switched already it does what was left over.
absl::StatusOr<CutoverReport> Cutover(const CutoverOptions& options, const StopSignal& stop);

}  // namespace walferry
