// What a running stream looks like from outside, once a second: the lag ladder, rates, the bottleneck and
// when the backlog will be gone. Written as JSON into the state, read by `status`, shown by progress lines
// and metrics.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "apply/applier.h"
#include "stream/session.h"
#include "tools/catalog_watch.h"

namespace walferry {

struct RuntimeSnapshot {
  Lsn wal_end;  // The source's head, as last heard of.
  Lsn received;
  Lsn applied;
  Lsn confirmed;  // Durable on the target and recorded there.
  std::uint64_t lag_bytes = 0;
  double lag_seconds = 0;             // Age of the newest applied commit while something is behind it.
  std::optional<double> eta_seconds;  // Nothing: never at this rate.
  std::string bottleneck;             // "none", "source" (or the way from it), "target"
  double changes_per_s = 0;
  double bytes_per_s = 0;
  double txns_per_s = 0;
  std::uint64_t changes = 0;
  std::uint64_t transactions = 0;
  std::uint64_t bytes = 0;
  std::uint64_t batches = 0;
  std::uint64_t replays = 0;
  std::uint64_t spooled_bytes = 0;
  std::uint64_t memory_used_bytes = 0;
  std::uint64_t source_reconnects = 0;
  std::uint64_t target_reconnects = 0;
  std::vector<LaneCounters> lanes;
  std::vector<CatalogDifference>
      catalog_differences;  // Of the process at hand only: others look for themselves.
};

std::string RuntimeToJson(const RuntimeSnapshot& snapshot);
// Missing fields stay zero; text that is not JSON gives an empty snapshot.
RuntimeSnapshot RuntimeFromJson(const std::string& json);

// Turns counters into snapshots; rates are over the last few seconds. Not thread-safe.
class RuntimeMeter {
 public:
  RuntimeSnapshot Measure(const SessionCounters& session, const ApplierCounters& applier,
                          const SinkProgress& progress, const MemoryBudget& budget, absl::Time now);

 private:
  struct Sample {
    absl::Time at;
    std::uint64_t changes = 0, bytes = 0, transactions = 0, applied = 0, wal_end = 0;
  };
  static constexpr int kSamples = 6;
  Sample samples_[kSamples];
  int count_ = 0;
};

}  // namespace walferry
