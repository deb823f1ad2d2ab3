#include "tools/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include "stream/connection.h"
#include "tools/command.h"
#include "tools/command/commands.h"
#include "tools/config.h"
#include "tools/log.h"
#include "tools/option.h"
#include "tools/output.h"

namespace walferry {
namespace {

constexpr std::size_t kLeastMemoryBytes = std::size_t{32} << 20;

constexpr const char* kFooter =
    "walferry help COMMAND explains a command, with examples.\n"
    "\n"
    "Options may also stand in a TOML file (--config), one key each: those above at the top, those of a "
    "command in a\n"
    "table named after it. The command line wins over the environment, the environment over the file.\n"
    "  source = \"service=shop\"\n"
    "  [migrate]\n"
    "  copy-jobs = 8\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 check found blockers, 4 verify found differences, 5 "
    "could not check\n"
    "or verify, 75 gave up for now (run it again). The first SIGINT or SIGTERM ends cleanly, the second at "
    "once.";

std::string EnvironmentOr(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

// The XDG base directory specification's place for state.
std::string DefaultWorkDir() {
  return EnvironmentOr("XDG_STATE_HOME", EnvironmentOr("HOME", "/tmp") + "/.local/state") + "/walferry";
}

// As CLI11's checks: the complaint, or nothing. The slot is the strictest of what carries the name.
std::string IsSlotName(const std::string& name) {
  const bool fits = !name.empty() && name.size() <= 63 &&
                    name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
  return fits ? "" : "\"" + name + "\" is not of 1 to 63 lower case letters, digits and underscores";
}

void AddGlobalOptions(CLI::App& app, Globals& globals) {
  app.add_option("--source", globals.source, "The source: libpq conninfo string or URI")
      ->envname("WALFERRY_SOURCE")
      ->type_name("CONNINFO");
  app.add_option("--target", globals.target, "The target, likewise")
      ->envname("WALFERRY_TARGET")
      ->type_name("CONNINFO");
  app.add_option("--name", globals.name, "Name of the migration; slot, publication and state carry it")
      ->envname("WALFERRY_NAME")
      ->capture_default_str()
      ->check(IsSlotName)
      ->type_name("NAME");
  app.add_option("--tables", globals.tables, "Only these tables: comma list of schema.table, * is a wildcard")
      ->type_name("LIST")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--exclude-tables", globals.exclude_tables, "All but these tables, written the same way")
      ->type_name("LIST")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("--json", globals.json, "The result as JSON on stdout");
  AddBytesOption(app, "--memory", globals.memory_bytes, kLeastMemoryBytes, "Memory budget")
      ->envname("WALFERRY_MEMORY")
      ->default_str("512MB")
      ->run_callback_for_default(false);
  app.add_option("--work-dir", globals.work_dir, "Where transactions that do not fit into memory are spooled")
      ->envname("WALFERRY_DIR")
      ->default_str("$XDG_STATE_HOME/walferry")
      ->type_name("DIR");
  AddDurationOption(app, "--retry-for", globals.retry_for,
                    "How long to try again after a connection was lost")
      ->default_str("10min");
  app.add_flag("--allow-insecure-target", globals.allow_insecure_target,
               "Accept a target on another machine without verified TLS");
  app.add_option("--log-level", globals.log_level, "Least level that is logged to stderr")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  app.add_option("--log-format", globals.log_format, "Form of the log")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

void AddConfigOption(CLI::App& app) {
  // CLI11 does not ask the environment for this option, so it becomes the default.
  const std::string from_environment = EnvironmentOr("WALFERRY_CONFIG", "");
  app.set_config("--config", from_environment, "TOML file with options (Env:WALFERRY_CONFIG)",
                 !from_environment.empty())
      ->type_name("FILE");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.config_formatter(std::make_shared<TomlConfig>(app));
}

// Puts asterisks over `secret` wherever it stands in the arguments; over the whole value where it is not
// found literally (it may be percent-encoded in a URI).
void HidePassword(int argc, char** argv, const std::string& conninfo) {
  const absl::StatusOr<ChildConninfo> child = ConninfoForChild(conninfo);
  if (!child.ok() || child->password.empty()) return;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const std::size_t value = argument.find(conninfo);
    if (value == std::string_view::npos) continue;
    const std::size_t secret = conninfo.find(child->password);
    const bool literal = secret != std::string::npos;
    char* begin = argv[i] + value + (literal ? secret : 0);
    std::fill(begin, begin + (literal ? child->password.size() : conninfo.size()), '*');
  }
}

// A result that could not be written is a failure, unless its reader went away.
ExitCode FlushResult(ExitCode code) {
  if (FlushOutput(std::cout) != Flushed::kFailed) return code;
  LogFatal("cannot write the result: is the disk full?");
  return ExitCode::kFailed;
}

// CLI11 reports wrong usage, and requests for help, by exceptions.
int ReportParseError(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(error);
  LogFatal(error.what());
  return static_cast<int>(ExitCode::kUsage);
}

int ReportUnexpected(const CLI::App& app) {
  const std::vector<std::string> unexpected = app.remaining(/*recurse=*/true);
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  LogFatal(absl::StrFormat("unexpected argument %s: see walferry help%s",
                           unexpected.empty() ? "" : unexpected.front(),
                           chosen.empty() ? "" : " " + chosen.front()->get_name()));
  return static_cast<int>(ExitCode::kUsage);
}

}  // namespace

int RunCli(int argc, char** argv, const StopSignal& stop) {
  CLI::App app(
      "Moves a live PostgreSQL database into another one, without downtime and without losing a change.",
      "walferry");
  Globals globals;
  globals.work_dir = DefaultWorkDir();
  AddGlobalOptions(app, globals);
  AddConfigOption(app);
  app.set_version_flag("--version", "walferry " WALFERRY_VERSION);
  app.require_subcommand(0, 1);
  app.footer(kFooter);
  app.get_formatter()->label("SUBCOMMAND", "COMMAND");
  CommandSet commands(app);
  RegisterCommands(commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ExtrasError&) {
    return ReportUnexpected(app);
  } catch (const CLI::ParseError& error) {
    return ReportParseError(app, error);
  }

  HidePassword(argc, argv, globals.source);
  HidePassword(argc, argv, globals.target);
  SetUpLog(globals.log_level, globals.log_format);
  const absl::StatusOr<ExitCode> result = commands.RunChosen({globals, stop, std::cout});
  if (result.ok()) return static_cast<int>(FlushResult(*result));
  const ExitCode code = ExitCodeOf(result.status(), stop.requested());
  if (code != ExitCode::kDone) LogFatal(MessageOf(result.status()));
  return static_cast<int>(code);
}

}  // namespace walferry
