// The migration as a state machine whose state lies on the target. Each phase can be run
// again; `Run` after a crash, on this machine or another, goes on where the state says.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "apply/early_index.h"
#include "apply/schema.h"
#include "apply/state.h"
#include "apply/table_copy.h"
#include "stream/connection.h"
#include "stream/lock_retry.h"
#include "stream/slot.h"
#include "stream/snapshot.h"
#include "stream/stop_signal.h"
#include "tools/catalog_watch.h"
#include "tools/catalog_watcher.h"
#include "tools/follow.h"
#include "tools/table_filter.h"

namespace walferry {

struct MigrationOptions {
  std::string source;  // conninfo
  std::string target;
  std::string name = "walferry";
  TableFilter tables;
  bool allow_insecure_target = false;
  bool copy_schema = true;            // --schema copy
  bool creates_partitions = true;     // --new-partitions create
  bool inserts_only = false;          // --no-identity insert-only
  bool leaves_large_objects = false;  // --large-objects leave
  // What the slot may make the source keep; then it is dropped, and the migration ends. 0: no limit.
  std::int64_t max_slot_wal_bytes = 0;
  // Tables whose rows were rewritten on the source are copied again (`migrate`); else they stay as they are.
  bool copies_again = false;
  int copy_jobs = 4;
  int index_jobs = 4;
  CopyFormat copy_format = CopyFormat::kAuto;
  FollowOptions follow;
};

// What is done about an index or a foreign key that the rows of the target refuse. kLeave: it is named, with
// a query that finds the rows, and made by a later call.
enum class WhenRefused { kLeave, kFail };

// A migration whose lock this process holds. One thread.
class Migration {
 public:
  // Connects to both sides and takes the lock; fails when another walferry runs this migration, or when the
  // state's pinned source is not the one connected to. `stop` must outlive it.
  static absl::StatusOr<Migration> Open(MigrationOptions options, const StopSignal& stop);

  // Whether Open() would refuse these options, for another reason than a walferry that runs. Changes nothing.
  static absl::Status CheckOpens(MigrationOptions options, const StopSignal& stop);

  // False for one that was never begun here.
  bool exists() const { return exists_; }
  const MigrationRecord& record() const { return record_; }
  const MigrationOptions& options() const { return options_; }
  Connection& source() { return source_; }
  Connection& target() { return target_; }

  // From wherever the migration stands to Phase::kCatchUp: publication, slot, schema, copy, indexes.
  absl::Status PrepareAndCopy();

  // Fails where the state is that of an interrupted CopyOnce(), which has nothing to stream.
  absl::Status CheckStreams() const;

  // Makes a migration of an existing slot and publications whose tables are on the target already (`stream`).
  absl::Status AdoptSlot(const std::string& slot, const std::vector<std::string>& publications);

  // Records what both sides agree on by now, follows new partitions, copies again what has to be; fails where
  // the stream must not go on. Stream() does so by itself.
  absl::Status FollowCatalog();

  // Streams until `until`; moves kCatchUp to kFollow when the stream has caught up for the first time.
  // `watch` is called about once a second on another thread, which alone uses target() meanwhile.
  absl::StatusOr<FollowResult> Stream(const FollowUntil& until,
                                      const std::function<void(const RuntimeSnapshot&)>& watch);

  // Schema, data, constraints and sequences under one snapshot and without a slot; leaves no state (`copy`).
  absl::Status CopyOnce();

  // Everything of the schema up to and with stage `last` that is not there yet.
  absl::Status CreateObjectsUpTo(ObjectStage last, WhenRefused when_refused);

  // Takes the list of them from the source again (tools/object_refresh.h).
  absl::Status RefreshObjects();

  absl::Status SetPhase(Phase phase);
  absl::Status Note(const std::string& kind, const std::string& detail);
  absl::StatusOr<std::vector<TableRecord>> Tables() { return LoadTables(target_, record_.name); }

 private:
  Migration(MigrationOptions options, const StopSignal& stop, Connection source, Connection target)
      : options_(std::move(options)), stop_(&stop), source_(std::move(source)), target_(std::move(target)) {}

  static absl::StatusOr<Migration> ConnectSides(MigrationOptions options, const StopSignal& stop);
  // Takes the record of the migration up, where there is one, and compares the options with it.
  absl::Status Load();
  absl::Status CheckPinnedIdentity();
  // Whether the choice is the recorded one, or is to be recorded in its place.
  absl::StatusOr<bool> CheckChoice();
  absl::Status RecordChoice();

  // What is done about the source's catalog (migration_catalog.cc).
  absl::Status ReadCatalogOfSource(SourceCatalog& catalog);
  absl::StatusOr<CatalogFindings> Compare();
  absl::StatusOr<CatalogFindings> Reconcile();
  absl::Status ReconnectSource();
  absl::Status Publish(const SourceCatalog& catalog, const SourceRelation& relation);
  absl::Status AdoptPartitions(const std::vector<Oid>& partitions);
  absl::Status ReplaceDropped(const std::vector<TableRecord>& records);
  absl::Status RefusePartitions(const SourceCatalog& catalog, std::vector<const SourceRelation*> missing);
  bool IsBornEmpty(const SourceCatalog& catalog, const SourceRelation& leaf);
  absl::Status MakePartitions(const SourceCatalog& catalog, const std::vector<const SourceRelation*>& leaves);
  absl::Status CheckEmptyOnTarget(const TableName& table);
  absl::StatusOr<bool> CopyAgain();
  absl::Status CopyWaiting();
  absl::Status Ignore(Oid oid, const std::string& why);
  absl::Status Heed(const std::vector<Oid>& oids);
  absl::Status ForgetRoot(const SourceCatalog& catalog, const SourceRelation& root);
  absl::Status AwaitVisible(Xid xid);
  absl::Status Understand(Oid oid, const absl::Status& error);
  absl::Status UnderstandStranger(Oid oid, const absl::Status& error);
  absl::Status ExplainMissingColumns(Oid oid, const absl::Status& error);
  bool Concerns(const CatalogDifference& difference, const TableRecord& table) const;
  // The statement for the target where the table's columns are others on the source.
  absl::Status CheckColumns(const CatalogFindings& findings, const TableRecord& table) const;
  absl::StatusOr<bool> KeepsOwners(const std::vector<TableName>& excluded);

