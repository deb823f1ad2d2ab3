#include "tools/cleanup.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/command/commands.h"

namespace walferry {
namespace {

struct CleanupFlags {
  bool yes = false;
  std::vector<std::string> accepted;
};

absl::Status CheckNothingIsLeftOver(const CleanupFlags& flags, const CleanupPlan& plan,
                                    const std::string& name) {
  if (plan.leftovers.empty() || !flags.accepted.empty()) return absl::OkStatus();
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "migration %s was cut over, but this is left over: %s: run walferry cutover again, or give it "
      "up with walferry cleanup --accept left-over",
      name, Describe(plan.leftovers));
}

absl::StatusOr<ExitCode> RunCleanupCommand(const CleanupFlags& flags, const CommandContext& context) {
  const Globals& globals = context.globals;
  WF_ASSIGN_OR_RETURN(const CleanupPlan plan,
                      PlanCleanup(globals.source, globals.target, globals.name, context.stop));
  if (flags.yes) WF_RETURN_IF_ERROR(CheckNothingIsLeftOver(flags, plan, globals.name));
  if (globals.json) {
    context.out << nlohmann::ordered_json{{"done", flags.yes}, {"steps", plan.steps}}.dump() << "\n";
  } else {
    context.out << (flags.yes ? "Cleaning up:\n" : "Cleanup would:\n");
    for (const std::string& step : plan.steps) context.out << "  " << step << "\n";
    for (const Leftover& leftover : plan.leftovers) {
      context.out << "  give up what the cutover has left over: " << leftover.text << "\n";
    }
  }
  context.out << std::flush;
  if (flags.yes) {
    WF_RETURN_IF_ERROR(RunCleanup(plan, globals.source, globals.target, globals.name, context.stop));
  } else if (!globals.json) {
    context.out << "Nothing was dropped; add --yes to do it.\n";
  }
  return ExitCode::kDone;
}

}  // namespace

void RegisterCleanup(CommandSet& commands) {
  auto flags = std::make_shared<CleanupFlags>();
  CLI::App& command =
      commands.Add({.name = "cleanup",
                    .summary = "Drop the slot, the publication and the state of a migration",
                    .examples = "  walferry cleanup --source service=shop --target service=new_shop\n"
                                "  walferry cleanup --source service=shop --target service=new_shop --yes",
                    .needs_source = true,
                    .needs_target = true},
                   [flags](const CommandContext& context) { return RunCleanupCommand(*flags, context); });
  command.add_flag("--yes", flags->yes, "Do it; without, only show what would be dropped");
  command
      .add_option("--accept", flags->accepted,
                  "Clean up although the cutover has left something over, which nobody will do then")
      ->check(CLI::IsMember({"left-over"}))
      ->type_name("KIND");
}

}  // namespace walferry
