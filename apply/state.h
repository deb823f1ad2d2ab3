// What a migration knows, kept in schema `walferry` on the target, so that any machine can continue it.
//
//   walferry.migration      one row each: pinned source identity, slot, publication, phase, confirmed LSN
//   walferry.lane, walferry.dealing   see lane_state.h
//   walferry.table_state    per table: phase, the position of its copy, rows, bytes, counters
//   walferry.schema_object  what is created after the data (indexes, triggers …): SQL text, stage, done
//   walferry.event          what happened when
//
// Functions here are one statement each unless they say otherwise, so they may be part of the caller's
// transaction. All of the schema's SQL stands in state_schema.cc (DDL), state.cc, lane_state.cc, position.cc
// and nowhere else.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apply/lane_state.h"
#include "decoder/lsn.h"
#include "decoder/message.h"
#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

// In the order in which a migration goes through them. `stream` alone begins at kFollow.
enum class Phase {
  kCheck,
  kPublication,
  kSlot,
  kSchema,
  kCopy,
  kIndexes,
  kCatchUp,
  kFollow,
  kCutover,
  kDone
};
// "check", "publication", …, "catch-up", "follow", "cutover", "done"
std::string_view PhaseName(Phase phase);
absl::StatusOr<Phase> ParsePhase(std::string_view name);

struct MigrationRecord {
  std::string name;
  Phase phase = Phase::kCheck;
  std::string system_id;  // Pinned when the migration is made, as are the next fields.
  std::int64_t timeline = 0;
  std::string source_database;
  std::string slot;
  std::string publication;
  bool owns_slot = false;  // Made by this migration, so dropped by its cleanup.
  bool owns_publication = false;
  bool copies_schema = false;  // --schema copy
  // The user's choice of tables, and what is known of the publication on the source: texts of tools/, which
  // alone reads them.
  std::string choice;
  std::string publication_catalog;
  // A second publication, for inserts and truncations only; "" where no table needs it.
  std::string insert_publication;
  int lanes = 1;
  Lsn slot_lsn;  // The slot's consistent point.
  // The highest LSN that the source was or is about to be told (position.h, fence).
  Lsn confirmed;
  // The highest position of a table's copy: from here on all tables belong together.
  Lsn copy_lsn;
  bool stop_requested = false;  // Another command asks the running one to end at the next chance.
  // Written by the running command every second or so; the clock is the target's.
  std::int64_t heartbeat_age_ms = -1;  // -1: never.
  std::string runtime;                 // JSON text, as `status` wants it; "" at first.
};

// kDropped: gone from the source, so that nothing of it is copied, applied or compared any more.
enum class TablePhase { kWaiting, kCopying, kCopied, kDropped };
std::string_view TablePhaseName(TablePhase phase);  // "waiting", "copying", "copied", "dropped"

// Whether rows of it are still to be copied.
inline bool AwaitsCopy(TablePhase phase) {
  return phase == TablePhase::kWaiting || phase == TablePhase::kCopying;
}

struct TableCounters {
  std::int64_t inserts = 0;
  std::int64_t updates = 0;
  std::int64_t deletes = 0;
  std::int64_t truncates = 0;
  std::int64_t missing_rows = 0;  // UPDATEs and DELETEs that found no row.
  std::int64_t conflicts = 0;     // Changes skipped under --on-conflict skip-logged.
  // Changes by a statement of their own, the slower form: where the table's key or a value's type does not
  // let them into one about many rows, or that one was refused.
  std::int64_t one_by_one = 0;
  TableCounters& operator+=(const TableCounters& other);
  friend bool operator==(const TableCounters&, const TableCounters&) = default;
};

struct TableRecord {
  TableName table;
  TablePhase phase = TablePhase::kWaiting;
  Oid source_oid = 0;      // On the source, where it may have another name by now; 0: unknown.
  std::string catalog;     // What the source's catalog said of it: a text of tools/, which alone reads it.
  std::string needs_copy;  // Why its rows have to be copied again; "" where they do not.
  // The consistent point of the snapshot that it was copied under: older transactions are in the copy.
  Lsn position;
  std::int64_t rows = 0;   // Of the copy.
  std::int64_t bytes = 0;  // Of the copy, as they went over the wire.
  TableCounters counters;  // Of the stream.
};

// Stages of what is created; each needs the ones before. What comes before the data is not kept when it is
// there.
enum class ObjectStage { kPreData, kIndex, kAttach, kForeignKey, kTrigger };
std::string_view ObjectStageName(ObjectStage stage);

struct SchemaObject {
  std::int64_t id = 0;  // Order of the dump.
  ObjectStage stage = ObjectStage::kIndex;
  std::string kind;  // INDEX, CONSTRAINT, FK CONSTRAINT, TRIGGER, …
  std::string name;  // For people.
  std::string sql;
  bool done = false;
};

// Creates schema, tables and the guard function where they are missing, in a transaction of its own,
// serialized between processes. Needs CREATE on the target database, or a schema walferry made beforehand
// that the role may create in. kFailedPrecondition with what to grant, or where the state was written in
// another format.
absl::Status EnsureStateSchema(Connection& target);
// Reads the catalog only, so that a role without any privilege on the schema gets an answer. Other format: an
// error.
absl::StatusOr<bool> StateSchemaExists(Connection& target);

