// Tested by tests/apply/applier_recovery_test.cc and applier_progress_test.cc.
#include "apply/applier.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "apply/fence.h"
#include "apply/lane.h"
#include "apply/lane_state.h"
#include "apply/replica_role.h"
#include "apply/retry.h"

namespace walferry {

namespace {

// Who ends a run waits for that.
constexpr absl::Duration kLevelling = absl::Seconds(5);

// With such a part of the memory budget in use it is not the source that limits. A lane that has nothing to
// do would cost both: in the source's cores where everything is on one machine, in contention over tables
// that rows are only appended to.
constexpr std::size_t kBehindShare = 6;

absl::StatusOr<Connection> Connect(const ApplierOptions& options, const StopSignal* stop) {
  ConnectOptions connect;
  connect.conninfo = options.target;
  connect.application_name = options.application_name;
  connect.stop = stop;
  return Connection::Open(connect);
}

}  // namespace

class Applier::Impl {
 public:
  Impl(ApplierOptions options, std::vector<TableName> tables, MemoryBudget& budget, const StopSignal& stop,
       std::function<void(const ApplierEvent&)> observe, Lsn confirmed, bool replica_role, bool may_add_lane)
      : options_(std::move(options)),
        tables_(std::move(tables)),
        budget_(budget),
        stop_(stop),
        observe_(std::move(observe)),
        catalog_(options_.copied_at, options_.only_listed, options_.source_notes),
        rendezvous_(options_.lanes),
        progress_(options_.lanes, confirmed),
        tally_(options_.lanes),
        replica_role_(replica_role),
        may_add_lane_(may_add_lane),
        fence_(options_, progress_, tally_, abort_, [this] { Recheck(); }) {}

  ~Impl() { abort_.Request(); }

  absl::Status Start(Connection& target);
  absl::Status Finish(absl::Time deadline);
  absl::StatusOr<Lsn> Restart();
  void Push(Segment segment);
  void Idle(Lsn wal_end);

  bool replica_role() const { return replica_role_; }
  bool binary() const { return options_.binary; }
  Progress& progress() { return progress_; }
  const Tally& tally() const { return tally_; }
  Fence& fence() { return fence_; }

 private:
  // On the fence's thread.
  void Recheck() {
    const absl::MutexLock lock(&lanes_mutex_);
    for (const std::unique_ptr<Lane>& lane : lanes_) lane->Recheck();
  }

  LaneContext context();
  absl::Status AddLane();
  void AddLaneIfBehind();
  void NotePushed(const Segment& segment);
  absl::Status BeginDealing(const std::vector<Lsn>& positions);
  bool LevelLanes(absl::Time deadline);

