// Tested by tests/apply/applier_recovery_test.cc and applier_progress_test.cc.
#include "apply/applier.h"

#include <utility>

#include "absl/time/clock.h"
#include "apply/fence.h"
#include "apply/lane.h"

namespace walferry {

class Applier::Impl {
 public:
  Impl(ApplierOptions options, std::vector<TableName> tables, MemoryBudget& budget, const StopSignal& stop,
       std::function<void(const ApplierEvent&)> observe)
      : options_(std::move(options)),
        tables_(std::move(tables)),
        budget_(budget),
        stop_(stop),
        observe_(std::move(observe)),
        catalog_(options_.copied_at, options_.only_listed),
        progress_(options_.lanes),
        fence_(options_, progress_, tally_, abort_, [this] { Recheck(); }) {}

  ~Impl() { abort_.Request(); }

  absl::Status Start();
  absl::Status Finish(absl::Time deadline);
  absl::StatusOr<Lsn> Restart();
  void Push(Segment segment);

  bool replica_role() const { return replica_role_; }
  Progress& progress() { return progress_; }
  const Tally& tally() const { return tally_; }
  Fence& fence() { return fence_; }

 private:
  void Recheck() {
    for (const std::unique_ptr<Lane>& lane : lanes_) lane->Recheck();
  }

  const ApplierOptions options_;
  const std::vector<TableName> tables_;
  MemoryBudget& budget_;
  const StopSignal& stop_;
  const std::function<void(const ApplierEvent&)> observe_;
  StopSignal abort_;
  TableCatalog catalog_;
  Progress progress_;
  Tally tally_;
  bool replica_role_ = false;
  std::vector<std::unique_ptr<Lane>> lanes_;
  Fence fence_;  // Last, so that its thread ends before the lanes that it calls are gone.
};

absl::Status Applier::Impl::Start() {
  if (options_.lanes != 1) {
    return Errorf(absl::StatusCode::kInvalidArgument, "changes are applied by one lane; %d were asked for",
                  options_.lanes);
  }
  const LaneContext context = {options_, tables_, budget_, catalog_, progress_,
                               tally_,   stop_,   abort_,  observe_};
  for (int number = 0; number < options_.lanes; ++number) {
    lanes_.push_back(std::make_unique<Lane>(context, number));
    WF_ASSIGN_OR_RETURN(const ReplicaRole role, lanes_.back()->Open());
    replica_role_ = role.in_force;
    if (number > 0) continue;
    const ApplierEvent::Kind kind =
        role.in_force ? ApplierEvent::Kind::kReplicaRole : ApplierEvent::Kind::kNoReplicaRole;
    observe_({kind, {}, role.text});
  }
  WF_RETURN_IF_ERROR(fence_.Open());
  progress_.Restarted(progress_.sink_progress().applied);
  for (const std::unique_ptr<Lane>& lane : lanes_) lane->StartThread();
  fence_.StartThread();
  return absl::OkStatus();
}

void Applier::Impl::Push(Segment segment) {
  for (auto event = segment.events.rbegin(); event != segment.events.rend(); ++event) {
    if (event->kind != EventKind::kCommit) continue;
    progress_.Pushed(event->lsn);
    break;
  }
  lanes_.front()->Push(std::make_shared<const Segment>(std::move(segment)));
}

absl::StatusOr<Lsn> Applier::Impl::Restart() {
  Lsn position;
  progress_.BeginRestart();
  for (const std::unique_ptr<Lane>& lane : lanes_) {
    WF_ASSIGN_OR_RETURN(const Lsn at, lane->Restart());
    if (!position.valid() || at < position) position = at;
  }
  progress_.Restarted(position);
  return position;
}

absl::Status Applier::Impl::Finish(absl::Time deadline) {
  bool quiet = true;
  for (const std::unique_ptr<Lane>& lane : lanes_) quiet = lane->Quiesce(deadline) && quiet;
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
  auto impl = std::make_unique<Impl>(std::move(options), tables, budget, stop, std::move(observe));
  WF_RETURN_IF_ERROR(impl->Start());
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
  impl_->progress().Idle(wal_end);
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