// A session-level advisory lock for the migration's running writer; released with the connection. False: held
// by another session. The compare-and-set of the lanes is what is relied on; this gives the early, clear
// refusal.
absl::StatusOr<bool> TryLockMigration(Connection& target, const std::string& name);
// Whether some session holds that lock.
absl::StatusOr<bool> MigrationIsLocked(Connection& target, const std::string& name);

absl::StatusOr<std::optional<MigrationRecord>> LoadMigration(Connection& target, const std::string& name);
// All fields but heartbeat, runtime, stop_requested.
absl::Status InsertMigration(Connection& target, const MigrationRecord& record);
// Phase, owns_*, slot_lsn, copy_lsn, slot, publication, choice, *publication*. Never `confirmed`.
absl::Status UpdateMigration(Connection& target, const MigrationRecord& record);
absl::Status RequestStop(Connection& target, const std::string& name, bool requested);
// Heartbeat with runtime JSON; returns whether a stop is requested.
absl::StatusOr<bool> WriteHeartbeat(Connection& target, const std::string& name, const std::string& runtime);
// Removes every row of the migration, then drops schema walferry when no migration is left (two statements;
// fine to repeat after a failure between them).
absl::Status DeleteMigration(Connection& target, const std::string& name);

std::vector<TableName> NamesOf(const std::vector<TableRecord>& tables);
absl::StatusOr<std::vector<TableRecord>> LoadTables(Connection& target, const std::string& name);
// Adds tables that are not there yet: name, phase, source_oid, catalog, and the position of those that need
// no copy.
absl::Status AddTables(Connection& target, const std::string& name, const std::vector<TableRecord>& tables);
// The same in place of all that are there (two statements).
absl::Status ReplaceTables(Connection& target, const std::string& name,
                           const std::vector<TableRecord>& tables);
// Name, phase, source_oid, catalog and needs_copy of the table that is recorded as `table`.
absl::Status UpdateTableCatalog(Connection& target, const std::string& name, const TableName& table,
                                const TableRecord& record);
// Phase, position, rows and bytes.
absl::Status UpdateTable(Connection& target, const std::string& name, const TableRecord& record);
// The copy of a table, range by range. BeginTableCopy: kCopying with nothing done, before the first row.
absl::Status BeginTableCopy(Connection& target, const std::string& name, const TableName& table,
                            Lsn position);
struct CopiedRange {
  int number = 0;  // From 0.
  int of = 1;      // Ranges of the table.
  std::int64_t rows = 0;
  std::int64_t bytes = 0;
};
// In the transaction of the range's rows; the last one makes the table kCopied. kAborted where the range is
// done already or the copy was begun again with another position: a second writer.
absl::Status FinishCopyRange(Connection& target, const std::string& name, const TableName& table,
                             Lsn position, const CopiedRange& range);
// Whether the range's transaction committed. Waits for one that is still under way.
absl::StatusOr<bool> CopyRangeIsDone(Connection& target, const std::string& name, const TableName& table,
                                     int number);
struct CopiedTable {
  TableName table;
  std::int64_t rows = 0;
  std::int64_t bytes = 0;
};
// Tables copied whole, in the transaction of their rows: from kWaiting or kCopying to kCopied. kAborted where
// one of them is kCopied already: a second writer.
absl::Status FinishTables(Connection& target, const std::string& name, Lsn position,
                          const std::vector<CopiedTable>& tables);
// Whether the table is kCopied. Waits for a transaction that is still under way.
absl::StatusOr<bool> TableIsCopied(Connection& target, const std::string& name, const TableName& table);

// Adds to the stream's counters.
absl::Status AddCounters(Connection& target, const std::string& name,
                         const std::map<TableName, TableCounters>& counters);

absl::Status InsertObjects(Connection& target, const std::string& name,
                           const std::vector<SchemaObject>& objects);
// The same for further ones, behind those that are there.
absl::Status AppendObjects(Connection& target, const std::string& name, std::vector<SchemaObject> objects);
absl::StatusOr<std::vector<SchemaObject>> LoadObjects(Connection& target, const std::string& name);
// Name and SQL of one.
absl::Status UpdateObject(Connection& target, const std::string& name, const SchemaObject& object);
absl::Status DeleteObjects(Connection& target, const std::string& name, const std::vector<std::int64_t>& ids);
absl::Status MarkObjectDone(Connection& target, const std::string& name, std::int64_t id);
absl::Status MarkObjectsDone(Connection& target, const std::string& name,
                             const std::vector<std::int64_t>& ids);
// Whether its transaction committed. Waits for one that is still under way.
absl::StatusOr<bool> ObjectIsDone(Connection& target, const std::string& name, std::int64_t id);

struct EventRecord {
  std::string at;  // ISO 8601, UTC
  std::string kind;
  std::string detail;
};
absl::Status AddEvent(Connection& target, const std::string& name, const std::string& kind,
                      const std::string& detail);
absl::StatusOr<std::vector<EventRecord>> LoadEvents(Connection& target, const std::string& name, int newest);

}  // namespace walferry
