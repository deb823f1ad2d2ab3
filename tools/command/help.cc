#include <CLI/CLI.hpp>

#include "tools/command/commands.h"

namespace walferry {
namespace {

absl::StatusOr<ExitCode> Help(const CLI::App& app, const std::string& topic, const CommandContext& context) {
  if (topic.empty()) {
    // app.help() would explain the command that was chosen, which is this one.
    context.out << app.get_formatter()->make_help(&app, app.get_name(), CLI::AppFormatMode::Normal);
    return ExitCode::kDone;
  }
  const CLI::App* command = FindCommand(app, topic);
  if (command == nullptr) {
    return Errorf(absl::StatusCode::kInvalidArgument, "there is no command %s; see walferry help", topic);
  }
  context.out << command->help(app.get_name() + " [GLOBAL]");
  return ExitCode::kDone;
}

}  // namespace

void RegisterHelp(CommandSet& commands) {
  auto topic = std::make_shared<std::string>();
  const CLI::App& app = commands.app();
  CLI::App& command =
      commands.Add({.name = "help",
                    .summary = "Explain walferry, or one command with examples",
                    .examples = "  walferry help\n  walferry help check"},
                   [topic, &app](const CommandContext& context) { return Help(app, *topic, context); });
  command.add_option("COMMAND", *topic, "The command to explain");
}

}  // namespace walferry
