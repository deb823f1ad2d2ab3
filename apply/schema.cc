// Tested by tests/apply/schema_test.cc.
#include "apply/schema.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "apply/object_catalog.h"
#include "apply/object_creator.h"
#include "apply/parameter_rows.h"
#include "apply/position.h"
#include "apply/retry.h"
#include "apply/schema_script.h"
#include "apply/workers.h"

namespace walferry {
namespace {

constexpr absl::Duration kRetryFor = absl::Minutes(10);
constexpr std::string_view kOutOfMemory = "53200";

// Errors of an object that uses one which is created later in the same stage: undefined table, object or
// function, and grouping by a primary key that is not there yet.
bool LacksAnotherObject(const absl::Status& status) {
  const std::string sqlstate = SqlstateOf(status);
  return sqlstate == "42P01" || sqlstate == "42704" || sqlstate == "42883" || sqlstate == "42803";
}

// The first `count` of `objects`, one after the other.
absl::Status MakeInOrder(Connection& target, const std::vector<SchemaObject>& objects, std::size_t count) {
  std::string sql;
  for (std::size_t i = 0; i < count; ++i) sql += objects[i].sql + "\n;\n";
  if (sql.empty()) return absl::OkStatus();
  return Annotate(target.Execute(sql).status(), "the source's schema cannot be made on the target");
}

std::vector<std::int64_t> IdsOf(const std::vector<SchemaObject>& objects, std::size_t count) {
  std::vector<std::int64_t> ids;
  for (std::size_t i = 0; i < count; ++i) ids.push_back(objects[i].id);
  return ids;
}

absl::Status InTransaction(Connection& target, const std::function<absl::Status()>& work) {
  const auto run = [&]() -> absl::Status {
    WF_RETURN_IF_ERROR(target.Execute(kBeginScript).status());
    WF_RETURN_IF_ERROR(work());
    return target.Execute("COMMIT").status();
  };
  const absl::Status done = run();
  if (!done.ok() && target.alive()) (void)target.Execute("ROLLBACK");
  return done;
}

// As event triggers of the target stay out of it where that is allowed.
absl::Status InReplicaRole(Connection& target, const std::function<absl::Status()>& work) {
  WF_RETURN_IF_ERROR(SetReplicaRoleIfAllowed(target));
  const absl::Status done = work();
  if (target.alive()) (void)target.Execute("RESET session_replication_role");
  return done;
}

bool IsPreData(const SchemaObject& object) {
  return object.stage == ObjectStage::kPreData;
}

// The objects of one stage, those of one pass after the other.
class StageCreation {
 public:
  StageCreation(const std::string& target, const std::string& migration, const StopSignal& stop,
                std::function<void(const SchemaObject&)> done, std::vector<RefusedObject>* refused)
      : target_(target), migration_(migration), stop_(stop), done_(std::move(done)), refused_(refused) {}

  // Objects that lack another one are tried again as long as others succeed.
  absl::Status Create(std::vector<SchemaObject> objects, int jobs) {
    while (!objects.empty()) {
      WF_RETURN_IF_ERROR(CreateOnce(objects, jobs));
      const absl::MutexLock lock(&mutex_);
      const bool is_stuck = deferred_.size() == objects.size();
      if (is_stuck && !HasRefused()) return deferred_error_;
      objects = std::exchange(deferred_, {});
      if (!is_stuck) continue;
      for (SchemaObject& object : objects) refused_->push_back({std::move(object), deferred_error_});
      return absl::OkStatus();
    }
    return absl::OkStatus();
  }

 private:
  absl::Status CreateOnce(const std::vector<SchemaObject>& objects, int jobs) {
    std::atomic<std::size_t> next = 0;
    const int workers = std::min(std::max(1, jobs), static_cast<int>(objects.size()));
    return RunWorkers(workers, stop_, [&](const StopSignal& halt) {
      ObjectCreator creator(target_, migration_, halt);
      for (std::size_t i = next++; i < objects.size(); i = next++) {
        if (halt.requested()) return absl::CancelledError("stopped");
        WF_RETURN_IF_ERROR(Finish(objects[i], creator.Create(objects[i])));
      }
      return absl::OkStatus();
    });
  }

