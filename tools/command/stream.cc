#include <CLI/CLI.hpp>
#include <algorithm>

#include "stream/publication.h"
#include "tools/command/commands.h"
#include "tools/command/migration_options.h"
#include "tools/command/stream_run.h"

namespace walferry {
namespace {

struct StreamCommandFlags {
  MigrationFlags migration;
  std::string slot;
  std::vector<std::string> publications;
};

absl::Status AdoptOrCompare(const StreamCommandFlags& flags, Migration& migration) {
  const MigrationRecord& record = migration.record();
  WF_ASSIGN_OR_RETURN(std::vector<std::string> publications, ParsePublicationLists(flags.publications));
  std::sort(publications.begin(), publications.end());
  publications.erase(std::unique(publications.begin(), publications.end()), publications.end());
  if (!migration.exists()) {
    if (flags.slot.empty() || publications.empty()) {
      return Errorf(
          absl::StatusCode::kInvalidArgument,
          "there is no migration %s on the target yet: name what to stream with --slot and --publication",
          migration.options().name);
    }
    return migration.AdoptSlot(flags.slot, publications);
  }
  WF_RETURN_IF_ERROR(migration.CheckStreams());
  if ((!flags.slot.empty() && flags.slot != record.slot) ||
      (!publications.empty() && PublicationListText(publications) != record.publication)) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "migration %s streams slot %s with publication %s: give these, or another --name",
                  record.name, record.slot, record.publication);
  }
  if (record.phase < Phase::kCatchUp || record.phase == Phase::kDone) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "migration %s is in phase %s, in which there is nothing to stream: see walferry status",
                  record.name, PhaseName(record.phase));
  }
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> Stream(const StreamCommandFlags& flags, const CommandContext& context) {
  WF_ASSIGN_OR_RETURN(MigrationOptions options, MakeMigrationOptions(context.globals, flags.migration));
  WF_ASSIGN_OR_RETURN(Migration migration, Migration::Open(std::move(options), context.stop));
  WF_RETURN_IF_ERROR(AdoptOrCompare(flags, migration));
  return StreamAndReport(flags.migration.stream, context, migration);
}

}  // namespace

void RegisterStream(CommandSet& commands) {
  auto flags = std::make_shared<StreamCommandFlags>();
  CLI::App& command = commands.Add(
      {.name = "stream",
       .summary = "Only the changes, of a slot and a publication that are there, into tables that are there",
       .examples =
           "  walferry stream --source service=shop --target service=new_shop --slot s --publication p\n"
           "  walferry stream --source service=shop --target service=new_shop --slot s --publication p "
           "--until caught-up",
       .needs_source = true,
       .needs_target = true},
      [flags](const CommandContext& context) { return Stream(*flags, context); });
  command.add_option("--slot", flags->slot, "A pgoutput slot of the source; default: the migration's");
  command
      .add_option("--publication", flags->publications,
                  "Comma list of publications of the source (a name with a comma in double quotes); default: "
                  "the migration's")
      ->allow_extra_args(false)
      ->type_name("LIST");
  AddBinaryFlag(command, flags->migration);
  AddStreamFlags(command, flags->migration.stream);
  AddUntilFlag(command, flags->migration.stream);
}

}  // namespace walferry
