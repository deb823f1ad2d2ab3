#include "tools/demo.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "tools/command/commands.h"

namespace walferry {
namespace {

struct DemoFlags {
  std::string size = "normal";
  DemoOptions options;
};

absl::StatusOr<ExitCode> Demo(const DemoFlags& flags, const CommandContext& context) {
  DemoOptions options = flags.options;
  options.scale = flags.size == "small" ? 0.05 : 1;
  WF_RETURN_IF_ERROR(RunDemo(options, context.stop, context.out));
  return ExitCode::kDone;
}

}  // namespace

void RegisterDemo(CommandSet& commands) {
  auto flags = std::make_shared<DemoFlags>();
  CLI::App& command = commands.Add(
      {.name = "demo",
       .summary = "A complete migration between two throwaway servers with live writes, told step by step",
       .examples = "  walferry demo\n"
                   "  walferry demo --size small\n"
                   "  walferry demo --keep"},
      [flags](const CommandContext& context) { return Demo(*flags, context); });
  command.add_option("--size", flags->size, "normal: a shop of about 300 MB; small: 15 MB")
      ->check(CLI::IsMember({"small", "normal"}));
  command.add_option("--seed", flags->options.seed, "What the shop's clients do; printed when not given");
  command.add_flag("--keep", flags->options.keep, "Leave both servers running until Ctrl-C, to look around");
}

}  // namespace walferry