  const ApplierOptions options_;
  const std::vector<TableName> tables_;
  MemoryBudget& budget_;
  const StopSignal& stop_;
  const std::function<void(const ApplierEvent&)> observe_;
  StopSignal abort_;
  TableCatalog catalog_;
  Dealing dealing_;
  Rendezvous rendezvous_;
  Progress progress_;
  Tally tally_;
  const bool replica_role_;
  bool may_add_lane_;
  Lsn open_commit_lsn_;  // Of a transaction of which the rest is still to be pushed.
  // Changed under the mutex by the session's thread, which reads without.
  std::vector<std::unique_ptr<Lane>> lanes_;
  absl::Mutex lanes_mutex_;
  Fence fence_;  // Last, so that its thread ends before the lanes that it calls are gone.
};

LaneContext Applier::Impl::context() {
  return {options_,  tables_, budget_, catalog_, dealing_, rendezvous_,
          progress_, tally_,  stop_,   abort_,   observe_};
}

absl::Status Applier::Impl::Start(Connection& target) {
  WF_RETURN_IF_ERROR(catalog_.ReadAhead(target, tables_));
  for (int number = 0; number < options_.lanes; ++number) {
    lanes_.push_back(std::make_unique<Lane>(context(), number));
    WF_ASSIGN_OR_RETURN(const Lsn position, lanes_.back()->Open());
    progress_.Applied(number, position);
    lanes_.back()->ShareWith(options_.lanes);
  }
  progress_.Restarted(progress_.sink_progress().applied);
  for (const std::unique_ptr<Lane>& lane : lanes_) lane->StartThread();
  fence_.StartThread();
  return absl::OkStatus();
}

// From the end of what was pushed on. A transaction that is open there is the first lane's.
absl::Status Applier::Impl::AddLane() {
  constexpr int kLanes = 2;
  const Lsn end = progress_.pushed();
  const Lsn joined = open_commit_lsn_.valid() ? Lsn{open_commit_lsn_.value + 1} : end;
  WF_ASSIGN_OR_RETURN(Connection target, Connect(options_, &stop_));
  WF_RETURN_IF_ERROR(walferry::AddLane(target, options_.migration, end, joined));
  auto added = std::make_unique<Lane>(context(), kLanes - 1);
  if (const absl::Status opened = added->Open(open_commit_lsn_).status(); !opened.ok()) {
    WF_RETURN_IF_ERROR(RemoveLane(target, options_.migration));
    return opened;
  }
  progress_.AddLane(end);
  tally_.AddLane();
  rendezvous_.AddLane();
  dealing_.Begin(joined, end, {});
  lanes_.front()->ShareWith(kLanes);
  added->ShareWith(kLanes);
  added->StartThread();
  const absl::MutexLock lock(&lanes_mutex_);
  lanes_.push_back(std::move(added));
  return absl::OkStatus();
}

void Applier::Impl::AddLaneIfBehind() {
  if (!may_add_lane_ || budget_.used_bytes() < budget_.limit_bytes() / kBehindShare) return;
  may_add_lane_ = false;
  const absl::Status added = AddLane();
  observe_({ApplierEvent::Kind::kLanes,
            {},
            added.ok()
                ? "the target falls behind: a second connection applies, too"
                : absl::StrFormat("the target falls behind, but there is no second connection to it: %s",
                                  MessageOf(added))});
}

// From the end, where it is found soon.
void Applier::Impl::NotePushed(const Segment& segment) {
  Lsn begun;
  for (auto event = segment.events.rbegin(); event != segment.events.rend(); ++event) {
    if (event->kind == EventKind::kBegin) open_commit_lsn_ = begun = event->lsn;
    if (event->kind != EventKind::kCommit) continue;
    open_commit_lsn_ = begun;
    return progress_.Pushed(event->lsn);
  }
}

void Applier::Impl::Push(Segment segment) {
  NotePushed(segment);
  const auto shared = std::make_shared<const Segment>(std::move(segment));
  for (const std::unique_ptr<Lane>& lane : lanes_) lane->Push(shared);
  AddLaneIfBehind();
}

void Applier::Impl::Idle(Lsn wal_end) {
  progress_.Idle(wal_end);
  for (const std::unique_ptr<Lane>& lane : lanes_) lane->Idle();
}

absl::StatusOr<Lsn> Applier::Impl::Restart() {
  progress_.BeginRestart();
  std::vector<Lsn> positions;
  for (const std::unique_ptr<Lane>& lane : lanes_) {
    WF_ASSIGN_OR_RETURN(const Lsn position, lane->Restart());
    positions.push_back(position);
  }
  rendezvous_.Reset();
  if (lanes_.size() > 1) {
    WF_RETURN_IF_ERROR(RetryFor(options_.retry_for, stop_, [&] { return BeginDealing(positions); }));
  }
  const Lsn position = *std::min_element(positions.begin(), positions.end());
  progress_.Restarted(position);
  open_commit_lsn_ = {};
  return position;
}

absl::Status Applier::Impl::BeginDealing(const std::vector<Lsn>& positions) {
  const auto [lowest, highest] = std::minmax_element(positions.begin(), positions.end());
  WF_ASSIGN_OR_RETURN(Connection target, Connect(options_, &abort_));
  if (*lowest == *highest) {
    WF_RETURN_IF_ERROR(ClearDealing(target, options_.migration));
    dealing_.Begin(Lsn{}, *highest, {});
    return absl::OkStatus();
  }
  WF_ASSIGN_OR_RETURN(std::vector<DealtTable> recorded, LoadDealing(target, options_.migration));
  WF_ASSIGN_OR_RETURN(const Lsn joined, LoadJoined(target, options_.migration));
  dealing_.Begin(joined, *highest, std::move(recorded));
  return absl::OkStatus();
}

// So that the next run may have another number of lanes, and begins without catching up with itself.
bool Applier::Impl::LevelLanes(absl::Time deadline) {
  bool quiet = true;
  for (const std::unique_ptr<Lane>& lane : lanes_) lane->Quiesce();
  for (const std::unique_ptr<Lane>& lane : lanes_) quiet = lane->AwaitRest(deadline) && quiet;
  const std::vector<Lsn> positions = progress_.positions();
  const auto [lowest, highest] = std::minmax_element(positions.begin(), positions.end());
  if (!quiet || *lowest == *highest) return quiet;
  for (const std::unique_ptr<Lane>& lane : lanes_) lane->LevelUp(*highest);
  const absl::Time patience = std::min(deadline, absl::Now() + kLevelling);
  for (const std::unique_ptr<Lane>& lane : lanes_) lane->AwaitRest(patience);
  // Nothing is lost where they stay apart.
  for (const std::unique_ptr<Lane>& lane : lanes_) lane->LevelUp(Lsn{});
  for (const std::unique_ptr<Lane>& lane : lanes_) quiet = lane->AwaitRest(deadline) && quiet;
  return quiet;
}

absl::Status Applier::Impl::Finish(absl::Time deadline) {
  const bool quiet = LevelLanes(deadline);
  const absl::Status fenced = fence_.Finish(deadline);
  // A server that does not answer shall not keep us longer than that.
  abort_.Request();
  fence_.Join();
  // What they hold of the stream belongs to the session, which may go now.
  for (const std::unique_ptr<Lane>& lane : lanes_) lane->Join();
  if (!quiet) return absl::UnavailableError("the batch in hand was not done in time and is dropped");
  return fenced;
}

absl::StatusOr<std::unique_ptr<Applier>> Applier::Start(ApplierOptions options,
                                                        const std::vector<TableName>& tables,
                                                        MemoryBudget& budget, const StopSignal& stop,
                                                        std::function<void(const ApplierEvent&)> observe) {
  WF_ASSIGN_OR_RETURN(Connection target, Connect(options, &stop));
  WF_ASSIGN_OR_RETURN(const ReplicaRole role, TakeReplicaRole(target, tables));
  observe(
      {role.in_force ? ApplierEvent::Kind::kReplicaRole : ApplierEvent::Kind::kNoReplicaRole, {}, role.text});
  const bool adaptive = options.lanes == 0;
  const LaneTerms wanted = {.lanes = adaptive ? 1 : options.lanes, .binary = options.binary};
  WF_ASSIGN_OR_RETURN(const LaneTerms agreed, AgreeOnLanes(target, options.migration, wanted));
  if ((agreed.lanes != wanted.lanes && !adaptive) || agreed.binary != wanted.binary) {
    observe({ApplierEvent::Kind::kLanes,
             {},
             absl::StrFormat("the lanes stand at different positions, so it is as in the run before: %d "
                             "lanes, %s values",
                             agreed.lanes, agreed.binary ? "binary" : "text")});
  }
  options.lanes = agreed.lanes;
  options.binary = agreed.binary;
  WF_ASSIGN_OR_RETURN(const std::optional<MigrationRecord> record, LoadMigration(target, options.migration));
  auto impl = std::make_unique<Impl>(std::move(options), tables, budget, stop, std::move(observe),
                                     record ? record->confirmed : Lsn{}, role.in_force,
                                     adaptive && role.in_force && agreed.lanes == 1);
  WF_RETURN_IF_ERROR(impl->Start(target));
  return std::unique_ptr<Applier>(new Applier(std::move(impl)));
}

Applier::Applier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Applier::~Applier() = default;

absl::Status Applier::Finish(absl::Time deadline) {
  return impl_->Finish(deadline);
}
bool Applier::replica_role() const {
  return impl_->replica_role();
}
bool Applier::binary() const {
  return impl_->binary();
}
ApplierCounters Applier::counters() const {
  return impl_->tally().counters();
}
absl::StatusOr<Lsn> Applier::Restart() {
  return impl_->Restart();
}
void Applier::Push(Segment segment) {
  impl_->Push(std::move(segment));
}
void Applier::Idle(Lsn wal_end) {
  impl_->Idle(wal_end);
}
void Applier::HurryConfirmation() {
  impl_->fence().Hurry();
}
SinkProgress Applier::progress() const {
  return impl_->progress().sink_progress();
}
absl::Status Applier::status() const {
  return impl_->progress().status();
}
bool Applier::wants_restart() const {
  return impl_->progress().wants_restart();
}
int Applier::fd() const {
  return impl_->progress().fd();
}
void Applier::DrainWakeups() {
  impl_->progress().DrainWakeups();
}

}  // namespace walferry
