// What was applied, counted: by the lanes as their batches commit, read by whoever watches, and flushed to
// the target with the fences.
#pragma once

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "apply/applier.h"

namespace walferry {

// Of one target transaction; counts only if that commits.
struct BatchTally {
  std::uint64_t transactions = 0;  // Of the source. Each lane passes by all of them.
  std::uint64_t changes = 0;
  std::uint64_t statements = 0;
  std::map<TableName, TableCounters> tables;
};

// Thread-safe.
class Tally {
 public:
  explicit Tally(int lanes) { counters_.lanes.resize(static_cast<std::size_t>(lanes)); }

  void AddLane();
  void Add(int lane, const BatchTally& batch);
  void CountReplay();
  void CountReconnect();
  ApplierCounters counters() const;

  // What was added to the tables since the last call. What could not be recorded goes back.
  std::map<TableName, TableCounters> TakeUnrecorded();
  void PutBack(const std::map<TableName, TableCounters>& tables);
  bool has_unrecorded() const;

 private:
  mutable absl::Mutex mutex_;
  ApplierCounters counters_ ABSL_GUARDED_BY(mutex_);
  std::map<TableName, TableCounters> unrecorded_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace walferry
