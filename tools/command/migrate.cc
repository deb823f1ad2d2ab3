#include <CLI/CLI.hpp>

#include "tools/check.h"
#include "tools/command/commands.h"
#include "tools/command/migration_options.h"
#include "tools/command/stream_run.h"
#include "tools/log.h"

namespace walferry {
namespace {

// Looks before the first trace of the migration is left on either side. True: nothing stands in the way.
absl::StatusOr<bool> CheckFirst(const CommandContext& context, const MigrationOptions& options) {
  CheckOptions check;
  check.source = options.source;
  check.target = options.target;
  check.name = options.name;
  check.tables = options.tables;
  check.copy_schema = options.copy_schema;
  check.allow_insecure_target = options.allow_insecure_target;
  WF_ASSIGN_OR_RETURN(const CheckReport report, RunChecks(check, context.stop));
  for (const Check& found : report.checks) {
    if (found.level == CheckLevel::kPass) continue;
    const LogLevel level = found.level == CheckLevel::kBlock ? LogLevel::kError : LogLevel::kWarn;
    Log(level, found.fix.empty()
                   ? absl::StrFormat("%s: %s", found.subject, found.evidence)
                   : absl::StrFormat("%s: %s. Fix: %s", found.subject, found.evidence, found.fix));
  }
  return report.ok();
}

absl::StatusOr<ExitCode> Migrate(const MigrationFlags& flags, const CommandContext& context) {
  WF_ASSIGN_OR_RETURN(const MigrationOptions options, MakeMigrationOptions(context.globals, flags));
  WF_ASSIGN_OR_RETURN(Migration migration, Migration::Open(options, context.stop));
  if (!migration.exists()) {
    WF_ASSIGN_OR_RETURN(const bool clear, CheckFirst(context, options));
    if (!clear) {
      LogError("the checks found blockers: nothing was changed on either side");
      return ExitCode::kBlockers;
    }
  } else if (migration.record().phase == Phase::kDone) {
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "migration %s was cut over: there is nothing left to stream; walferry cleanup removes what it left",
        options.name);
  } else {
    LogInfo("continuing migration %s in phase %s", options.name, PhaseName(migration.record().phase));
  }
  WF_RETURN_IF_ERROR(migration.PrepareAndCopy());
  return StreamAndReport(flags.stream, context, migration);
}

}  // namespace

void RegisterMigrate(CommandSet& commands) {
  auto flags = std::make_shared<MigrationFlags>();
  CLI::App& command = commands.Add(
      {.name = "migrate",
       .summary = "Everything from check to following the source; run again, it continues",
       .examples = "  walferry migrate --source service=shop --target service=new_shop\n"
                   "  walferry migrate --source service=shop --target service=new_shop --until caught-up\n"
                   "  walferry migrate --source service=shop --target service=new_shop --tables 'public.*' "
                   "--copy-jobs 8",
       .needs_source = true,
       .needs_target = true},
      [flags](const CommandContext& context) { return Migrate(*flags, context); });
  AddBinaryFlag(command, *flags);
  AddCopyFlags(command, flags->copy);
  AddStreamFlags(command, flags->stream);
  AddUntilFlag(command, flags->stream);
}

}  // namespace walferry
