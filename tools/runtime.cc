#include "tools/runtime.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace walferry {
namespace {

// Below this a difference is the ordinary distance between two clocks of one machine, not a backlog.
constexpr std::uint64_t kNoLagBytes = 64 << 10;

// Microseconds between 1970-01-01 and 2000-01-01.
constexpr std::int64_t kPostgresEpochMicros = 946684800000000;

double AgeSeconds(TimestampMicros commit_time, absl::Time now) {
  if (commit_time == 0) return 0;
  const absl::Time committed = absl::FromUnixMicros(commit_time + kPostgresEpochMicros);
  return std::max(0.0, absl::ToDoubleSeconds(now - committed));
}

std::string Bottleneck(const RuntimeSnapshot& snapshot) {
  if (snapshot.lag_bytes <= kNoLagBytes) return "none";
  const std::uint64_t waiting_for_source =
      snapshot.wal_end.value - std::min(snapshot.wal_end, snapshot.received).value;
  const std::uint64_t waiting_for_target =
      snapshot.received.value - std::min(snapshot.received, snapshot.applied).value;
  return waiting_for_source > waiting_for_target ? "source" : "target";
}

std::uint64_t IntegerOf(const nlohmann::json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_number() ? it->get<std::uint64_t>() : std::uint64_t{0};
}

}  // namespace

RuntimeSnapshot RuntimeMeter::Measure(const SessionCounters& session, const ApplierCounters& applier,
                                      const SinkProgress& progress, const MemoryBudget& budget,
                                      absl::Time now) {
  RuntimeSnapshot snapshot;
  snapshot.received = Lsn{session.received_lsn};
  snapshot.wal_end = std::max(Lsn{session.wal_end_lsn}, snapshot.received);
  // An idle source's keepalives are confirmed without a transaction to apply: that is not lag.
  snapshot.applied = std::max(progress.applied, progress.confirmed);
  snapshot.confirmed = progress.confirmed;
  snapshot.lag_bytes = snapshot.wal_end.value - std::min(snapshot.wal_end, snapshot.applied).value;
  if (snapshot.lag_bytes > kNoLagBytes) snapshot.lag_seconds = AgeSeconds(session.last_commit_time, now);
  snapshot.bottleneck = Bottleneck(snapshot);
  snapshot.changes = applier.changes;
  snapshot.transactions = applier.transactions;
  snapshot.batches = applier.batches;
  snapshot.replays = applier.replays;
  snapshot.target_reconnects = applier.reconnects;
  snapshot.lanes = applier.lanes;
  snapshot.bytes = session.bytes;
  snapshot.spooled_bytes = session.spooled_bytes;
  snapshot.source_reconnects = session.reconnects;
  snapshot.memory_used_bytes = budget.used_bytes();

  const Sample sample{now,
                      snapshot.changes,
                      snapshot.bytes,
                      snapshot.transactions,
                      snapshot.applied.value,
                      snapshot.wal_end.value};
  if (count_ > 0) {
    const Sample& oldest = samples_[count_ < kSamples ? 0 : count_ % kSamples];
    const double seconds = std::max(0.001, absl::ToDoubleSeconds(now - oldest.at));
    const auto rate = [seconds](std::uint64_t to, std::uint64_t from) {
      return to > from ? static_cast<double>(to - from) / seconds : 0.0;
    };
    snapshot.changes_per_s = rate(sample.changes, oldest.changes);
    snapshot.bytes_per_s = rate(sample.bytes, oldest.bytes);
    snapshot.txns_per_s = rate(sample.transactions, oldest.transactions);
    const double gain = rate(sample.applied, oldest.applied) - rate(sample.wal_end, oldest.wal_end);
    if (snapshot.lag_bytes <= kNoLagBytes) {
      snapshot.eta_seconds = 0;
    } else if (gain > 0) {
      snapshot.eta_seconds = static_cast<double>(snapshot.lag_bytes) / gain;
    }
  }
  samples_[count_ % kSamples] = sample;
  ++count_;
  return snapshot;
}

std::string RuntimeToJson(const RuntimeSnapshot& snapshot) {
  nlohmann::json json = {
      {"wal_end", snapshot.wal_end.value},
      {"received", snapshot.received.value},
      {"applied", snapshot.applied.value},
      {"confirmed", snapshot.confirmed.value},
      {"lag_bytes", snapshot.lag_bytes},
      {"lag_seconds", snapshot.lag_seconds},
      {"bottleneck", snapshot.bottleneck},
      {"changes_per_s", snapshot.changes_per_s},
      {"bytes_per_s", snapshot.bytes_per_s},
      {"txns_per_s", snapshot.txns_per_s},
      {"changes", snapshot.changes},
      {"transactions", snapshot.transactions},
      {"bytes", snapshot.bytes},
      {"batches", snapshot.batches},
      {"replays", snapshot.replays},
      {"spooled_bytes", snapshot.spooled_bytes},
      {"memory_used_bytes", snapshot.memory_used_bytes},
      {"source_reconnects", snapshot.source_reconnects},
      {"target_reconnects", snapshot.target_reconnects},
  };
  if (snapshot.eta_seconds) json["eta_seconds"] = *snapshot.eta_seconds;
  for (const LaneCounters& lane : snapshot.lanes) {
    json["lanes"].push_back(
        {{"batches", lane.batches}, {"transactions", lane.transactions}, {"changes", lane.changes}});
  }
  return json.dump();
}

RuntimeSnapshot RuntimeFromJson(const std::string& text) {
  RuntimeSnapshot snapshot;
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return snapshot;
  const auto integer = [&json](const char* key) { return IntegerOf(json, key); };
  const auto real = [&json](const char* key) {
    const auto it = json.find(key);
    return it != json.end() && it->is_number() ? it->get<double>() : 0.0;
  };
  snapshot.wal_end = Lsn{integer("wal_end")};
  snapshot.received = Lsn{integer("received")};
  snapshot.applied = Lsn{integer("applied")};
  snapshot.confirmed = Lsn{integer("confirmed")};
  snapshot.lag_bytes = integer("lag_bytes");
  snapshot.lag_seconds = real("lag_seconds");
  if (json.contains("eta_seconds")) snapshot.eta_seconds = real("eta_seconds");
  if (const auto it = json.find("bottleneck"); it != json.end() && it->is_string()) {
    snapshot.bottleneck = it->get<std::string>();
  }
  snapshot.changes_per_s = real("changes_per_s");
  snapshot.bytes_per_s = real("bytes_per_s");
  snapshot.txns_per_s = real("txns_per_s");
  snapshot.changes = integer("changes");
  snapshot.transactions = integer("transactions");
  snapshot.bytes = integer("bytes");
  snapshot.batches = integer("batches");
  snapshot.replays = integer("replays");
  snapshot.spooled_bytes = integer("spooled_bytes");
  snapshot.memory_used_bytes = integer("memory_used_bytes");
  snapshot.source_reconnects = integer("source_reconnects");
  snapshot.target_reconnects = integer("target_reconnects");
  if (const auto it = json.find("lanes"); it != json.end() && it->is_array()) {
    for (const nlohmann::json& lane : *it) {
      if (!lane.is_object()) continue;
      snapshot.lanes.push_back(
          {IntegerOf(lane, "batches"), IntegerOf(lane, "transactions"), IntegerOf(lane, "changes")});
    }
  }
  return snapshot;
}

}  // namespace walferry