  absl::Status Begin();
  absl::StatusOr<std::string> BeginCopyOnce();
  absl::Status FinishCopyOnce();
  absl::Status Record();
  absl::Status RunPhases();
  absl::Status PublicationPhase();
  absl::StatusOr<bool> RecordTablesAt(const std::string& snapshot, bool may_wait);
  absl::Status SlotPhase();
  absl::Status RecordSlot();
  // With a transaction that sees the snapshot; "" for none.
  absl::StatusOr<Connection> SourceAt(const std::string& snapshot) const;
  absl::StatusOr<std::vector<TableName>> NotRecordedIn(Connection& source, const SourceCatalog& catalog);
  absl::StatusOr<SchemaDump> DumpAt(const std::string& snapshot);
  absl::Status LeaveOutWhatIsThere(SchemaDump& dump);
  absl::Status CheckUnchangedSince(const SourceCatalog& before);
  absl::Status RecordAsDumped(const SourceCatalog& catalog);
  absl::Status TakeAnotherSnapshot();
  absl::Status MakeSnapshot(const ConnectOptions& options);
  absl::Status MakeSnapshotBehindLock();
  absl::StatusOr<bool> LockRewrittenTables(const std::string& begin);
  absl::Status SnapshotPhase();
  // Whether another snapshot may be taken after this error under one; the error to end with where not.
  absl::Status LeaveSnapshot(const absl::Status& why);
  absl::StatusOr<CatalogFindings> ForgetDroppedTables();
  absl::Status UnderstandCopy(const absl::Status& failed);
  absl::Status SchemaPhase(const std::string& snapshot);
  absl::Status ForgetCopiedTables();
  absl::Status CopyPhase(const std::string& snapshot, Lsn position);
  absl::Status CopyRewritten(TableCopyOptions options);
  // With the slot watched meanwhile (migration_slot.cc).
  void ListenTo(const StopSignal& stop);
  absl::Status WithSlotWatched(const std::function<absl::Status()>& work);
  absl::Status WatchSlot(const StopSignal& halt, const StopSignal& done, std::atomic<bool>& exceeded);
  absl::Status GiveSlotUp(const absl::Status& why);
  absl::Status CopyListed(const TableCopyOptions& options,
                          const std::function<bool(const TableRecord&)>& is_listed);
  absl::Status BeginEarlyIndexes(const std::vector<TableRecord>& tables);
  absl::Status CreateObjectsThatAreLeft(ObjectStage last);
  absl::Status IndexPhase();
  absl::StatusOr<FollowResult> StreamOnAndOn(const FollowUntil& until,
                                             const std::function<void(const RuntimeSnapshot&)>& watch);
  void NoteError(const absl::Status& error);
  bool WasOvertaken(const RecordedCatalog& followed, const absl::Status& error);
  absl::StatusOr<FollowResult> StreamOnce(const RecordedCatalog& recorded, const FollowUntil& until,
                                          const std::function<void(const RuntimeSnapshot&)>& watch);
  bool BinarySuitsNow(const std::vector<TableRecord>& tables);
  absl::StatusOr<std::map<TableName, SourceNotes>> ReadNotesOfSource(const std::vector<TableRecord>& tables);
  absl::StatusOr<bool> ForeignKeysMayComeEarly();
  ConnectOptions ReplicationOptions() const;
  LockRetry SourceLockRetry() const;  // Who holds a lock that is waited for is said in the log.

  MigrationOptions options_;
  const StopSignal* stop_;
  Connection source_;
  Connection target_;  // Holds the lock.
  bool exists_ = false;
  MigrationRecord record_;
  DifferenceLog difference_log_;
  std::optional<bool> binary_suits_;             // As it was found a moment ago.
  std::unique_ptr<EarlyIndexes> early_indexes_;  // From the copy until the other objects are made.
  std::optional<ExportedSnapshot> snapshot_;     // While a copy under a slot's snapshot is under way.
  int snapshots_taken_ = 0;                      // After the slot's own.
  int snapshots_left_ = 0;                       // One after the other, with the phase not done.
  std::set<TableName> rewritten_;                // On the source, under an earlier snapshot.
  // Under the snapshot at hand, with ACCESS SHARE locks on them, until they are copied.
  std::optional<Connection> rewritten_source_;
};

// The tables as the applier knows them, by oid; empty where they are known by name alone.
FollowedTables MakeFollowedTables(const MigrationRecord& migration, const std::vector<TableRecord>& tables);

// IDENTIFY_SYSTEM over a connection of its own.
absl::StatusOr<SystemIdentity> IdentifySource(const std::string& conninfo, const std::string& name,
                                              const StopSignal& stop);

// Fails unless the connection to a target that is not on this machine is encrypted and verified.
absl::Status CheckTargetIsTrusted(const Connection& target, bool allow_insecure_target);

}  // namespace walferry
