#include <CLI/CLI.hpp>

#include "tools/command/commands.h"
#include "tools/command/migration_options.h"
#include "tools/command/preflight.h"
#include "tools/log.h"

namespace walferry {
namespace {

absl::StatusOr<ExitCode> Copy(const MigrationFlags& flags, const CommandContext& context) {
  WF_ASSIGN_OR_RETURN(const MigrationOptions options, MakeMigrationOptions(context.globals, flags));
  WF_ASSIGN_OR_RETURN(Migration migration, Migration::Open(options, context.stop));
  if (!migration.exists()) {
    WF_ASSIGN_OR_RETURN(const bool clear, NothingBlocks(context, options, /*streams=*/false));
    if (!clear) return ExitCode::kBlockers;
  }
  WF_RETURN_IF_ERROR(migration.CopyOnce());
  LogInfo("copied; nothing of the copy is left behind on the source");
  return ExitCode::kDone;
}

}  // namespace

void RegisterCopy(CommandSet& commands) {
  auto flags = std::make_shared<MigrationFlags>();
  CLI::App& command = commands.Add(
      {.name = "copy",
       .summary = "Only the first copy: one snapshot, no slot, nothing left behind",
       .examples = "  walferry copy --source service=shop --target service=new_shop\n"
                   "  walferry copy --source service=shop --target service=new_shop --schema none",
       .needs_source = true,
       .needs_target = true},
      [flags](const CommandContext& context) { return Copy(*flags, context); });
  AddBinaryFlag(command, *flags);
  AddCopyFlags(command, flags->copy);
}

}  // namespace walferry
