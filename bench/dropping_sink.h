// A sink that throws everything away and calls it durable: what remains is the cost of receiving.
#pragma once

#include <algorithm>
#include <functional>

#include "stream/sink.h"
#include "stream/stop_signal.h"

namespace walferry {

class DroppingSink final : public SegmentSink {
 public:
  // reached: called once, when a position beyond `until` was seen, on the session's thread.
  DroppingSink(Lsn until, std::function<void()> reached) : until_(until), reached_(std::move(reached)) {}

  absl::StatusOr<Lsn> Restart() override { return Lsn{}; }
  void Push(Segment segment) override {
    for (const Event& event : segment.events) {
      if (event.kind == EventKind::kCommit) Advance(event.lsn);
    }
  }
  void Idle(Lsn wal_end) override { Advance(wal_end); }
  void HurryConfirmation() override {}
  SinkProgress progress() const override { return {.applied = position_, .confirmed = position_}; }
  absl::Status status() const override { return absl::OkStatus(); }
  int fd() const override { return never_.fd(); }
  void DrainWakeups() override {}

 private:
  void Advance(Lsn position) {
    const bool before = position_ <= until_;
    position_ = std::max(position_, position);
    if (before && position_ > until_) reached_();
  }

  const Lsn until_;
  const std::function<void()> reached_;
  const StopSignal never_;
  Lsn position_;
};

}  // namespace walferry
