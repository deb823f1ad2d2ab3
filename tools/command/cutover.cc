#include "tools/cutover.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/command/commands.h"
#include "tools/command/migration_options.h"
#include "tools/log.h"
#include "tools/option.h"
#include "tools/quantity.h"

namespace walferry {
namespace {

struct CutoverFlags {
  MigrationFlags migration;
  std::string fence = "none";
  absl::Duration timeout = absl::Minutes(5);
  bool dry_run = false;
};

void Print(const CutoverReport& report, const CommandContext& context) {
  if (context.globals.json) {
    nlohmann::ordered_json json = {{"marker", report.marker.ToString()},
                                   {"position", report.position.ToString()},
                                   {"write_pause_seconds", absl::ToDoubleSeconds(report.write_pause)},
                                   {"sequences_set", report.sequences_set}};
    json["sequences_missing"] = nlohmann::json::array();
    for (const TableName& name : report.sequences_missing)
      json["sequences_missing"].push_back(name.ToString());
    context.out << json.dump() << "\n";
    return;
  }
  context.out << absl::StrFormat(
      "Cut over at %s: everything that the source wrote before is durable on the target, with constraints, "
      "triggers and "
      "%d sequences.\nWrite pause: %s. Point the application to the target now; walferry cleanup removes "
      "slot and "
      "publication afterwards.\n",
      report.position.ToString(), report.sequences_set, FormatTimeSpan(report.write_pause));
}

absl::StatusOr<ExitCode> RunCutover(const CutoverFlags& flags, const CommandContext& context) {
  CutoverOptions options;
  WF_ASSIGN_OR_RETURN(options.migration, MakeMigrationOptions(context.globals, flags.migration));
  options.timeout = flags.timeout;
  if (flags.dry_run) {
    WF_RETURN_IF_ERROR(CheckCutover(options.migration));
    context.out
        << "Nothing stands in the way of a cutover. It would: stop the running walferry, write a marker into "
           "the "
           "source's WAL, drain to it, create what is left of constraints and triggers, set the sequences.\n";
    return ExitCode::kDone;
  }
  WF_ASSIGN_OR_RETURN(const CutoverReport report, Cutover(options, context.stop));
  for (const TableName& sequence : report.sequences_missing) {
    LogWarn("sequence %s is not on the target", sequence.ToString());
  }
  Print(report, context);
  return ExitCode::kDone;
}

}  // namespace

void RegisterCutover(CommandSet& commands) {
  auto flags = std::make_shared<CutoverFlags>();
  CLI::App& command = commands.Add(
      {.name = "cutover",
       .summary =
           "Drain to the source's position, then constraints, triggers and sequences; prints the write pause",
       .examples = "  walferry cutover --source service=shop --target service=new_shop --fence none\n"
                   "  walferry cutover --source service=shop --target service=new_shop --dry-run",
       .needs_source = true,
       .needs_target = true},
      [flags](const CommandContext& context) { return RunCutover(*flags, context); });
  command
      .add_option("--fence", flags->fence,
                  "How writes to the source are stopped; none: you have stopped them, and cutover proves "
                  "that none came")
      ->check(CLI::IsMember({"none"}))
      ->capture_default_str();
  AddDurationOption(command, "--timeout", flags->timeout,
                    "Give up when the target has not reached the marker by then");
  command.add_flag("--dry-run", flags->dry_run, "Only look whether a cutover could begin");
  command
      .add_option("--index-jobs", flags->migration.copy.index_jobs, "Constraints created at the same time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
}

}  // namespace walferry
