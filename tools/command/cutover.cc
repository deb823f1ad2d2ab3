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
  std::vector<std::string> accepted;
  bool dry_run = false;
};

std::string CheckKind(const std::string& kind) {
  if (CanBeAccepted(kind)) return "";
  return "\"" + kind + "\" is not a reason that can be accepted: " + AcceptableKinds();
}

nlohmann::ordered_json PauseToJson(const WritePause& pause) {
  return {{"drain_seconds", absl::ToDoubleSeconds(pause.drain)},
          {"proof_seconds", absl::ToDoubleSeconds(pause.proof)},
          {"objects_seconds", absl::ToDoubleSeconds(pause.objects)},
          {"sequences_seconds", absl::ToDoubleSeconds(pause.sequences)}};
}

void PrintJson(const CutoverReport& report, const CommandContext& context) {
  nlohmann::ordered_json json = {{"was_switched", report.was_switched},
                                 {"marker", nullptr},
                                 {"position", report.position.ToString()},
                                 {"write_pause_seconds", nullptr},
                                 {"write_pause", nullptr},
                                 {"sequences_set", nullptr}};
  if (!report.was_switched) {
    json["marker"] = report.marker.ToString();
    json["write_pause_seconds"] = absl::ToDoubleSeconds(report.pause.total);
    json["write_pause"] = PauseToJson(report.pause);
    json["sequences_set"] = report.sequences_set;
  }
  json["sequences_missing"] = nlohmann::json::array();
  for (const TableName& name : report.sequences_missing) json["sequences_missing"].push_back(name.ToString());
  json["left_over"] = nlohmann::json::array();
  for (const Leftover& leftover : report.leftovers) {
    json["left_over"].push_back({{"text", leftover.text}, {"command", leftover.command}});
  }
  context.out << json.dump() << "\n";
}

std::string SwitchText(const CutoverReport& report) {
  if (report.was_switched) {
    return absl::StrFormat("The switch came about in an earlier run, at %s; %s.\n",
                           report.position.ToString(),
                           report.leftovers.empty() ? "what that had left over is done now"
                                                    : "of what that had left over something remains");
  }
  const WritePause& pause = report.pause;
  return absl::StrFormat(
      "Cut over at %s: everything that the source wrote before is durable on the target, with constraints, "
      "triggers and %d sequences.\nWrite pause: %s (drain %s, proof that writes had stopped %s, schema %s, "
      "sequences %s).\n",
      report.position.ToString(), report.sequences_set, FormatTimeSpan(pause.total),
      FormatTimeSpan(pause.drain), FormatTimeSpan(pause.proof), FormatTimeSpan(pause.objects),
      FormatTimeSpan(pause.sequences));
}

void Print(const CutoverReport& report, const CommandContext& context) {
  if (context.globals.json) return PrintJson(report, context);
  context.out << SwitchText(report);
  for (const Leftover& leftover : report.leftovers) {
    context.out << absl::StrFormat("Left over: %s\n  run on the target: %s\n", leftover.text,
                                   leftover.command);
  }
  context.out << "Point the application to the target now; walferry cleanup removes slot and publication "
                 "afterwards.\n";
}

nlohmann::ordered_json ForecastToJson(const CutoverForecast& forecast) {
  nlohmann::ordered_json json = {{"can_cut_over", forecast.reasons.empty()},
                                 {"reasons", nlohmann::json::array()}};
  for (const GateReason& reason : forecast.reasons) {
    json["reasons"].push_back({{"kind", reason.kind}, {"text", reason.text}, {"command", reason.command}});
  }
  json["estimate"] = nullptr;
  if (!forecast.can_begin) return json;
  json["estimate"] = {{"write_pause_seconds", absl::ToDoubleSeconds(forecast.pause)},
                      {"lag_bytes", forecast.lag_bytes},
                      {"objects", forecast.objects},
                      {"sequences", forecast.sequences},
                      {"reading_sequences_seconds", absl::ToDoubleSeconds(forecast.reading_sequences)},
                      {"validations_afterwards", forecast.validations},
                      {"refreshes_afterwards", forecast.refreshes},
                      {"event_triggers_afterwards", forecast.event_triggers}};
  return json;
}

void PrintForecast(const CutoverForecast& forecast, const CommandContext& context) {
  if (context.globals.json) {
    context.out << ForecastToJson(forecast).dump() << "\n";
    return;
  }
  for (const GateReason& reason : forecast.reasons) {
    context.out << absl::StrFormat("%s: %s\n  run %s\n", reason.kind, reason.text, reason.command);
  }
  if (!forecast.can_begin) return;
  context.out << absl::StrFormat(
      "%s\nThe target is %s behind. The write pause would take about %s: the rest of the stream, the proof "
      "that "
      "nothing follows, %d schema objects and %d sequences (read in %s). After it: %d foreign keys are "
      "validated, %d materialized views refreshed, %d event triggers made.\n",
      forecast.reasons.empty() ? "Nothing stands in the way of a cutover." : "A cutover would be refused.",
      FormatBytes(static_cast<double>(forecast.lag_bytes)), FormatTimeSpan(forecast.pause), forecast.objects,
      forecast.sequences, FormatTimeSpan(forecast.reading_sequences), forecast.validations,
      forecast.refreshes, forecast.event_triggers);
}

absl::StatusOr<ExitCode> RunCutover(const CutoverFlags& flags, const CommandContext& context) {
  CutoverOptions options;
  WF_ASSIGN_OR_RETURN(options.migration, MakeMigrationOptions(context.globals, flags.migration));
  options.timeout = flags.timeout;
  options.accepted = flags.accepted;
  if (flags.dry_run) {
    WF_ASSIGN_OR_RETURN(const CutoverForecast forecast, ForecastCutover(options, context.stop));
    PrintForecast(forecast, context);
    WF_RETURN_IF_ERROR(RefusalOf(forecast.reasons));
    return ExitCode::kDone;
  }
  absl::StatusOr<CutoverReport> done = Cutover(options, context.stop);
  // Whoever reads the exit code must not take this for a switch.
  if (absl::IsCancelled(done.status()) && context.stop.requested()) {
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "stopped before the switch: walferry migrate goes on with migration %s, or run cutover again",
        context.globals.name);
  }
  WF_ASSIGN_OR_RETURN(const CutoverReport report, std::move(done));
  for (const TableName& sequence : report.sequences_missing) {
    LogWarn("sequence %s is not on the target", sequence.ToString());
  }
  for (const Leftover& leftover : report.leftovers) LogWarn("%s: run %s", leftover.text, leftover.command);
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
  AddDurationOption(
      command, "--timeout", flags->timeout,
      "For open transactions of the source to end, for the target to reach the marker, and for a "
      "materialized view to be refreshed; what takes longer is given up");
  command
      .add_option("--accept", flags->accepted,
                  "Cut over in spite of one kind of reason that the gate names; may be given several times")
      ->check(CLI::Validator(CheckKind, "KIND"))
      ->type_name("");
  command.add_flag("--dry-run", flags->dry_run,
                   "Only look whether a cutover could begin, and what its write pause would take");
  command
      .add_option("--index-jobs", flags->migration.copy.index_jobs, "Constraints created at the same time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
}

}  // namespace walferry
