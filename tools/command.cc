#include "tools/command.h"

#include <CLI/CLI.hpp>
#include <utility>

namespace walferry {

const CLI::App* FindCommand(const CLI::App& app, std::string_view name) {
  const auto commands =
      app.get_subcommands([name](const CLI::App* command) { return command->get_name() == name; });
  return commands.empty() ? nullptr : commands.front();
}

CLI::App& CommandSet::Add(CommandDescription description, CommandFunction run) {
  CLI::App* parser = app_.add_subcommand(description.name, description.summary);
  parser->group("Commands");
  // Global options may stand after the command, too.
  parser->fallthrough();
  if (!description.examples.empty()) parser->footer("Examples:\n" + description.examples);
  entries_.push_back({std::move(description), parser, std::move(run)});
  return *parser;
}

absl::StatusOr<ExitCode> CommandSet::RunChosen(const CommandContext& context) const {
  for (const Entry& entry : entries_) {
    if (!entry.parser->parsed()) continue;
    if (entry.description.needs_source && context.globals.source.empty()) {
      return Errorf(absl::StatusCode::kInvalidArgument,
                    "%s needs the source: give --source CONNINFO or set WALFERRY_SOURCE",
                    entry.description.name);
    }
    if (entry.description.needs_target && context.globals.target.empty()) {
      return Errorf(absl::StatusCode::kInvalidArgument,
                    "%s needs the target: give --target CONNINFO or set WALFERRY_TARGET",
                    entry.description.name);
    }
    return entry.run(context);
  }
  return absl::InvalidArgumentError("no command given; see walferry help");
}

}  // namespace walferry
