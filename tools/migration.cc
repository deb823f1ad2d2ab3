#include "tools/migration.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "apply/retry.h"
#include "stream/slot.h"
#include "tools/endpoint.h"
#include "tools/last_error.h"
#include "tools/log.h"
#include "tools/replica_identity.h"
#include "tools/table_match.h"

namespace walferry {
namespace {

absl::StatusOr<Connection> Connect(Endpoint endpoint, const std::string& conninfo, const std::string& name,
                                   const StopSignal* stop, bool replication = false) {
  ConnectOptions options;
  options.conninfo = conninfo;
  options.application_name = "walferry " + name;
  options.replication = replication;
  options.stop = stop;
  return ConnectTo(endpoint, options);
}

// One that was killed a moment ago holds the lock until the target's server notices.
// Of the stream in one call, each of which ends because of something that the source's catalog shows.
constexpr int kRunsMax = 1000;

constexpr absl::Duration kLockPatience = absl::Seconds(10);

absl::Status TakeLock(Connection& target, const std::string& name, const StopSignal& stop) {
  const absl::Time deadline = absl::Now() + kLockPatience;
  bool said = false;
  while (true) {
    WF_ASSIGN_OR_RETURN(const bool locked, TryLockMigration(target, name));
    if (locked) return absl::OkStatus();
    if (stop.requested()) return absl::CancelledError("stopped");
    if (absl::Now() > deadline) {
      return Errorf(
          absl::StatusCode::kFailedPrecondition,
          "another walferry is running migration %s: stop it first, or give this one another --name", name);
    }
    if (!std::exchange(said, true)) {
      LogInfo("another walferry holds migration %s: waiting for its end, %s at most", name,
              absl::FormatDuration(kLockPatience));
    }
    pollfd stop_asked = {stop.fd(), POLLIN, 0};
    poll(&stop_asked, 1, 100);
  }
}

}  // namespace

absl::Status CheckTargetIsTrusted(const Connection& target, bool allow_insecure_target) {
  if (allow_insecure_target || target.is_loopback() || target.has_verified_tls()) return absl::OkStatus();
  return Errorf(absl::StatusCode::kFailedPrecondition,
                "the connection to the target %s is not encrypted and verified: add sslmode=verify-full "
                "sslrootcert=… to its conninfo, or accept the risk with --allow-insecure-target",
                target.host());
}

absl::StatusOr<SystemIdentity> IdentifySource(const std::string& conninfo, const std::string& name,
                                              const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Connection replication,
                      Connect(Endpoint::kSource, conninfo, name, &stop, /*replication=*/true));
  return IdentifySystem(replication);
}

absl::StatusOr<Migration> Migration::ConnectSides(MigrationOptions options, const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Connection source, Connect(Endpoint::kSource, options.source, options.name, &stop));
  WF_ASSIGN_OR_RETURN(Connection target, Connect(Endpoint::kTarget, options.target, options.name, nullptr));
  WF_RETURN_IF_ERROR(CheckTargetIsTrusted(target, options.allow_insecure_target));

  return Migration(std::move(options), stop, std::move(source), std::move(target));
}

absl::StatusOr<Migration> Migration::Open(MigrationOptions options, const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Migration migration, ConnectSides(std::move(options), stop));
  const std::string& name = migration.options_.name;
  WF_RETURN_IF_ERROR(TakeLock(migration.target_, name, stop));
  WF_RETURN_IF_ERROR(migration.Load());
  if (!migration.exists_) return migration;
  WF_ASSIGN_OR_RETURN(const bool chooses_anew, migration.CheckChoice());
  if (chooses_anew) WF_RETURN_IF_ERROR(migration.RecordChoice());
  WF_RETURN_IF_ERROR(RequestStop(migration.target_, name, false));
  return migration;
}

absl::Status Migration::CheckOpens(MigrationOptions options, const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Migration migration, ConnectSides(std::move(options), stop));
  WF_RETURN_IF_ERROR(migration.Load());
  return migration.exists_ ? migration.CheckChoice().status() : absl::OkStatus();
}

absl::Status Migration::Load() {
  WF_ASSIGN_OR_RETURN(const bool has_state, StateSchemaExists(target_));
  if (!has_state) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(std::optional<MigrationRecord> record, LoadMigration(target_, options_.name));
  if (!record) return absl::OkStatus();
  record_ = *std::move(record);
  exists_ = true;
  return CheckPinnedIdentity();
}

