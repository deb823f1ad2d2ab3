#include <CLI/CLI.hpp>
#include <map>

#include "stream/publication.h"
#include "tools/command/commands.h"
#include "tools/dump.h"
#include "tools/option.h"

namespace walferry {
namespace {

struct DumpFlags {
  std::string slot;
  std::vector<std::string> publications;
  std::string format = "text";
  std::string until;
  bool messages = true;
  std::string streaming = "off";
  DumpOptions options;
};

absl::StatusOr<ExitCode> RunDump(const DumpFlags& flags, const CommandContext& context) {
  const Globals& globals = context.globals;
  DumpOptions options = flags.options;
  options.source = globals.source;
  options.slot = flags.slot;
  WF_ASSIGN_OR_RETURN(options.publications, ParsePublicationLists(flags.publications));
  options.format = globals.json || flags.format == "json" ? DumpFormat::kJson : DumpFormat::kText;
  options.memory_bytes = globals.memory_bytes;
  options.wishes.messages = flags.messages;
  options.wishes.streaming = std::map<std::string, Streaming>{
      {"off", Streaming::kOff},
      {"on", Streaming::kOn},
      {"parallel",
       Streaming::kParallel}}.at(flags.streaming);
  WF_ASSIGN_OR_RETURN(options.tables, TableFilter::Parse(globals.tables, globals.exclude_tables));
  if (!flags.until.empty() && flags.until != "now") {
    WF_ASSIGN_OR_RETURN(options.until, Lsn::Parse(flags.until));
  }
  if (options.follow && !flags.until.empty()) {
    return absl::InvalidArgumentError("--follow has no end and --until sets one: give one of the two");
  }
  if (options.slot.empty()) {
    if (options.consume || options.from) {
      return absl::InvalidArgumentError(
          "--consume and --from need a --slot: the temporary slot of dump begins now");
    }
    // It holds nothing yet, so there is only what comes.
    if (flags.until.empty()) options.follow = true;
  }
  WF_RETURN_IF_ERROR(Dump(options, context.stop, context.out));
  return ExitCode::kDone;
}

void AddProtocolOptions(CLI::App& command, DumpFlags& flags) {
  command
      .add_option("--proto-version", flags.options.proto_version,
                  "Protocol version to ask for; default: the highest that the server speaks")
      ->check(CLI::Range(1, 4))
      ->type_name("N");
  command.add_flag("--binary", flags.options.wishes.binary, "Ask for binary values (14+)");
  command
      .add_option("--streaming", flags.streaming,
                  "Ask for large transactions while they are in progress (14+, parallel 16+)")
      ->check(CLI::IsMember({"off", "on", "parallel"}))
      ->capture_default_str();
  command.add_flag("--messages,!--no-messages", flags.messages, "Logical messages, too (14+); the default");
  command.add_flag("--two-phase", flags.options.wishes.two_phase,
                   "Transactions at PREPARE TRANSACTION (15+); switches the slot over for good");
}

}  // namespace

void RegisterDump(CommandSet& commands) {
  auto flags = std::make_shared<DumpFlags>();
  CLI::App& command = commands.Add(
      {.name = "dump",
       .summary = "Decode a slot's changes and print them; the slot stays where it is",
       .examples =
           "  walferry dump --source service=shop --slot s --publication p\n"
           "  walferry dump --source service=shop --publication p --format json\n"
           "  walferry dump --source service=shop --slot s --publication p --tables public.orders --stats\n"
           "  walferry dump --source service=shop --slot s --publication p --until now --consume",
       .needs_source = true},
      [flags](const CommandContext& context) { return RunDump(*flags, context); });
  command.add_option("--slot", flags->slot, "A pgoutput slot; default: a temporary one, which begins now")
      ->type_name("NAME");
  command.add_option("--publication", flags->publications, "Comma list of publications")
      ->required()
      ->type_name("LIST");
  command.add_option("--format", flags->format, "One line a message: as text, or a JSON object")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command.add_flag("--stats", flags->options.stats,
                   "Messages, bytes and transactions by table and kind instead");
  AddLsnOption(command, "--from", flags->options.from,
               "Begin with what was committed at or after this position");
  command
      .add_option(
          "--until", flags->until,
          "End before what was committed at or after this position; now (the default): the end of the WAL at "
          "the start")
      ->type_name("LSN|now");
  command.add_flag("--follow", flags->options.follow, "Go on until stopped; the default without --slot");
  command.add_option("--xid", flags->options.xid, "Only this transaction")->type_name("XID");
  command.add_flag("--consume", flags->options.consume,
                   "Confirm what was printed, so that the slot moves on");
  AddProtocolOptions(command, *flags);
}

}  // namespace walferry
