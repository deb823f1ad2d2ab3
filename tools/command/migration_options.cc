#include "tools/command/migration_options.h"

#include <optional>

#include "absl/strings/numbers.h"
#include "tools/option.h"

namespace walferry {
namespace {

// "Caught up" means: what the source had written this long ago is on the target.
constexpr absl::Duration kCaughtUpFreshness = absl::Seconds(2);

std::string CheckUntil(const std::string& text) {
  if (text == "caught-up" || Lsn::Parse(text).ok()) return "";
  return "\"" + text + "\" is neither caught-up nor an LSN such as 16/B374D848";
}

std::optional<int> ParseLanes(const std::string& text) {
  int lanes = 0;
  if (text == "auto") return lanes;
  if (!absl::SimpleAtoi(text, &lanes) || lanes < 1 || lanes > 16) return std::nullopt;
  return lanes;
}

std::string CheckLanes(const std::string& text) {
  if (ParseLanes(text)) return "";
  return "\"" + text + "\" is neither auto nor a number from 1 to 16";
}

}  // namespace

void AddBinaryFlag(CLI::App& command, MigrationFlags& flags) {
  command
      .add_option("--binary", flags.binary,
                  "Binary values, which need equal column types on both sides; auto: where they are equal")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
}

void AddCatalogFlags(CLI::App& command, CatalogFlags& flags) {
  command
      .add_option(
          "--new-partitions", flags.new_partitions,
          "Partitions that the source gets under way: make them on the target and follow them, or stop")
      ->check(CLI::IsMember({"create", "stop"}))
      ->capture_default_str();
  command
      .add_option(
          "--no-identity", flags.no_identity,
          "Tables without replica identity: do not begin, or publish their inserts and truncations only")
      ->check(CLI::IsMember({"block", "insert-only"}))
      ->capture_default_str();
  AddBytesOption(
      command, "--max-slot-wal", flags.max_slot_wal_bytes, 1 << 20,
      "End the migration and drop its slot before that makes the source keep more WAL; default: no limit");
}

void AddCopyFlags(CLI::App& command, CopyFlags& flags) {
  command
      .add_option(
          "--schema", flags.schema,
          "copy: bring the schema over with pg_dump; none: the tables are on the target already, empty")
      ->check(CLI::IsMember({"copy", "none"}))
      ->capture_default_str();
  command
      .add_option("--large-objects", flags.large_objects,
                  "Large objects, which are not carried: do not begin, or leave them to be copied by hand")
      ->check(CLI::IsMember({"block", "leave"}))
      ->capture_default_str();
  command.add_option("--copy-jobs", flags.copy_jobs, "Workers of the first copy")
      ->check(CLI::Range(1, 256).description("1-256"))
      ->type_name("N")
      ->capture_default_str();
  command.add_option("--index-jobs", flags.index_jobs, "Indexes and constraints built at the same time")
      ->check(CLI::Range(1, 256).description("1-256"))
      ->type_name("N")
      ->capture_default_str();
}

void AddStreamFlags(CLI::App& command, StreamFlags& flags) {
  command
      .add_option("--lanes", flags.lanes,
                  "Target connections that apply side by side. 1 keeps every state that the target shows a "
                  "state of the source; "
                  "changed only where all stand at the same position")
      ->check(CLI::Validator(CheckLanes, "auto|1-16"))
      ->capture_default_str();
  command
      .add_option(
          "--streaming", flags.streaming,
          "Take large transactions while they are in progress (14+) and keep them here until they commit, "
          "instead of on the source's disk; auto: off, which is as soon done and needs less memory")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
  AddBytesOption(command, "--batch-bytes", flags.batch_bytes, 64 << 10,
                 "Close a batch of source transactions at this size");
  command
      .add_option("--on-missing-row", flags.on_missing_row,
                  "When an UPDATE or DELETE finds no row: count and report it, or stop")
      ->check(CLI::IsMember({"count", "stop"}))
      ->capture_default_str();
  command
      .add_option("--on-conflict", flags.on_conflict,
                  "When the target refuses a change (a duplicate key, say): stop, or skip that change, count "
                  "and log it")
      ->check(CLI::IsMember({"stop", "skip-logged"}))
      ->capture_default_str();
  command
      .add_option("--metrics-listen", flags.metrics_listen,
                  "Serve /metrics (Prometheus) and /healthz there while this runs")
      ->type_name("HOST:PORT");
}

void AddUntilFlag(CLI::App& command, StreamFlags& flags) {
  command
      .add_option(
          "--until", flags.until,
          "End when the target has caught up (caught-up), or has everything before an LSN; default: never")
      ->check(CLI::Validator(CheckUntil, "caught-up|LSN"));
}

absl::StatusOr<MigrationOptions> MakeMigrationOptions(const Globals& globals, const MigrationFlags& flags) {
  MigrationOptions options;
  options.source = globals.source;
  options.target = globals.target;
  options.name = globals.name;
  WF_ASSIGN_OR_RETURN(options.tables, TableFilter::Parse(globals.tables, globals.exclude_tables));
  options.allow_insecure_target = globals.allow_insecure_target;
  options.copy_schema = flags.copy.schema == "copy";
  options.creates_partitions = flags.catalog.new_partitions == "create";
  options.inserts_only = flags.catalog.no_identity == "insert-only";
  options.leaves_large_objects = flags.copy.large_objects == "leave";
  options.max_slot_wal_bytes = static_cast<std::int64_t>(flags.catalog.max_slot_wal_bytes);
  options.copy_jobs = flags.copy.copy_jobs;
  options.index_jobs = flags.copy.index_jobs;
  options.copy_format = flags.binary == "on"    ? CopyFormat::kBinary
                        : flags.binary == "off" ? CopyFormat::kText
                                                : CopyFormat::kAuto;
  options.follow.source = globals.source;
  options.follow.target = globals.target;
  options.follow.memory_bytes = globals.memory_bytes;
  options.follow.work_dir = globals.work_dir;
  options.follow.lanes = ParseLanes(flags.stream.lanes).value_or(0);
  options.follow.wishes.proto_version = 4;
  options.follow.wishes.binary = flags.binary == "on";
  options.follow.binary_if_it_suits = flags.binary == "auto";
  options.follow.wishes.streaming = flags.stream.streaming == "on" ? Streaming::kOn : Streaming::kOff;
  options.follow.on_missing_row =
      flags.stream.on_missing_row == "stop" ? OnMissingRow::kStop : OnMissingRow::kCount;
  options.follow.on_conflict =
      flags.stream.on_conflict == "stop" ? OnConflict::kStop : OnConflict::kSkipLogged;
  options.follow.batch_bytes = flags.stream.batch_bytes;
  options.follow.retry_for = globals.retry_for;
  return options;
}

absl::StatusOr<FollowUntil> MakeUntil(const Globals& globals, const StreamFlags& flags) {
  if (flags.until.empty()) return FollowUntil(FollowForever);
  if (flags.until == "caught-up") return FollowUntilCaughtUp(globals.source, kCaughtUpFreshness);
  WF_ASSIGN_OR_RETURN(const Lsn lsn, Lsn::Parse(flags.until));
  return FollowUntilLsn(lsn);
}

}  // namespace walferry