  absl::Status Finish(const SchemaObject& object, const absl::Status& status) {
    const absl::MutexLock lock(&mutex_);
    if (refused_ != nullptr && IsRefusedByRows(status)) {
      refused_->push_back({object, status});
      return absl::OkStatus();
    }
    // A foreign key to a key that was refused.
    const bool lacks_key = HasRefused() && SqlstateOf(status) == "42830";
    if (lacks_key || LacksAnotherObject(status)) {
      deferred_.push_back(object);
      deferred_error_ = status;
      return absl::OkStatus();
    }
    if (status.ok()) done_(object);
    return status;
  }

  bool HasRefused() const { return refused_ != nullptr && !refused_->empty(); }

  const std::string& target_;
  const std::string& migration_;
  const StopSignal& stop_;
  const std::function<void(const SchemaObject&)> done_;
  std::vector<RefusedObject>* const refused_;  // Guarded by mutex_ while workers run.
  absl::Mutex mutex_;
  std::vector<SchemaObject> deferred_ ABSL_GUARDED_BY(mutex_);
  absl::Status deferred_error_ ABSL_GUARDED_BY(mutex_);
};

// The tables as ANALYZE takes them: a partitioned root stands for all its leaves, which it analyzes, too.
absl::StatusOr<std::vector<TableName>> AnalyzableTables(Connection& target,
                                                        const std::vector<TableName>& tables) {
  std::vector<TableName> names;
  for (std::size_t begin = 0; begin < tables.size(); begin += kRowsPerStatement) {
    const std::size_t end = std::min(tables.size(), begin + kRowsPerStatement);
    std::vector<Parameter> parameters;
    for (std::size_t i = begin; i < end; ++i) {
      parameters.push_back(tables[i].schema);
      parameters.push_back(tables[i].name);
    }
    WF_ASSIGN_OR_RETURN(
        Result rows,
        target.Execute(
            "SELECT DISTINCT tn.nspname, t.relname FROM (VALUES " + ParameterRows(end - begin, 2, 1) +
                ") w (schema_name, table_name) "
                "JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name::name "
                "JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.table_name::name "
                "CROSS JOIN LATERAL (WITH RECURSIVE up (id, depth) AS (SELECT c.oid, 0 UNION ALL "
                "SELECT i.inhparent, up.depth + 1 FROM up "
                "JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.id "
                "JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p') "
                "SELECT id FROM up ORDER BY depth DESC LIMIT 1) top "
                "JOIN pg_catalog.pg_class t ON t.oid = top.id "
                "JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace",
            parameters));
    for (int row = 0; row < rows.rows(); ++row) {
      TableName name{std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1))};
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
    }
  }
  return names;
}

// The objects up to and with stage `last`, as they are durably on the target.
absl::StatusOr<std::vector<SchemaObject>> DurableObjects(const std::string& target,
                                                         const std::string& migration, ObjectStage last,
                                                         const StopSignal& stop) {
  std::vector<SchemaObject> objects;
  const absl::Status read = RetryFor(kRetryFor, stop, [&]() -> absl::Status {
    WF_ASSIGN_OR_RETURN(Connection connection,
                        Connection::Open({.conninfo = target, .settings = {}, .stop = &stop}));
    WF_RETURN_IF_ERROR(CommitFence(connection, migration, Lsn{}));
    WF_ASSIGN_OR_RETURN(objects, LoadObjects(connection, migration));
    return absl::OkStatus();
  });
  WF_RETURN_IF_ERROR(read);
  std::erase_if(objects, [last](const SchemaObject& object) { return object.stage > last; });
  return objects;
}