absl::Status Migration::CheckPinnedIdentity() {
  if (record_.system_id.empty()) {  // `copy` needs no replication connection, so it pins the database alone.
    if (record_.source_database == source_.database()) return absl::OkStatus();
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "migration %s copies database %s, but the source given is database %s: give the same --source, or "
        "another --name",
        record_.name, record_.source_database, source_.database());
  }
  WF_ASSIGN_OR_RETURN(const SystemIdentity identity, IdentifySource(options_.source, options_.name, *stop_));
  if (identity.system_id != record_.system_id || identity.database != record_.source_database) {
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "migration %s moves database %s of system %s, but the source given is database %s of system %s: "
        "give the same --source, or another --name",
        record_.name, record_.source_database, record_.system_id, identity.database, identity.system_id);
  }
  if (identity.timeline != record_.timeline) {
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "the source is on timeline %d, migration %s began on timeline %d: a standby was promoted or a "
        "backup restored, so changes may be missing; run cleanup and migrate again",
        identity.timeline, record_.name, record_.timeline);
  }
  return absl::OkStatus();
}

// The choice of tables is the migration's. Another one is taken over where it chooses the same of them, and
// more may be left out of what is not migrated.
absl::StatusOr<bool> Migration::CheckChoice() {
  WF_ASSIGN_OR_RETURN(const TableFilter recorded, TableFilter::FromText(record_.choice));
  TableFilter given = std::exchange(options_.tables, recorded);
  if (!given.has_inclusions()) given = recorded.Without(given);
  if (given.selects_all() || given.ToText() == record_.choice) return false;
  WF_ASSIGN_OR_RETURN(const std::vector<SourceTable> tables, ListSourceTables(source_));
  WF_ASSIGN_OR_RETURN(const std::vector<TableRecord> records, Tables());
  const auto refuse = [&](const TableName& table, std::string_view is) {
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "table %s %s migration %s, and --tables or --exclude-tables say otherwise: leave these options "
        "out, or begin another migration with another --name",
        table.ToString(), is, record_.name);
  };
  const auto is_recorded = [&](const TableName& name) {
    return std::any_of(records.begin(), records.end(), [&](const TableRecord& record) {
      return record.table == name && record.phase != TablePhase::kDropped;
    });
  };
  for (const SourceTable& table : tables) {
    if (is_recorded(table.name) && !given.Matches(table)) return refuse(table.name, "is part of");
    if (!is_recorded(table.name) && given.Matches(table) && !recorded.Matches(table)) {
      return refuse(table.name, "is not part of");
    }
  }
  options_.tables = given;
  return true;
}

absl::Status Migration::RecordChoice() {
  record_.choice = options_.tables.ToText();
  WF_RETURN_IF_ERROR(UpdateMigration(target_, record_));
  return Note("choice", record_.choice);
}

absl::Status Migration::CheckStreams() const {
  if (!record_.slot.empty()) return absl::OkStatus();
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "%s is a copy that was interrupted, not a migration: finish it with walferry copy, forget it with "
      "walferry cleanup, or choose another --name",
      record_.name);
}

absl::Status Migration::SetPhase(Phase phase) {
  record_.phase = phase;
  WF_RETURN_IF_ERROR(UpdateMigration(target_, record_));
  return Note("phase", std::string(PhaseName(phase)));
}

absl::Status Migration::Note(const std::string& kind, const std::string& detail) {
  return AddEvent(target_, record_.name, kind, detail);
}

