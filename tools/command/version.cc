#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "stream/connection.h"
#include "tools/command/commands.h"

namespace walferry {
namespace {

absl::StatusOr<ExitCode> Version(const CommandContext& context) {
  if (context.globals.json) {
    const nlohmann::ordered_json version = {
        {"version", WALFERRY_VERSION}, {"libpq", WALFERRY_LIBPQ_VERSION}, {"compiler", __VERSION__}};
    context.out << version.dump() << "\n";
  } else {
    context.out << "walferry " WALFERRY_VERSION " (libpq " WALFERRY_LIBPQ_VERSION ", compiler " __VERSION__
                   ")\n";
  }
  return ExitCode::kDone;
}

}  // namespace

void RegisterVersion(CommandSet& commands) {
  commands.Add({.name = "version",
                .summary = "Print the version, and of what it is built",
                .examples = "  walferry version\n  walferry version --json"},
               Version);
}

}  // namespace walferry
