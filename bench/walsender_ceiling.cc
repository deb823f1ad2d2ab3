// Receives and decodes a slot's changes as walferry does, and throws them away: what the source can send to
// this machine is as fast as walferry could ever be. bench/compare runs it beside walferry.
//
//   walsender_ceiling CONNINFO SLOT PUBLICATION LSN    ends after the first transaction at or beyond LSN
#include <cstdio>
#include <optional>
#include <string>

#include "bench/dropping_sink.h"
#include "stream/session.h"

namespace walferry {
namespace {

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
  DroppingSink sink(*until, [&] { stop.Request(); });
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
