// Tested by tests/apply/applier_recovery_test.cc. What is done about failures stands in lane_recovery.cc.
#include "apply/lane.h"

#include <utility>

#include "absl/time/clock.h"
#include "apply/ordered_replay.h"

namespace walferry {
namespace {

// How long a stop, or a memory budget that ran out, may go unnoticed while there is nothing to do.
constexpr absl::Duration kGlance = absl::Milliseconds(20);

}  // namespace

Lane::Lane(const LaneContext& context, int number)
    : context_(context), number_(number), tables_(context.catalog) {}

Lane::~Lane() {
  Join();
}

void Lane::Join() {
  {
    const absl::MutexLock lock(&mutex_);
    quit_ = true;
    changed_.SignalAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Lane::StartThread() {
  thread_ = std::thread([this] { Run(); });
}

void Lane::ShareWith(int lanes) {
  const absl::MutexLock lock(&mutex_);
  lanes_ = lanes;
}

void Lane::Push(std::shared_ptr<const Segment> segment) {
  const absl::MutexLock lock(&mutex_);
  incoming_.push_back(std::move(segment));
  idle_ = false;
  changed_.SignalAll();
}

void Lane::Idle() {
  const absl::MutexLock lock(&mutex_);
  if (std::exchange(idle_, true)) return;
  changed_.SignalAll();
}

absl::StatusOr<Lsn> Lane::Restart() {
  const absl::MutexLock lock(&mutex_);
  restart_result_.reset();
  restart_wanted_ = true;
  changed_.SignalAll();
  while (!restart_result_.has_value()) {
    if (quit_ || stopping()) {
      restart_wanted_ = false;
      return absl::CancelledError("stopped");
    }
    changed_.WaitWithTimeout(&mutex_, kGlance);
  }
  return *restart_result_;
}

void Lane::Recheck() {
  const absl::MutexLock lock(&mutex_);
  recheck_ = true;
  changed_.SignalAll();
}

void Lane::Quiesce() {
  const absl::MutexLock lock(&mutex_);
  finishing_ = true;
  changed_.SignalAll();
}

void Lane::LevelUp(Lsn end) {
  const absl::MutexLock lock(&mutex_);
  level_to_ = end;
  changed_.SignalAll();
}

bool Lane::AwaitRest(absl::Time deadline) {
  const absl::MutexLock lock(&mutex_);
  const auto at_rest = [this]()
                           ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !busy_ && !level_to_.valid(); };
  while (!at_rest() && absl::Now() < deadline) changed_.WaitWithDeadline(&mutex_, deadline);
  return at_rest();
}

bool Lane::stopping() const {
  return finishing_ || context_.stop.requested() || context_.abort.requested();
}

void Lane::Run() {
  while (true) {
    const Work work = NextWork();
    // Whatever else is done begins where everything sent is known to be committed.
    if (work != Work::kQuit && work != Work::kBatch && work != Work::kPassed) Settle(AwaitChain(0));
    switch (work) {
      case Work::kQuit:
        return;
      case Work::kSettle:
        break;
      case Work::kBatch:
        dealer_ ? ApplyShare() : ApplyBatch(builder_.TakeWhole(context_.options.batch_bytes));
        break;
      case Work::kPassed:
        ApplyNext();
        break;
      case Work::kLevel:
        LevelUpNow();
        break;
      case Work::kParts:
        ApplyParts();
        break;
      case Work::kRestart: {
        absl::StatusOr<Lsn> result = DoRestart();
        const absl::MutexLock lock(&mutex_);
        restart_wanted_ = false;
        restart_result_ = std::move(result);
        changed_.SignalAll();
        break;
      }
      case Work::kRecheck:
        DoRecheck();
        break;
    }
  }
}

void Lane::TakeIncoming() {
  std::deque<std::shared_ptr<const Segment>> taken;
  {
    const absl::MutexLock lock(&mutex_);
    taken.swap(incoming_);
    if (lanes_ > 1 && !dealer_) dealer_.emplace(context_.dealing, lanes_, number_);
  }
  for (; !taken.empty(); taken.pop_front()) {
    if (discarding_) continue;
    Settle(builder_.Add(std::move(taken.front())));
  }
  if (!discarding_) return;
  builder_.Reset(position_);
  next_ = {};
  common_.reset();
}

std::optional<Lane::Work> Lane::ChooseWork() {
  if (quit_) return Work::kQuit;
  const std::optional<Work> rest = chain_.empty() ? std::nullopt : std::optional(Work::kSettle);
  if (level_to_.valid()) return Work::kLevel;
  if (stopping()) return rest;
  if ((builder_.has_whole() && (restart_wanted_ || !Lingers())) || common_) return Work::kBatch;
  // A large transaction cannot be waited for: the rest of it may have no room.
  if (builder_.has_open() &&
      (builder_.open_bytes() >= context_.options.batch_bytes || context_.budget.exhausted())) {
    return Work::kParts;
  }
  const bool passed = !next_.transactions.empty();
  if (passed && (restart_wanted_ || absl::Now() >= next_due_)) return Work::kPassed;
  if (restart_wanted_) return Work::kRestart;
  if (std::exchange(recheck_, false)) return Work::kRecheck;
  return rest;
}

Lane::Work Lane::NextWork() {
  while (true) {
    TakeIncoming();
    const absl::MutexLock lock(&mutex_);
    // A restart comes after everything that was pushed before it.
    if (!incoming_.empty()) continue;
    const std::optional<Work> work = ChooseWork();
    busy_ = work.has_value();
    if (work) return *work;
    changed_.SignalAll();
    absl::Time look_again = next_.transactions.empty() || stopping() ? absl::InfiniteFuture() : next_due_;
    // Nothing tells when the memory budget runs out under an unfinished transaction.
    if (builder_.has_open()) look_again = std::min(look_again, absl::Now() + kGlance);
    if (builder_.has_whole()) look_again = std::min(look_again, linger_until_);
    changed_.WaitWithDeadline(&mutex_, look_again);
  }
}

void Lane::ApplyBatch(Batch batch) {
  // Rows that are missing stop the stream before the COMMIT, so that is waited for; and what all lanes wait
  // for is not sent ahead.
  const bool alone = leads() || context_.options.on_missing_row == OnMissingRow::kStop || writer_ == nullptr;
  Settle(alone ? ApplyOrReplay(std::move(batch)) : Chain(std::move(batch)));
}

absl::Status Lane::ApplyOrReplay(Batch batch) {
  const absl::Status status = ApplyWhole(batch, Mode::kNet);
  return refused_ ? ReplayRefused(std::move(batch), status) : status;
}

absl::Status Lane::ReplayRefused(Batch batch, const absl::Status& refusal) {
  // What comes before the relation's first change is applied, and nothing after.
  if (UnexpectedRelation(refusal)) {
    if (batch.transactions.size() == 1) return refusal;
    return ReplayInOrder(std::move(batch), [this](Batch one) { return ApplyOrReplay(std::move(one)); });
  }
  context_.tally.CountReplay();
  Say(ApplierEvent::Kind::kReplay,
      absl::StrFormat(
          "the target refused the net effect of %d transactions, which are applied in the order of "
          "the source now: %s",
          batch.transactions.size(), MessageOf(refusal)));
  WF_RETURN_IF_ERROR(Replay(std::move(batch)));
  // A table that got a unique index meanwhile is dealt anew.
  const bool deal_anew = dealer_ && !leads() && IsAboutAnotherRow(refusal) && !DealtOutOfDate().empty();
  return deal_anew ? GiveUp() : absl::OkStatus();
}

absl::Status Lane::Replay(Batch batch) {
  if (batch.transactions.size() == 1) return ApplyInOrder(std::move(batch));
  const absl::Status status = ApplyWhole(batch, Mode::kInOrder);
  if (!refused_) return status;
  return ReplayInOrder(std::move(batch), [this](Batch one) { return ApplyInOrder(std::move(one)); });
}

// One transaction.
absl::Status Lane::ApplyInOrder(Batch batch) {
  absl::Status status = ApplyWhole(batch, Mode::kInOrder);
  if (refused_ && dealer_ && !leads() && IsAboutAnotherRow(status)) status = ApplyBehindOthers(batch);
  if (!refused_) return status;
  if (context_.options.on_conflict == OnConflict::kSkipLogged && failed_change_ && !missing_row_) {
    status = ApplyWhole(batch, Mode::kCareful);
    if (!refused_) return status;
  }
  return ConflictError(status, batch.transactions.front(), failed_change_);
}

// The row in the way may be one that another lane has yet to delete: a unique index came to the target after
// the table's rows had been dealt.
absl::Status Lane::ApplyBehindOthers(const Batch& batch) {
  WF_RETURN_IF_ERROR(AwaitLanesBehind());
  absl::Status status = ApplyWhole(batch, Mode::kInOrder);
  if (!refused_) return status;
  const std::string table = DealtOutOfDate();
  if (table.empty()) return status;
  return Annotate(status,
                  "a unique index of " + table +
                      " was made on the target while several lanes applied its rows (drop it there, start "
                      "again, and make it while nothing is applied)");
}

absl::Status Lane::ApplyWhole(const Batch& batch, Mode mode) {
  while (true) {
    const absl::Status status = Capture(Attempt(batch, mode));
    if (!status.ok()) {
      WF_ASSIGN_OR_RETURN(const Next next, Recover(status, batch.end_lsn()));
      if (next == Next::kAgain) continue;
      if (next == Next::kFromSource) return GiveUp();
    }
    ReportBatch();
    Committed(batch.end_lsn());
    return absl::OkStatus();
  }
}

absl::Status Lane::Attempt(const Batch& batch, Mode mode) {
  WF_RETURN_IF_ERROR(SendBatch(batch, mode, position_));
  return writer_->Commit();
}

absl::Status Lane::SendBatch(const Batch& batch, Mode mode, Lsn from) {
  if (writer_ == nullptr) return absl::UnavailableError("not connected to the target");
  for (const SourceTransaction& transaction : batch.transactions) {
    WF_RETURN_IF_ERROR(writer_->ResolveTables(transaction));
    if (leads()) DecideOn(transaction);
  }
  WF_RETURN_IF_ERROR(writer_->Begin(from, batch.end_lsn()));
  for (const SourceTransaction& transaction : batch.transactions) {
    WF_RETURN_IF_ERROR(Send(transaction, mode));
    writer_->CountTransaction();
  }
  WF_RETURN_IF_ERROR(writer_->SendGathered());
  return leads() ? MoveOthers(batch.end_lsn()) : absl::OkStatus();
}

absl::Status Lane::Send(const SourceTransaction& transaction, Mode mode) {
  return ForEachChange(transaction, [&](const Segment& segment, const Event& event) {
    switch (mode) {
      case Mode::kNet:
        return writer_->Gather(transaction, segment, event);
      case Mode::kInOrder:
        return writer_->Apply(transaction, segment, event);
      case Mode::kCareful:
        return writer_->ApplyOrSkip(transaction, segment, event);
    }
    return absl::InternalError("no such mode");
  });
}

Lane::Mode Lane::ModeOfParts(Lsn commit_lsn) const {
  return commit_lsn == again_commit_lsn_ ? again_mode_ : Mode::kNet;
}

void Lane::ApplyParts() {
  if (!next_.transactions.empty()) return ApplyNext();
  SourceTransaction part = builder_.TakePart(context_.options.batch_bytes);
  if (dealer_) {
    const absl::StatusOr<bool> taken = dealer_->TakeShare(part);
    if (!taken.ok()) return Settle(taken.status());
    if (!*taken) return ApplyPartsTogether(std::move(part));
  }
  const Mode mode = ModeOfParts(part.commit_lsn);
  // What was refused may be in the way of a lane that stands behind.
  const absl::Status behind = mode == Mode::kNet ? absl::OkStatus() : AwaitLanesBehind();
  if (!behind.ok()) return Settle(behind);
  const absl::Status status = Capture(SendParts(part, mode));
  Settle(status.ok() ? FinishParts(part) : SettleParts(part, status, mode));
}

absl::Status Lane::FinishParts(const SourceTransaction& part) {
  ReportBatch();
  Committed(part.end_lsn);
  return absl::OkStatus();
}

absl::Status Lane::SendParts(SourceTransaction& part, Mode mode) {
  if (writer_ == nullptr) return absl::UnavailableError("not connected to the target");
  WF_RETURN_IF_ERROR(writer_->ResolveTables(part));
  if (leads()) DecideOn(part);
  WF_RETURN_IF_ERROR(writer_->Begin(position_, position_));
  while (true) {
    WF_RETURN_IF_ERROR(Send(part, mode));
    WF_RETURN_IF_ERROR(writer_->SendGathered());
    if (part.whole()) break;
    part.slices.clear();
    WF_RETURN_IF_ERROR(AwaitPart(true));
    part = builder_.TakePart(context_.options.batch_bytes);
    WF_RETURN_IF_ERROR(TakeShareOf(part));
    WF_RETURN_IF_ERROR(writer_->ResolveTables(part));
    if (leads()) DecideOn(part);
  }
  WF_RETURN_IF_ERROR(writer_->MoveTo(position_, part.end_lsn));
  if (leads()) WF_RETURN_IF_ERROR(MoveOthers(part.end_lsn));
  writer_->CountTransaction();
  return writer_->Commit();
}

// Waits for more of the transaction that is being applied in parts. kCancelled: there will not be any.
absl::Status Lane::AwaitPart(bool flush) {
  bool flushed = !flush;
  while (true) {
    TakeIncoming();
    if (builder_.has_open() && builder_.open_has_news()) return absl::OkStatus();
    {
      const absl::MutexLock lock(&mutex_);
      if (quit_ || stopping() || discarding_) return absl::CancelledError("stopped");
      if (!incoming_.empty()) continue;
      if (restart_wanted_) return absl::CancelledError("the stream begins again");
      if (flushed) changed_.WaitWithTimeout(&mutex_, kGlance);
    }
    // While nothing comes, see what became of what was sent.
    if (!std::exchange(flushed, true)) WF_RETURN_IF_ERROR(writer_->Flush());
  }
}

// What to do after a transaction in parts failed: its first parts are gone from memory.
absl::Status Lane::SettleParts(const SourceTransaction& part, const absl::Status& error, Mode mode) {
  const absl::StatusOr<Next> next = Recover(error, part.end_lsn);
  if (next.ok()) return *next == Next::kCommitted ? FinishParts(part) : GiveUp();
  if (!refused_ || UnexpectedRelation(error)) return next.status();
  const bool may_skip =
      failed_change_ && !missing_row_ && context_.options.on_conflict == OnConflict::kSkipLogged;
  if (mode == Mode::kNet || (mode == Mode::kInOrder && may_skip)) {
    again_commit_lsn_ = part.commit_lsn;
    again_mode_ = mode == Mode::kNet ? Mode::kInOrder : Mode::kCareful;
    return GiveUp();
  }
  return ConflictError(next.status(), part, failed_change_);
}

absl::Status Lane::Capture(absl::Status status) {
  refused_ = false;
  if (writer_ == nullptr) return status;
  std::vector<BatchTally> committed = writer_->TakeCommitted();
  batch_tally_ = !committed.empty()               ? std::move(committed.front())
                 : !writer_->unanswered().empty() ? writer_->unanswered().front()
                                                  : BatchTally{};
  batch_skipped_ = writer_->skipped();
  failed_change_ = writer_->failed_change();
  missing_row_ = writer_->stopped_at_missing_row();
  return status;
}

void Lane::Committed(Lsn position) {
  position_ = position;
  failing_since_ = absl::InfiniteFuture();
  backoff_.Reset();
  context_.progress.Applied(number_, position);
}

}  // namespace walferry
