// The schema of the source on the target: taken with pg_dump, split into what is needed before the data and
// what is created after it, stage by stage and in parallel, each object in one transaction with its mark in
// the state.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apply/refused_object.h"
#include "apply/state.h"
#include "stream/connection.h"
#include "stream/lock_retry.h"
#include "stream/stop_signal.h"

namespace walferry {

struct SchemaDump {
  std::vector<SchemaObject> pre_data;  // In its order.
  std::vector<SchemaObject> post_data;
  // Not excluded by the user, but of no use without what is: "view app.v", "foreign key c_fkey of app.c".
  std::vector<std::string> left_out;
};

struct SchemaDumpOptions {
  std::string source;    // conninfo; the password reaches pg_dump by its environment
  std::string snapshot;  // "" for none
  // Tables left out by the user's choice (--tables, --exclude-tables), with everything that belongs to them.
  std::vector<TableName> excluded_tables;
  std::vector<TableName> only_tables;  // Not empty: these, and what belongs to them.
  bool keep_owners = true;             // Else --no-owner --no-privileges.
  LockRetry lock_retry;                // For the locks that pg_dump takes, and what else passes by itself.
};

// Runs the pg_dump whose version fits the source (PATH and Debian's /usr/lib/postgresql/N/bin are searched).
// Publications, subscriptions, tablespaces and security labels are left out. kFailedPrecondition where there
// is no such pg_dump (says which package to install) or it failed (with its own words); kAborted: the
// snapshot is gone, or something that is in it.
absl::StatusOr<SchemaDump> DumpSchema(const SchemaDumpOptions& options, int source_version,
                                      const StopSignal& stop);

// The objects alone, and what is left out; what stays and needs what goes is not asked for.
absl::StatusOr<SchemaDump> DumpObjects(const SchemaDumpOptions& options, int source_version,
                                       const StopSignal& stop);

// A partition that is new on the source, as it is made on a target whose partitioned table has its indexes
// already: by itself with its own ones, and attached then, which makes them parts of those of the partitioned
// table.
struct PartitionSchema {
  std::string sql;
  std::vector<SchemaObject> later;  // Foreign keys, triggers and the like: with those of the other tables.
};
// Of options.only_tables. Errors as of DumpSchema().
absl::StatusOr<PartitionSchema> DumpPartitions(const SchemaDumpOptions& options, int source_version,
                                               const StopSignal& stop);
// In one transaction of its own.
absl::Status CreatePartitions(Connection& target, const std::string& migration,
                              const PartitionSchema& partitions);

// Records the objects of both halves and makes those of the first one, up to `transaction_objects` in one
// transaction: a server's lock table has room for so many tables (max_locks_per_transaction). A dump that
// fits one is made all or nothing, with the new phase of the migration in that transaction. Else it can be
// continued by FinishPreData() after a failure.
inline constexpr std::size_t kTransactionObjects = 1000;
absl::Status CreatePreData(Connection& target, const MigrationRecord& migration, const SchemaDump& dump,
                           std::size_t transaction_objects = kTransactionObjects);
// Whether an earlier run has recorded them, and what of the first half is not made.
struct PreDataState {
  bool recorded = false;
  std::vector<SchemaObject> missing;
};
absl::StatusOr<PreDataState> LoadPreData(Connection& target, const std::string& migration);
// Makes what is missing, then records the new phase.
absl::Status FinishPreData(Connection& target, const MigrationRecord& migration,
                           std::vector<SchemaObject> missing,
                           std::size_t transaction_objects = kTransactionObjects);

struct ObjectProgress {
  SchemaObject object;
  std::int64_t done = 0;
  std::int64_t total = 0;
};
// Creates the objects of the stages up to and with `last` that are not done, `jobs` at a time within a stage.
// Materialized views are filled, one after the other, as the last objects of kTrigger. Lost connections and
// deadlocks are tried again. `done` is called by the workers' threads, one at a time. `refused`: if given,
// what the rows refuse, and what needs that, is put there and left, to be made by a later call.
absl::Status CreateObjects(const std::string& target, const std::string& migration, ObjectStage last,
                           int jobs, const StopSignal& stop, std::function<void(const ObjectProgress&)> done,
                           std::vector<RefusedObject>* refused = nullptr);

// ANALYZE of each table, `jobs` at a time; of the partitioned root instead of its leaves, which does them,
// too.
absl::Status AnalyzeTables(const std::string& target, const std::vector<TableName>& tables, int jobs,
                           const StopSignal& stop);

}  // namespace walferry
