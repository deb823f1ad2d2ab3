// A session and an applier put together and watched: the streaming part of `migrate`, `stream` and `cutover`.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "apply/applier.h"
#include "apply/state.h"
#include "stream/session.h"
#include "tools/catalog_watcher.h"
#include "tools/runtime.h"

namespace walferry {

struct FollowOptions {
  std::string source;  // conninfo
  std::string target;
  std::size_t memory_bytes = std::size_t{512} << 20;
  std::string work_dir;
  ProtocolOptions wishes;
  bool binary_if_it_suits = false;  // wishes.binary is a guess: where it turns out wrong, go on in text.
  int lanes = 0;                    // 0: as many as suit.
  OnMissingRow on_missing_row = OnMissingRow::kCount;
  OnConflict on_conflict = OnConflict::kStop;
  std::size_t batch_bytes = ApplierOptions{}.batch_bytes;
  absl::Duration retry_for = absl::Minutes(10);
  std::map<TableName, SourceNotes> source_notes;  // Filled in when the stream begins.
};

// What the end of a run is decided by. Asked on the session's thread: a short query is fine, a wait is not.
struct FollowProgress {
  SinkProgress lsn;
  std::uint64_t changes = 0;  // Received since the start of this run.
};
using FollowUntil = std::function<std::optional<Lsn>(const FollowProgress&)>;

// Runs until nothing ends it but a stop: of the process or asked for by another command through the state.
std::optional<Lsn> FollowForever(const FollowProgress&);
// Until what the source had written at most `freshness` ago is durable on the target.
FollowUntil FollowUntilCaughtUp(const std::string& source, absl::Duration freshness);
FollowUntil FollowUntilLsn(Lsn lsn);

struct FollowResult {
  bool stopped = false;  // By a stop, not by `until`.
  // By what the catalog watcher found: the migration has to look at it before the stream goes on.
  bool catalog_changed = false;
  FollowProgress last;
  RuntimeSnapshot runtime;
};

// What is streamed.
struct FollowedMigration {
  const RecordedCatalog& recorded;
  FollowedTables followed;  // Empty: by name, as recorded.
  bool only_listed = false;
  DifferenceLog& differences;
};

// Streams the migration from its lanes' position into the target. The caller holds the migration's
// lock on `lock_connection` (TryLockMigration), over which heartbeats are written while this runs; it is
// reopened and locked again after a loss. `watch` gets a snapshot about once a second, on another thread.
absl::StatusOr<FollowResult> Follow(FollowOptions options, const FollowedMigration& migration,
                                    const FollowUntil& until, Connection& lock_connection,
                                    const StopSignal& stop,
                                    const std::function<void(const RuntimeSnapshot&)>& watch);

}  // namespace walferry