absl::Status Migration::AdoptSlot(const std::string& slot, const std::vector<std::string>& publications) {
  const std::string publication = PublicationListText(publications);
  WF_ASSIGN_OR_RETURN(const SystemIdentity identity, IdentifySource(options_.source, options_.name, *stop_));
  WF_ASSIGN_OR_RETURN(const std::optional<SlotInfo> info, InspectSlot(source_, slot));
  if (!info) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "slot %s does not exist on the source: create it with "
                  "pg_create_logical_replication_slot('%s', 'pgoutput') or name another with --slot",
                  slot, slot);
  }
  if (info->plugin != "pgoutput" || info->database != identity.database) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "slot %s is of plugin %s in database %s: walferry needs a pgoutput slot of database %s",
                  slot, info->plugin, info->database, identity.database);
  }
  for (const std::string& one : publications) {
    WF_ASSIGN_OR_RETURN(const bool published, PublicationExists(source_, one));
    if (published) continue;
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "publication %s does not exist on the source: name the one that was there before the slot with "
        "--publication",
        one);
  }
  WF_RETURN_IF_ERROR(CheckPatternsMatch(source_, options_.tables));
  WF_ASSIGN_OR_RETURN(std::vector<TableName> tables, PublishedTables(source_, publications));
  const bool is_empty = tables.empty();
  std::erase_if(tables, [this](const TableName& table) { return !options_.tables.Matches(table); });
  // Tables that come to it later are applied by their names; a choice could not be told from a typo.
  if (is_empty && options_.tables.selects_all()) {
    LogWarn("publication %s has no table yet: of those that come to it, rows from before are not copied",
            publication);
  } else if (tables.empty()) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "publication %s has none of the chosen tables: look at --publication and --tables",
                  publication);
  }
  WF_ASSIGN_OR_RETURN(TablePairs pairs, ReadTablePairs(source_, target_, tables));
  WF_RETURN_IF_ERROR(KeepPublishedColumns(source_, publication, pairs));
  WF_RETURN_IF_ERROR(CheckTablesMatch(pairs));
  WF_ASSIGN_OR_RETURN(const std::vector<PartialIdentity> partial,
                      FindPartialIdentities(source_, tables, publication));
  WF_RETURN_IF_ERROR(CheckIdentitiesAreWhole(partial));
  binary_suits_ = !tables.empty() && BinarySuits(pairs);
  WF_ASSIGN_OR_RETURN(const SourceCatalog catalog, ReadSourceCatalog(source_, "", ""));

  record_ = MigrationRecord{};
  record_.name = options_.name;
  record_.phase = Phase::kCatchUp;
  record_.system_id = identity.system_id;
  record_.timeline = identity.timeline;
  record_.source_database = identity.database;
  record_.slot = slot;
  record_.publication = publication;
  record_.slot_lsn = info->confirmed_flush_lsn;
  record_.confirmed = info->confirmed_flush_lsn;
  record_.choice = options_.tables.ToText();
  WF_RETURN_IF_ERROR(EnsureStateSchema(target_));
  WF_RETURN_IF_ERROR(target_.Execute("BEGIN").status());
  WF_RETURN_IF_ERROR(InsertMigration(target_, record_));
  WF_RETURN_IF_ERROR(InitializeLanes(target_, record_.name, record_.lanes, record_.slot_lsn));
  std::vector<TableRecord> records;
  for (const TableName& table : tables) {
    TableRecord& record = records.emplace_back();
    record.table = table;
    // By which another table under its name is told apart from it.
    if (const SourceRelation* const relation = catalog.FindByName(table)) record.source_oid = relation->oid;
  }
  WF_RETURN_IF_ERROR(AddTables(target_, record_.name, records));
  WF_RETURN_IF_ERROR(target_.Execute("COMMIT").status());
  exists_ = true;
  return absl::OkStatus();
}

absl::StatusOr<FollowResult> Migration::Stream(const FollowUntil& until,
                                               const std::function<void(const RuntimeSnapshot&)>& watch) {
  NoteStreamBegins(target_, record_.name).IgnoreError();
  absl::StatusOr<FollowResult> result = StreamOnAndOn(until, watch);
  if (IsLasting(result.status())) NoteError(result.status());
  return result;
}

// The error itself says more than that it could not be recorded.
void Migration::NoteError(const absl::Status& error) {
  if (target_.alive() && NoteStreamError(target_, record_.name, error).ok()) return;
  absl::StatusOr<Connection> target = Connect(Endpoint::kTarget, options_.target, options_.name, stop_);
  if (target.ok()) NoteStreamError(*target, record_.name, error).IgnoreError();
}

absl::StatusOr<FollowResult> Migration::StreamOnAndOn(
    const FollowUntil& until, const std::function<void(const RuntimeSnapshot&)>& watch) {
  // An older walferry was ended in the middle of its cutover.
  if (record_.phase == Phase::kCutover) WF_RETURN_IF_ERROR(SetPhase(Phase::kCatchUp));
  std::uint64_t changes_before = 0;  // Of the runs before.
  const FollowUntil counted = [&](FollowProgress progress) {
    progress.changes += changes_before;
    return until(progress);
  };
  for (int runs = 0; runs < kRunsMax; ++runs) {
    WF_RETURN_IF_ERROR(WithSlotWatched([this] { return FollowCatalog(); }));
    WF_ASSIGN_OR_RETURN(const RecordedCatalog recorded, LoadRecorded(target_, record_));
    absl::StatusOr<FollowResult> result = StreamOnce(recorded, counted, watch);
    const std::optional<Oid> unexpected = UnexpectedRelation(result.status());
    if (unexpected) {
      WF_RETURN_IF_ERROR(WithSlotWatched([&] { return Understand(*unexpected, result.status()); }));
      continue;
    }
    if (!result.ok()) {
      if (WasOvertaken(recorded, result.status())) continue;
      return result;
    }
    result->last.changes += changes_before;
    if (!result->catalog_changed) return result;
    changes_before = result->last.changes;
  }
  return Errorf(absl::StatusCode::kUnavailable,
                "gave up for now: the source's tables change faster than they can be followed");
}

