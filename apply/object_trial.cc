// Tested by tests/apply/object_trial_test.cc.
#include "apply/object_trial.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/time/clock.h"
#include "apply/last_stage.h"
#include "apply/object_creator.h"
#include "apply/schema_script.h"

namespace walferry {
namespace {

// Shorter than the default deadlock_timeout of 1 s: no lane is ever chosen as the victim of a trial. A lane
// that queues behind a trial waits no longer than this, either.
constexpr char kTimeouts[] = R"sql(
SET LOCAL lock_timeout = '400ms';
SET LOCAL statement_timeout = '10s';
SAVEPOINT walferry_trial)sql";
constexpr char kSetReplicaRole[] = R"sql(
SAVEPOINT walferry_role;
SET LOCAL session_replication_role = replica)sql";
constexpr char kUndo[] = "ROLLBACK TO SAVEPOINT walferry_trial";
constexpr int kAttempts = 5;
constexpr absl::Duration kAttemptGap = absl::Milliseconds(200);

constexpr std::string_view kLockNotAvailable = "55P03";
constexpr std::string_view kQueryCanceled = "57014";
constexpr std::string_view kDeadlockDetected = "40P01";
constexpr std::string_view kWrongObjectType = "42809";
constexpr std::string_view kFeatureNotSupported = "0A000";
constexpr std::string_view kInvalidForeignKey = "42830";

bool IsForeignKey(const SchemaObject& object) {
  return object.stage == ObjectStage::kForeignKey;
}

bool IsTriable(const SchemaObject& object) {
  return !object.done && object.stage >= ObjectStage::kForeignKey && object.kind != kRefreshKind;
}

// The server looked at the statement and could not get at the table.
bool IsBusy(const absl::Status& status) {
  const std::string sqlstate = SqlstateOf(status);
  return sqlstate == kLockNotAvailable || sqlstate == kDeadlockDetected;
}

// Nothing is known of the object. A foreign key of a partitioned table cannot be NOT VALID before version 18.
bool IsUndecided(const SchemaObject& object, const absl::Status& status) {
  const std::string sqlstate = SqlstateOf(status);
  if (IsForeignKey(object) && (sqlstate == kWrongObjectType || sqlstate == kFeatureNotSupported)) return true;
  // The key that it refers to is made before it, and says itself what is in its way.
  if (sqlstate == kInvalidForeignKey) return true;
  return IsBusy(status) || sqlstate == kQueryCanceled;
}

// The same test as in the creation of objects: another one of the same stage may have to be there first.
bool LacksAnotherObject(const absl::Status& status) {
  const std::string sqlstate = SqlstateOf(status);
  return sqlstate == "42P01" || sqlstate == "42704" || sqlstate == "42883" || sqlstate == "42803";
}

// "table trigger" parted at its last space.
std::pair<std::string_view, std::string_view> Parts(const SchemaObject& object) {
  const std::string_view name = object.name;
  const std::size_t space = name.rfind(' ');
  if (space == std::string_view::npos) return {name, {}};
  return {name.substr(0, space), name.substr(space + 1)};
}

// Of the same table, or of the same name: the state of a partition's trigger needs the root's trigger.
bool MayBeNeeded(const SchemaObject& other, const SchemaObject& object) {
  if (other.kind == "EVENT TRIGGER") return false;
  const auto [table, name] = Parts(other);
  const auto [object_table, object_name] = Parts(object);
  return table == object_table || (!name.empty() && name == object_name);
}

class Trial {
 public:
  explicit Trial(Connection& target) : target_(target) {}

  absl::Status Begin() {
    WF_RETURN_IF_ERROR(target_.Execute(kBeginScript).status());
    WF_RETURN_IF_ERROR(SetReplicaRole());
    return target_.Execute(kTimeouts).status();
  }

  // Each on its own, so that one object's locks are held at a time.
  absl::Status TryEach(const std::vector<SchemaObject>& objects) {
    for (const SchemaObject& object : objects) {
      if (!IsTriable(object)) continue;
      const absl::Status status = TryWithRetry(object.sql, IsForeignKey(object));
      WF_RETURN_IF_ERROR(Fatal(status));
      if (status.ok()) {
        passed_.push_back(object);
      } else {
        failed_.push_back({object, status, !IsUndecided(object, status)});
      }
    }
    return Undo();
  }

  // What lacks another object, once more with those beside it that it may mean.
  absl::Status TryTogether() {
    for (ObjectTrial& trial : failed_) {
      if (!trial.tried || !LacksAnotherObject(trial.status)) continue;
      const absl::Status again = TryWithOthers(trial.object);
      WF_RETURN_IF_ERROR(Fatal(again));
      WF_RETURN_IF_ERROR(Undo());
      trial.tried = !IsUndecided(trial.object, again);
      if (again.ok()) trial.status = again;
    }
    std::erase_if(failed_, [](const ObjectTrial& trial) { return trial.status.ok(); });
    return absl::OkStatus();
  }

  absl::Status End() { return target_.alive() ? target_.Execute("ROLLBACK").status() : absl::OkStatus(); }

  std::vector<ObjectTrial> TakeFailed() { return std::move(failed_); }

 private:
  // As when the objects are made: event triggers of the target stay out of it, where that is allowed.
  absl::Status SetReplicaRole() {
    const absl::Status set = target_.Execute(kSetReplicaRole).status();
    WF_RETURN_IF_ERROR(Fatal(set));
    return set.ok() ? set : target_.Execute("ROLLBACK TO SAVEPOINT walferry_role").status();
  }

  absl::Status TryWithRetry(const std::string& sql, bool is_foreign_key) {
    // In one round trip with the end of the object before.
    const std::string script = std::string(kUndo) + ";\n" + (is_foreign_key ? WithNotValid(sql) : sql);
    absl::Status status;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      status = target_.Execute(script).status();
      if (!IsBusy(status)) break;
      WF_RETURN_IF_ERROR(Undo());
      absl::SleepFor(kAttemptGap);
    }
    return status;
  }

  absl::Status TryWithOthers(const SchemaObject& object) {
    for (const SchemaObject& other : passed_) {
      if (!MayBeNeeded(other, object)) continue;
      const std::string sql = IsForeignKey(other) ? WithNotValid(other.sql) : other.sql;
      WF_RETURN_IF_ERROR(target_.Execute(sql).status());
    }
    return target_.Execute(object.sql).status();
  }

  absl::Status Undo() { return target_.Execute(kUndo).status(); }

  // Of the connection, not of the object.
  absl::Status Fatal(const absl::Status& status) const {
    return !target_.alive() || absl::IsCancelled(status) ? status : absl::OkStatus();
  }

  Connection& target_;
  std::vector<SchemaObject> passed_;
  std::vector<ObjectTrial> failed_;
};

}  // namespace

absl::StatusOr<std::vector<ObjectTrial>> TryObjects(Connection& target,
                                                    const std::vector<SchemaObject>& objects) {
  if (std::none_of(objects.begin(), objects.end(), IsTriable)) return std::vector<ObjectTrial>();
  Trial trial(target);
  absl::Status status = trial.Begin();
  if (status.ok()) status = trial.TryEach(objects);
  if (status.ok()) status = trial.TryTogether();
  const absl::Status ended = trial.End();
  WF_RETURN_IF_ERROR(status);
  WF_RETURN_IF_ERROR(ended);
  return trial.TakeFailed();
}

}  // namespace walferry
