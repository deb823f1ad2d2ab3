#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "tools/command/commands.h"
#include "tools/status.h"

namespace walferry {
namespace {

struct StatusFlags {
  bool watch = false;
};

constexpr int kWatchMs = 1000;

absl::StatusOr<ExitCode> Status(const StatusFlags& flags, const CommandContext& context) {
  const Globals& globals = context.globals;
  const bool redraw = flags.watch && !globals.json && isatty(STDOUT_FILENO) != 0;
  while (true) {
    WF_ASSIGN_OR_RETURN(const StatusReport report, ReadStatus(globals.source, globals.target, globals.name));
    if (redraw) context.out << "\x1b[H\x1b[2J";
    context.out << (globals.json ? StatusToJson(report) + "\n" : StatusToText(report)) << std::flush;
    if (!flags.watch) return ExitCode::kDone;
    pollfd fd = {context.stop.fd(), POLLIN, 0};
    poll(&fd, 1, kWatchMs);
    if (context.stop.requested()) return ExitCode::kDone;
    if (!redraw && !globals.json) context.out << "\n";
  }
}

}  // namespace

void RegisterStatus(CommandSet& commands) {
  auto flags = std::make_shared<StatusFlags>();
  CLI::App& command =
      commands.Add({.name = "status",
                    .summary = "Where a migration stands: phase, lag, positions, rates, tables",
                    .examples = "  walferry status --source service=shop --target service=new_shop\n"
                                "  walferry status --source service=shop --target service=new_shop --json\n"
                                "  walferry status --source service=shop --target service=new_shop --watch",
                    .needs_target = true},
                   [flags](const CommandContext& context) { return Status(*flags, context); });
  command.add_flag("--watch", flags->watch, "Show it anew every second, until stopped");
}

}  // namespace walferry
