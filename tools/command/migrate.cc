#include <CLI/CLI.hpp>

#include "tools/command/commands.h"
#include "tools/command/migration_options.h"
#include "tools/command/preflight.h"
#include "tools/command/stream_run.h"
#include "tools/cutover_leftovers.h"
#include "tools/log.h"

namespace walferry {
namespace {

absl::StatusOr<ExitCode> Migrate(const MigrationFlags& flags, const CommandContext& context) {
  WF_ASSIGN_OR_RETURN(MigrationOptions options, MakeMigrationOptions(context.globals, flags));
  options.copies_again = true;
  WF_ASSIGN_OR_RETURN(Migration migration, Migration::Open(options, context.stop));
  if (!migration.exists()) {
    WF_ASSIGN_OR_RETURN(const bool clear, NothingBlocks(context, options, /*streams=*/true));
    if (!clear) return ExitCode::kBlockers;
  } else if (migration.record().phase == Phase::kDone) {
    WF_ASSIGN_OR_RETURN(const std::vector<Leftover> leftovers,
                        ListLeftovers(migration.target(), options.name));
    if (!leftovers.empty()) {
      return Errorf(absl::StatusCode::kFailedPrecondition,
                    "migration %s was cut over, but this is left over: %s: run walferry cutover again",
                    options.name, Describe(leftovers));
    }
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "migration %s was cut over: there is nothing left to stream; walferry cleanup removes what it left",
        options.name);
  } else {
    WF_RETURN_IF_ERROR(migration.CheckStreams());
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
  AddCatalogFlags(command, flags->catalog);
  AddStreamFlags(command, flags->stream);
  AddUntilFlag(command, flags->stream);
}

}  // namespace walferry
