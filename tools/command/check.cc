#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/check.h"
#include "tools/command/commands.h"
#include "tools/log.h"

namespace walferry {
namespace {

struct CheckFlags {
  std::string schema = "copy";
  std::string no_identity = "block";
  std::string large_objects = "block";
  bool quiet = false;
  bool source_only = false;
};

absl::StatusOr<ExitCode> RunCheck(const CheckFlags& flags, const CommandContext& context) {
  const Globals& globals = context.globals;
  if (globals.target.empty() && !flags.source_only) {
    return absl::InvalidArgumentError(
        "check needs the target: give --target CONNINFO, set WALFERRY_TARGET, or look at one side with "
        "--source-only");
  }
  CheckOptions options{.source = globals.source,
                       .target = flags.source_only ? "" : globals.target,
                       .name = globals.name,
                       .tables = {},
                       .copy_schema = flags.schema == "copy",
                       .allow_insecure_target = globals.allow_insecure_target,
                       .inserts_only = flags.no_identity == "insert-only",
                       .leaves_large_objects = flags.large_objects == "leave"};
  WF_ASSIGN_OR_RETURN(options.tables, TableFilter::Parse(globals.tables, globals.exclude_tables));
  const absl::StatusOr<CheckReport> report = RunChecks(options, context.stop);
  if (!report.ok()) {
    if (context.stop.requested()) return report.status();
    if (globals.json) {
      const nlohmann::ordered_json failure = {{"ok", false},
                                              {"checks", nlohmann::json::array()},
                                              {"error", std::string(MessageOf(report.status()))}};
      context.out << failure.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
    }
    LogFatal(MessageOf(report.status()));
    return ExitCode::kCouldNotCheck;
  }
  context.out << (globals.json ? CheckReportJson(*report) + "\n" : CheckReportText(*report, !flags.quiet));
  return report->ok() ? ExitCode::kDone : ExitCode::kBlockers;
}

}  // namespace

void RegisterCheck(CommandSet& commands) {
  auto flags = std::make_shared<CheckFlags>();
  CLI::App& command =
      commands.Add({.name = "check",
                    .summary = "Look for whatever would stop a migration; changes nothing",
                    .examples = "  walferry check --source service=shop --target service=new_shop\n"
                                "  walferry check --source service=shop --source-only --quiet\n"
                                "  walferry check --source service=shop --target service=new_shop --json",
                    .needs_source = true},
                   [flags](const CommandContext& context) { return RunCheck(*flags, context); });
  command
      .add_option("--schema", flags->schema,
                  "As migrate is going to be run: whether it brings the schema over")
      ->check(CLI::IsMember({"copy", "none"}))
      ->capture_default_str();
  command
      .add_option("--no-identity", flags->no_identity,
                  "As migrate is going to be run: what is done with tables without replica identity")
      ->check(CLI::IsMember({"block", "insert-only"}))
      ->capture_default_str();
  command
      .add_option("--large-objects", flags->large_objects,
                  "As migrate is going to be run: what is done about large objects")
      ->check(CLI::IsMember({"block", "leave"}))
      ->capture_default_str();
  command.add_flag("--source-only", flags->source_only, "Look at the source alone");
  command.add_flag("--quiet", flags->quiet, "Leave out what passed");
}

}  // namespace walferry
