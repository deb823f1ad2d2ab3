// The target side of a stream: takes segments, groups whole source transactions into batches, applies each
// batch and its position in one target transaction, and tells what is durable. Owns its threads: one per
// lane, one for the fence.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "apply/followed_table.h"
#include "apply/state.h"
#include "apply/table_map.h"
#include "stream/memory_budget.h"
#include "stream/sink.h"
#include "stream/stop_signal.h"

namespace walferry {

enum class OnMissingRow { kCount, kStop };
enum class OnConflict { kStop, kSkipLogged };

struct ApplierOptions {
  std::string target;  // conninfo
  std::string application_name = "walferry";
  std::string migration;  // Whose lanes and counters.
  // How many are wished for; 0: one, and a second one where the target falls behind (and no trigger can fire
  // because of rows in another order). There are as many as the state says, where they do not all stand at
  // the same position.
  int lanes = 1;
  // Binary values are wished for, where the source can give them. As with the number of lanes, it stays as it
  // was where they do not all stand at the same position.
  bool binary = false;
  // A change to a table in this map is applied only if its transaction's commit LSN is at or after the
  // position. A table that is not in the map is applied always, or, with only_listed, skipped
  // and counted.
  std::map<TableName, Lsn> copied_at;
  bool only_listed = false;
  // Tables that are known by name: what each one's oid was on the source. Another one under the name ends the
  // stream. A table that is not in the map may be any.
  std::map<TableName, Oid> source_oids;
  // Not empty: the tables by their oid on the source, in place of copied_at and only_listed. A relation that
  // is not among them, or has another shape, ends the stream before its first change (UnexpectedRelation()).
  FollowedTables followed;
  std::map<TableName, SourceNotes> source_notes;  // Tables without any need not be there.
  OnMissingRow on_missing_row = OnMissingRow::kCount;
  OnConflict on_conflict = OnConflict::kStop;
  std::size_t batch_bytes = 16 << 20;     // A batch is closed at this size, or as soon as its lane is free.
  std::size_t in_flight_bytes = 8 << 20;  // Sent to the target and not yet answered.
  absl::Duration fence_interval = absl::Milliseconds(200);
  absl::Duration retry_for = absl::Minutes(10);
};

struct LaneCounters {
  std::uint64_t batches = 0;
  std::uint64_t transactions = 0;  // Passed by; with a share in them or not.
  std::uint64_t changes = 0;
};

struct ApplierCounters {
  std::uint64_t batches = 0;
  std::uint64_t transactions = 0;
  std::uint64_t changes = 0;
  std::uint64_t statements = 0;
  std::uint64_t replays = 0;  // Batches that failed as a whole and were applied one transaction at a time.
  std::uint64_t reconnects = 0;
  std::map<TableName, TableCounters> tables;  // Since the start of this process.
  std::vector<LaneCounters> lanes;
};

// Said in words by tools/. Thread: the applier's own; the observer must be thread-safe.
struct ApplierEvent {
  enum class Kind {
    kReplicaRole,
    kNoReplicaRole,
    kLanes,
    kReconnecting,
    kReconnected,
    kReplay,
    kMissingRow,
    kConflictSkipped,
    kSkippedTable
  };
  Kind kind;
  TableName table;   // Where it is about one.
  std::string text;  // One sentence, without cell values.
};

class Applier : public SegmentSink {
 public:
  // Connects, sets session_replication_role = replica and reads it back. Where that is not allowed it goes on
  // only if no trigger and no foreign key can fire on `tables`, and fails otherwise, saying which and what to
  // grant.
  static absl::StatusOr<std::unique_ptr<Applier>> Start(ApplierOptions options,
                                                        const std::vector<TableName>& tables,
                                                        MemoryBudget& budget, const StopSignal& stop,
                                                        std::function<void(const ApplierEvent&)> observe);
  // Stops the threads; what is not committed is dropped.
  ~Applier() override;

  // Lets the batches in hand finish and the lanes come to the same position (bounded by `deadline`), records
  // a last fence and the counters. Call once, before the final feedback to the source.
  absl::Status Finish(absl::Time deadline);

  bool replica_role() const;
  // Whether the session has to ask the source for binary values.
  bool binary() const;
  ApplierCounters counters() const;

  absl::StatusOr<Lsn> Restart() override;
  void Push(Segment segment) override;
  void Idle(Lsn wal_end) override;
  void HurryConfirmation() override;
  SinkProgress progress() const override;
  absl::Status status() const override;
  bool wants_restart() const override;
  int fd() const override;
  void DrainWakeups() override;

 private:
  class Impl;
  explicit Applier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace walferry