// A mark is believed only where the catalog does not say otherwise: somebody may have dropped the object, or
// made it. What is there gets its mark.
absl::Status CompareWithCatalog(const std::string& target, const std::string& migration,
                                std::vector<SchemaObject>& objects, const StopSignal& stop) {
  return RetryFor(kRetryFor, stop, [&]() -> absl::Status {
    WF_ASSIGN_OR_RETURN(Connection connection,
                        Connection::Open({.conninfo = target, .settings = {}, .stop = &stop}));
    WF_ASSIGN_OR_RETURN(const ObjectCatalog there, ObjectCatalog::Read(connection));
    std::vector<std::int64_t> unmarked;
    for (SchemaObject& object : objects) {
      const bool is_there = there.IsThere(object);
      if (is_there && !object.done) unmarked.push_back(object.id);
      object.done = is_there;
    }
    return MarkObjectsDone(connection, migration, unmarked);
  });
}

bool Contains(const std::vector<RefusedObject>& refused, const SchemaObject& object) {
  return std::any_of(refused.begin(), refused.end(),
                     [&](const RefusedObject& each) { return each.object.id == object.id; });
}

absl::Status CreateStages(StageCreation& creation, const std::vector<SchemaObject>& objects, int jobs) {
  for (ObjectStage stage :
       {ObjectStage::kIndex, ObjectStage::kAttach, ObjectStage::kForeignKey, ObjectStage::kTrigger}) {
    std::vector<SchemaObject> parallel;
    // Materialized views are filled from others. Of a tree of indexes a server may leave the root invalid for
    // good where two sessions attach at the same time: each sees only its own part
    // (validatePartitionedIndex).
    std::vector<SchemaObject> in_order;
    std::vector<SchemaObject> event_triggers;  // They may refuse whatever comes after them.
    for (const SchemaObject& object : objects) {
      if (object.stage != stage) continue;
      const bool is_ordered = object.kind == kRefreshKind || stage == ObjectStage::kAttach;
      (is_ordered                         ? in_order
       : object.kind == kEventTriggerKind ? event_triggers
                                          : parallel)
          .push_back(object);
    }
    WF_RETURN_IF_ERROR(creation.Create(std::move(parallel), jobs));
    WF_RETURN_IF_ERROR(creation.Create(std::move(in_order), 1));
    WF_RETURN_IF_ERROR(creation.Create(std::move(event_triggers), 1));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CreatePreData(Connection& target, const MigrationRecord& migration, const SchemaDump& dump,
                           std::size_t transaction_objects) {
  if (dump.pre_data.size() > transaction_objects) {
    const auto record = [&]() -> absl::Status {
      WF_RETURN_IF_ERROR(InsertObjects(target, migration.name, dump.pre_data));
      return InsertObjects(target, migration.name, dump.post_data);
    };
    WF_RETURN_IF_ERROR(InTransaction(target, record));
    return FinishPreData(target, migration, dump.pre_data, transaction_objects);
  }
  return InReplicaRole(target, [&] {
    return InTransaction(target, [&]() -> absl::Status {
      WF_RETURN_IF_ERROR(MakeInOrder(target, dump.pre_data, dump.pre_data.size()));
      WF_RETURN_IF_ERROR(InsertObjects(target, migration.name, dump.post_data));
      return UpdateMigration(target, migration);
    });
  });
}

absl::StatusOr<PreDataState> LoadPreData(Connection& target, const std::string& migration) {
  WF_ASSIGN_OR_RETURN(std::vector<SchemaObject> objects, LoadObjects(target, migration));
  PreDataState state;
  for (SchemaObject& object : objects) {
    if (!IsPreData(object)) continue;
    state.recorded = true;
    if (!object.done) state.missing.push_back(std::move(object));
  }
  return state;
}

absl::Status FinishPreData(Connection& target, const MigrationRecord& migration,
                           std::vector<SchemaObject> missing, std::size_t transaction_objects) {
  return InReplicaRole(target, [&]() -> absl::Status {
    std::size_t at_once = transaction_objects;
    while (!missing.empty()) {
      const std::size_t count = std::min(at_once, missing.size());
      const absl::Status made = InTransaction(target, [&]() -> absl::Status {
        WF_RETURN_IF_ERROR(MakeInOrder(target, missing, count));
        return MarkObjectsDone(target, migration.name, IdsOf(missing, count));
      });
      if (SqlstateOf(made) == kOutOfMemory && count > 1) {  // The lock table is full: of others, maybe.
        at_once = count / 2;
        continue;
      }
      WF_RETURN_IF_ERROR(made);
      missing.erase(missing.begin(), missing.begin() + static_cast<std::ptrdiff_t>(count));
    }
    WF_ASSIGN_OR_RETURN(std::vector<SchemaObject> recorded, LoadObjects(target, migration.name));
    std::erase_if(recorded, [](const SchemaObject& object) { return !IsPreData(object); });
    return InTransaction(target, [&]() -> absl::Status {
      WF_RETURN_IF_ERROR(DeleteObjects(target, migration.name, IdsOf(recorded, recorded.size())));
      return UpdateMigration(target, migration);
    });
  });
}

absl::Status CreatePartitions(Connection& target, const std::string& migration,
                              const PartitionSchema& partitions) {
  return InReplicaRole(target, [&] {
    return InTransaction(target, [&]() -> absl::Status {
      WF_RETURN_IF_ERROR(target.Execute(partitions.sql).status());
      return AppendObjects(target, migration, partitions.later);
    });
  });
}

absl::Status CreateObjects(const std::string& target, const std::string& migration, ObjectStage last,
                           int jobs, const StopSignal& stop, std::function<void(const ObjectProgress&)> done,
                           std::vector<RefusedObject>* refused) {
  const auto is_done = [refused](const SchemaObject& object) {
    return object.done || (refused != nullptr && Contains(*refused, object));
  };
  WF_ASSIGN_OR_RETURN(std::vector<SchemaObject> objects, DurableObjects(target, migration, last, stop));
  WF_RETURN_IF_ERROR(CompareWithCatalog(target, migration, objects, stop));
  ObjectProgress progress;
  progress.total = static_cast<std::int64_t>(objects.size());
  const auto show = [&](const SchemaObject& object) {
    progress.object = object;
    ++progress.done;
    if (done) done(progress);
  };
  StageCreation creation(target, migration, stop, show, refused);
  // Once, unless the target crashes meanwhile and forgets some.
  while (!std::all_of(objects.begin(), objects.end(), is_done)) {
    progress.done = std::count_if(objects.begin(), objects.end(), is_done);
    std::vector<SchemaObject> missing = objects;
    std::erase_if(missing, is_done);
    WF_RETURN_IF_ERROR(CreateStages(creation, missing, jobs));
    WF_ASSIGN_OR_RETURN(objects, DurableObjects(target, migration, last, stop));
  }
  return absl::OkStatus();
}

absl::Status AnalyzeTables(const std::string& target, const std::vector<TableName>& tables, int jobs,
                           const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Connection connection,
                      Connection::Open({.conninfo = target, .settings = {}, .stop = &stop}));
  WF_ASSIGN_OR_RETURN(const std::vector<TableName> names, AnalyzableTables(connection, tables));
  std::atomic<std::size_t> next = 0;
  const int workers = std::min(std::max(1, jobs), static_cast<int>(names.size()));
  return RunWorkers(workers, stop, [&](const StopSignal& halt) -> absl::Status {
    WF_ASSIGN_OR_RETURN(Connection worker,
                        Connection::Open({.conninfo = target, .settings = {}, .stop = &halt}));
    for (std::size_t i = next++; i < names.size(); i = next++) {
      WF_RETURN_IF_ERROR(worker.Execute("ANALYZE " + QuoteName(names[i].schema, names[i].name)).status());
    }
    return absl::OkStatus();
  });
}

}  // namespace walferry
