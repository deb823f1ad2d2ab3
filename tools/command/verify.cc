#include "tools/verify.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/command/commands.h"
#include "tools/log.h"
#include "tools/option.h"
#include "tools/quantity.h"

namespace walferry {
namespace {

struct VerifyFlags {
  int jobs = 2;
  int differences = 20;
  std::vector<std::string> accepted;
  absl::Duration timeout = absl::Minutes(2);
};

std::string ReportToJson(const VerifyReport& report) {
  nlohmann::ordered_json json = {{"ok", report.ok()}, {"position", report.position.ToString()}};
  json["tables"] = nlohmann::json::array();
  for (const TableVerdict& verdict : report.tables) {
    nlohmann::ordered_json table = {{"name", verdict.table.ToString()},
                                    {"rows_source", verdict.source.rows},
                                    {"rows_target", verdict.target.rows},
                                    {"equal", verdict.equal},
                                    {"missing_on", verdict.missing_on},
                                    {"columns_source_only", verdict.columns_source_only},
                                    {"columns_target_only", verdict.columns_target_only},
                                    {"differences", nlohmann::json::array()}};
    if (verdict.missing_on.empty()) table["missing_on"] = nullptr;
    for (const RowDifference& difference : verdict.differences) {
      table["differences"].push_back({{"key", difference.key}, {"kind", difference.kind}});
    }
    json["tables"].push_back(std::move(table));
  }
  json["not_compared"] = nlohmann::json::array();
  for (const CatalogDifference& difference : report.not_compared) {
    json["not_compared"].push_back({{"kind", difference.kind},
                                    {"object", difference.object},
                                    {"text", difference.text},
                                    {"command", difference.command}});
  }
  return json.dump();
}

void AppendColumns(std::string& text, const std::vector<std::string>& columns, std::string_view side) {
  for (const std::string& column : columns) {
    absl::StrAppendFormat(&text, "               column %s is on the %s only\n", column, side);
  }
}

std::string ReportToText(const VerifyReport& report) {
  std::string text;
  std::size_t width = 0;
  std::int64_t rows = 0;
  std::int64_t different = 0;
  for (const TableVerdict& verdict : report.tables) width = std::max(width, verdict.table.ToString().size());
  for (const TableVerdict& verdict : report.tables) {
    rows += verdict.source.rows;
    if (verdict.equal) {
      absl::StrAppendFormat(&text, "  equal      %-*s  %s rows\n", static_cast<int>(width),
                            verdict.table.ToString(), FormatCount(verdict.source.rows));
      continue;
    }
    ++different;
    if (!verdict.missing_on.empty()) {
      absl::StrAppendFormat(&text, "  DIFFERENT  %-*s  is not on the %s\n", static_cast<int>(width),
                            verdict.table.ToString(), verdict.missing_on);
      continue;
    }
    absl::StrAppendFormat(&text, "  DIFFERENT  %-*s  %s rows on the source, %s on the target\n",
                          static_cast<int>(width), verdict.table.ToString(), FormatCount(verdict.source.rows),
                          FormatCount(verdict.target.rows));
    AppendColumns(text, verdict.columns_source_only, "source");
    AppendColumns(text, verdict.columns_target_only, "target");
    for (const RowDifference& difference : verdict.differences) {
      absl::StrAppendFormat(&text, "               %s %s\n", difference.kind, difference.key);
    }
  }
  for (const CatalogDifference& difference : report.not_compared) {
    absl::StrAppendFormat(&text, "  NOT COMPARED  %s\n", difference.text);
  }
  if (different == 0 && !report.not_compared.empty()) {
    absl::StrAppendFormat(&text, "What was compared is equal: %d tables, %s rows, at %s.\n",
                          report.tables.size(), FormatCount(rows), report.position.ToString());
  } else if (different == 0) {
    absl::StrAppendFormat(&text, "Both sides are equal: %d tables, %s rows, at %s.\n", report.tables.size(),
                          FormatCount(rows), report.position.ToString());
  } else {
    absl::StrAppendFormat(&text, "%d of %d tables differ at %s.\n", different, report.tables.size(),
                          report.position.ToString());
  }
  return text;
}

absl::StatusOr<ExitCode> RunVerify(const VerifyFlags& flags, const CommandContext& context) {
  VerifyOptions options;
  options.source = context.globals.source;
  options.target = context.globals.target;
  options.name = context.globals.name;
  WF_ASSIGN_OR_RETURN(options.tables,
                      TableFilter::Parse(context.globals.tables, context.globals.exclude_tables));
  options.jobs = flags.jobs;
  options.differences_limit = flags.differences;
  options.timeout = flags.timeout;
  options.accepted = flags.accepted;
  const absl::StatusOr<VerifyReport> report = Verify(options, context.stop, [](const TableVerdict& verdict) {
    LogDebug("%s is %s", verdict.table.ToString(), verdict.equal ? "equal" : "different");
  });
  if (!report.ok()) {
    if (context.stop.requested()) return report.status();
    LogFatal(MessageOf(report.status()));
    return ExitCode::kCouldNotCheck;
  }
  context.out << (context.globals.json ? ReportToJson(*report) + "\n" : ReportToText(*report));
  if (!report->ok()) return ExitCode::kDifferences;
  if (report->not_compared.empty()) return ExitCode::kDone;
  const CatalogDifference& first = report->not_compared.front();
  const std::string otherwise = first.kind == kUnreadable ? "" : " (or --accept " + first.kind + ")";
  LogFatal(absl::StrFormat("not everything could be compared: %s: run %s%s", first.text, first.command,
                           otherwise));
  return ExitCode::kCouldNotCheck;
}

}  // namespace

void RegisterVerify(CommandSet& commands) {
  auto flags = std::make_shared<VerifyFlags>();
  CLI::App& command =
      commands.Add({.name = "verify",
                    .summary = "Compare what both sides hold, while writes to the source are stopped",
                    .examples = "  walferry verify --source service=shop --target service=new_shop\n"
                                "  walferry verify --source service=shop --target service=new_shop --json",
                    .needs_source = true,
                    .needs_target = true},
                   [flags](const CommandContext& context) { return RunVerify(*flags, context); });
  command.add_option("--jobs", flags->jobs, "Tables compared at the same time")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command.add_option("--differences", flags->differences, "Rows to name per table that differs")
      ->check(CLI::Range(0, 10000))
      ->capture_default_str();
  command
      .add_option("--accept", flags->accepted,
                  "What is new on the source and not part of the migration is no reason to fail")
      ->check(CLI::IsMember({"new-tables", "new-partitions"}))
      ->type_name("KIND");
  AddDurationOption(command, "--timeout", flags->timeout,
                    "How long a running stream may take to reach the source's position");
}

}  // namespace walferry