// Whether tables of the target were renamed or changed while the stream ran, as the source's had been: both
// sides agree on more than what it went by, and a stream that goes by that may not fail.
bool Migration::WasOvertaken(const RecordedCatalog& followed, const absl::Status& error) {
  if (!absl::IsFailedPrecondition(error) || !Reconcile().ok()) return false;
  const absl::StatusOr<std::vector<TableRecord>> tables = Tables();
  const auto is_same = [](const TableRecord& a, const TableRecord& b) {
    return a.table == b.table && a.catalog == b.catalog && a.phase == b.phase;
  };
  return tables.ok() &&
         !std::equal(tables->begin(), tables->end(), followed.tables.begin(), followed.tables.end(), is_same);
}

absl::StatusOr<FollowResult> Migration::StreamOnce(const RecordedCatalog& recorded, const FollowUntil& until,
                                                   const std::function<void(const RuntimeSnapshot&)>& watch) {
  const auto note_catching_up = [this](bool caught_up, Lsn applied) {
    if (record_.phase == Phase::kCatchUp && caught_up && applied >= record_.copy_lsn &&
        SetPhase(Phase::kFollow).ok()) {
      LogInfo("caught up: the target follows the source");
    }
  };
  // The monitor's thread has target_ to itself while the stream runs.
  const auto look = [&](const RuntimeSnapshot& snapshot) {
    note_catching_up(snapshot.wal_end.valid() && snapshot.bottleneck == "none", snapshot.applied);
    watch(snapshot);
  };
  FollowOptions options = options_.follow;
  if (options.binary_if_it_suits) options.wishes.binary = BinarySuitsNow(recorded.tables);
  WF_ASSIGN_OR_RETURN(options.source_notes, ReadNotesOfSource(recorded.tables));
  const FollowedMigration migration{.recorded = recorded,
                                    .followed = MakeFollowedTables(record_, recorded.tables),
                                    .only_listed = record_.owns_publication || !recorded.choice.selects_all(),
                                    .differences = difference_log_};
  absl::StatusOr<FollowResult> result;
  const absl::Status watched = WithSlotWatched([&] {
    result = Follow(options, migration, until, target_, *stop_, look);
    return result.status();
  });
  WF_RETURN_IF_ERROR(watched);
  // A short run ends before the monitor has seen that `until` was reached.
  if (result.ok()) note_catching_up(!result->stopped, result->last.lsn.confirmed);
  return result;
}

// As text all values go. A source that is away is waited for later, and is not asked for anything here.
bool Migration::BinarySuitsNow(const std::vector<TableRecord>& tables) {
  if (binary_suits_) return *std::exchange(binary_suits_, std::nullopt);
  if (tables.empty()) return false;  // What comes later may not suit.
  const std::vector<TableName> names = NamesOf(tables);
  absl::StatusOr<TablePairs> pairs = ReadTablePairs(source_, target_, names);
  if (!pairs.ok() && !source_.alive()) {  // It may have been idle through a long copy.
    absl::StatusOr<Connection> source = Connect(Endpoint::kSource, options_.source, options_.name, stop_);
    if (!source.ok()) return false;
    source_ = *std::move(source);
    pairs = ReadTablePairs(source_, target_, names);
  }
  return pairs.ok() && BinarySuits(*pairs);
}

// A row is not to be looked for by a part of its identity, so a source that is away is waited for.
absl::StatusOr<std::map<TableName, SourceNotes>> Migration::ReadNotesOfSource(
    const std::vector<TableRecord>& tables) {
  std::map<TableName, SourceNotes> notes;
  WF_RETURN_IF_ERROR(RetryFor(options_.follow.retry_for, *stop_, [&]() -> absl::Status {
    if (!source_.alive()) {
      WF_ASSIGN_OR_RETURN(source_, Connect(Endpoint::kSource, options_.source, options_.name, stop_));
    }
    WF_ASSIGN_OR_RETURN(notes, ReadSourceNotes(source_, NamesOf(tables), record_.publication));
    return absl::OkStatus();
  }));
  for (const auto& [table, note] : notes) {
    if (note.unpublished_identity.empty()) continue;
    LogWarn(
        "the stream stops at the first update or delete of %s: its replica identity has a generated column "
        "that is not published (%s)",
        table.ToString(), note.unpublished_identity);
  }
  return notes;
}

}  // namespace walferry
