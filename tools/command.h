// What a command of `walferry COMMAND` is: a name, options, and a function to run.
//
// A command file (tools/command/NAME.cc) has one public function, RegisterName, that adds the command:
//
//   void RegisterMigrate(CommandSet& commands) {
//     auto options = std::make_shared<MigrateOptions>();
//     CLI::App& command = commands.Add(
//         {.name = "migrate", .summary = "…", .examples = "…", .needs_source = true, .needs_target = true},
//         [options](const CommandContext& context) { return Migrate(*options, context); });
//     command.add_option("--schema", options->schema, "…")->check(CLI::IsMember({"copy", "none"}));
//   }
//
// and is declared in tools/command/commands.h and called in tools/command/commands.cc.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "stream/stop_signal.h"
#include "tools/exit_code.h"

namespace CLI {
class App;
}

namespace walferry {

// The options that hold for every command.
struct Globals {
  std::string source;  // conninfo; may hold a password: show it with DescribeConninfo only.
  std::string target;
  std::string name = "walferry";
  std::vector<std::string> tables;  // As given: see TableFilter.
  std::vector<std::string> exclude_tables;
  bool json = false;
  std::size_t memory_bytes = std::size_t{512} << 20;
  std::string work_dir;  // Never empty when a command runs. Made by whoever writes into it.
  absl::Duration retry_for = absl::Minutes(10);
  bool allow_insecure_target = false;
  std::string log_level = "info";
  std::string log_format = "text";
};

struct CommandContext {
  const Globals& globals;
  const StopSignal& stop;  // Requested by SIGINT and SIGTERM.
  std::ostream& out;       // stdout: the command's result and nothing else. The rest goes to the log.
};

// An error is printed as "walferry: …" and mapped by ExitCodeOf; a command that wants another exit code
// prints its own result and returns the code.
using CommandFunction = std::function<absl::StatusOr<ExitCode>(const CommandContext&)>;

struct CommandDescription {
  std::string name;
  std::string summary;   // One line.
  std::string examples;  // Lines that work as pasted; shown by `walferry help NAME`.
  bool needs_source = false;
  bool needs_target = false;
};

// The parser of the command with this name; nullptr where there is none. Owned by app.
const CLI::App* FindCommand(const CLI::App& app, std::string_view name);

class CommandSet {
 public:
  // app must outlive the set.
  explicit CommandSet(CLI::App& app) : app_(app) {}

  // Returns the command's parser, to add options to.
  CLI::App& Add(CommandDescription description, CommandFunction run);

  // Runs the command that the command line named, once it is parsed.
  absl::StatusOr<ExitCode> RunChosen(const CommandContext& context) const;

  CLI::App& app() const { return app_; }

 private:
  struct Entry {
    CommandDescription description;
    CLI::App* parser;  // Owned by app_.
    CommandFunction run;
  };
  CLI::App& app_;
  std::vector<Entry> entries_;
};

}  // namespace walferry
