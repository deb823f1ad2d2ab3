// Where a migration stands, out of its state on the target and the slot on the source: what `walferry status`
// prints.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apply/state.h"
#include "stream/slot.h"
#include "tools/catalog_watch.h"
#include "tools/cutover_gate.h"
#include "tools/runtime.h"

namespace walferry {

struct StatusReport {
  MigrationRecord migration;
  bool running = false;  // A walferry holds the migration's lock.
  RuntimeSnapshot runtime;
  std::vector<Lsn> lanes;
  std::vector<TableRecord> tables;
  std::int64_t objects_done = 0;
  std::int64_t objects_total = 0;
  std::optional<EventRecord> last_error;  // Of the stream, where no other began after it.
  std::vector<EventRecord> events;        // The newest few, newest first.
  // Nothing where the source was not given, could not be reached, or the slot is gone (source_error says
  // which).
  std::optional<SlotInfo> slot;
  Lsn source_wal_end;
  std::string source_error;
  // Of the gate; unknown where the source could not be asked and the target knows no reason.
  std::optional<bool> can_cut_over;
  std::vector<GateReason> reasons;
  std::vector<CatalogDifference> catalog_differences;
};

// source may be empty. kFailedPrecondition where the target knows no such migration.
absl::StatusOr<StatusReport> ReadStatus(const std::string& source, const std::string& target,
                                        const std::string& name);

std::string StatusToJson(const StatusReport& report);
// Several lines for people.
std::string StatusToText(const StatusReport& report);

}  // namespace walferry
