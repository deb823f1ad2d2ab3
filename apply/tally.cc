// Tested by tests/apply/applier_rows_test.cc.
#include "apply/tally.h"

#include <utility>

namespace walferry {

void Tally::AddLane() {
  const absl::MutexLock lock(&mutex_);
  counters_.lanes.emplace_back();
}

void Tally::Add(int lane, const BatchTally& batch) {
  const absl::MutexLock lock(&mutex_);
  LaneCounters& of_lane = counters_.lanes[static_cast<std::size_t>(lane)];
  ++of_lane.batches;
  of_lane.transactions += batch.transactions;
  of_lane.changes += batch.changes;
  ++counters_.batches;
  if (lane == 0) counters_.transactions += batch.transactions;
  counters_.changes += batch.changes;
  counters_.statements += batch.statements;
  for (const auto& [table, counters] : batch.tables) {
    counters_.tables[table] += counters;
    unrecorded_[table] += counters;
  }
}

void Tally::CountReplay() {
  const absl::MutexLock lock(&mutex_);
  ++counters_.replays;
}

void Tally::CountReconnect() {
  const absl::MutexLock lock(&mutex_);
  ++counters_.reconnects;
}

ApplierCounters Tally::counters() const {
  const absl::MutexLock lock(&mutex_);
  return counters_;
}

std::map<TableName, TableCounters> Tally::TakeUnrecorded() {
  const absl::MutexLock lock(&mutex_);
  return std::exchange(unrecorded_, {});
}

void Tally::PutBack(const std::map<TableName, TableCounters>& tables) {
  const absl::MutexLock lock(&mutex_);
  for (const auto& [table, counters] : tables) unrecorded_[table] += counters;
}

bool Tally::has_unrecorded() const {
  const absl::MutexLock lock(&mutex_);
  return !unrecorded_.empty();
}

}  // namespace walferry
