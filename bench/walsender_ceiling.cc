// Receives and decodes a slot's changes as walferry does, and throws them away: what the source can send to
// this machine is as fast as walferry could ever be. bench/compare runs it beside walferry.
//
//   walsender_ceiling CONNINFO SLOT PUBLICATION LSN    ends after the first transaction at or beyond LSN
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>

#include "stream/session.h"

namespace walferry {
namespace {

// Everything is durable at once.
class DroppingSink final : public SegmentSink {
 public:
  // Requests the stop. Both must outlive the sink.
  DroppingSink(Lsn until, StopSignal& stop, StopSignal& never) : until_(until), stop_(stop), never_(never) {}

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
    position_ = std::max(position_, position);
    if (position_ > until_) stop_.Request();
  }

  const Lsn until_;
  StopSignal& stop_;
  StopSignal& never_;
  Lsn position_;
};

int Main(int argc, char** argv) {
  const absl::StatusOr<Lsn> until = Lsn::Parse(argc == 5 ? argv[4] : "");
  if (!until.ok()) {
    std::fprintf(stderr, "walsender_ceiling CONNINFO SLOT PUBLICATION LSN\n");
    return 2;
  }
  SessionOptions options;
  options.source = argv[1];
  options.slot = argv[2];
  options.publications = {argv[3]};
  MemoryBudget budget(std::size_t{512} << 20);
  StopSignal stop;
  StopSignal never;
  DroppingSink sink(*until, stop, never);
  Session session(options, budget, sink, stop, [](const SessionEvent&) {});
  const absl::Status status = session.Run([] { return std::nullopt; });
  if (status.ok()) return 0;
  std::fprintf(stderr, "walsender_ceiling: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace walferry

int main(int argc, char** argv) {
  return walferry::Main(argc, argv);
}
