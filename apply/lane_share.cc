// What a lane does differently where there are several: it applies its share, and waits for the others before
// what cannot be taken apart. Tested by tests/apply/applier_lanes_test.cc and applier_levels_test.cc.
#include <algorithm>
#include <limits>
#include <utility>

#include "absl/time/clock.h"
#include "apply/lane.h"

namespace walferry {
namespace {

// How often the other lanes' positions are looked at.
constexpr absl::Duration kLook = absl::Milliseconds(10);

constexpr Lsn kEverything{std::numeric_limits<std::uint64_t>::max()};

absl::Status Apart() {
  return absl::CancelledError("another lane has stopped");
}

}  // namespace

void Lane::ApplyShare() {
  if (!common_) {
    const absl::Status gathered = GatherShare(kEverything);
    if (!gathered.ok()) return Settle(gathered);
  }
  if (next_.bytes > 0) return ApplyNext();
  if (!common_) return;
  if (!next_.transactions.empty()) ApplyNext();
  if (!discarding_) ApplyTogether();
}

// Stops at one that is not to be taken apart, which it leaves in common_. What a lane passes by, because it
// has no share in it, is not committed for itself each time.
absl::Status Lane::GatherShare(Lsn up_to) {
  if (next_.transactions.empty()) next_due_ = absl::Now() + context_.options.fence_interval / 4;
  while (builder_.has_whole() && builder_.first_end() <= up_to &&
         next_.bytes < context_.options.batch_bytes) {
    SourceTransaction transaction = builder_.TakeFirst();
    WF_ASSIGN_OR_RETURN(const bool taken, dealer_->TakeShare(transaction));
    if (!taken) {
      common_ = std::move(transaction);
      return absl::OkStatus();
    }
    next_.bytes += transaction.bytes;
    next_.transactions.push_back(std::move(transaction));
  }
  return absl::OkStatus();
}

void Lane::ApplyNext() {
  ApplyBatch(std::exchange(next_, {}));
}

void Lane::LevelUpNow() {
  const auto level_to = [this] {
    const absl::MutexLock lock(&mutex_);
    return level_to_;
  };
  for (Lsn end = level_to(); !discarding_ && !common_ && position_ < end; end = level_to()) {
    // It may have passed by more than that already.
    while (!next_.transactions.empty() && next_.end_lsn() > end) next_.transactions.pop_back();
    const absl::Status gathered = GatherShare(end);
    if (!gathered.ok()) Settle(gathered);
    if (discarding_ || next_.transactions.empty()) break;
    ApplyNext();
  }
  const absl::MutexLock lock(&mutex_);
  level_to_ = Lsn{};
  changed_.SignalAll();
}

// True: all stand before it. False: this lane is to stop, or to begin anew.
absl::StatusOr<bool> Lane::AwaitOthers(bool in_parts) {
  const auto interrupted = [&] {
    const absl::MutexLock lock(&mutex_);
    // What is whole here the others have, too, and they come before they begin anew.
    return quit_ || stopping() || (in_parts && restart_wanted_);
  };
  switch (context_.rendezvous.Await(number_, interrupted)) {
    case Rendezvous::Outcome::kMet:
      return true;
    case Rendezvous::Outcome::kInterrupted:
      return false;
    case Rendezvous::Outcome::kBroken:
      return Apart();
    case Rendezvous::Outcome::kAstray:
      break;
  }
  return absl::InternalError("the lanes wait for each other before different transactions");
}

void Lane::ApplyTogether() {
  Settle(AwaitChain(0));
  if (discarding_) return;
  context_.rendezvous.Arrive(number_, common_->commit_lsn, position_);
  const absl::StatusOr<bool> met = AwaitOthers(false);
  if (!met.ok()) return Settle(met.status());
  // It stays where it is, so that the lane may still level up.
  if (!*met) return;
  Batch batch;
  batch.transactions.push_back(*std::exchange(common_, std::nullopt));
  if (number_ != kFirstLane) return TakeOverEnd();
  const Lsn end = batch.end_lsn();
  all_positions_ = context_.rendezvous.positions();
  ApplyBatch(std::move(batch));
  EndMeeting(end);
}

void Lane::ApplyPartsTogether(SourceTransaction part) {
  const Lsn commit_lsn = part.commit_lsn;
  context_.dealing.NoteTogether(commit_lsn);
  context_.rendezvous.Arrive(number_, commit_lsn, position_);
  if (number_ != kFirstLane) {
    const absl::Status ended = AwaitEndOfParts(std::move(part));
    return ended.ok() ? TakeOverEnd() : Settle(ended);
  }
  const absl::StatusOr<bool> met = AwaitOthers(true);
  if (!met.ok() || !*met) return Settle(met.ok() ? Apart() : met.status());
  all_positions_ = context_.rendezvous.positions();
  const Mode mode = ModeOfParts(commit_lsn);
  const absl::Status status = Capture(SendParts(part, mode));
  Settle(status.ok() ? FinishParts(part) : SettleParts(part, status, mode));
  EndMeeting(part.end_lsn);
}

// What it gets of the transaction meanwhile is not kept: there may be no room for it.
absl::Status Lane::AwaitEndOfParts(SourceTransaction part) {
  while (!part.whole()) {
    part.slices.clear();
    WF_RETURN_IF_ERROR(AwaitPart(false));
    part = builder_.TakePart(context_.options.batch_bytes);
  }
  WF_ASSIGN_OR_RETURN(const bool met, AwaitOthers(true));
  return met ? absl::OkStatus() : Apart();
}

void Lane::EndMeeting(Lsn end) {
  all_positions_.clear();
  if (!discarding_) {
    for (auto& [relation, dealt] : decided_) context_.dealing.Decide(relation, std::move(dealt));
    dealer_->Forget();
    context_.rendezvous.Finish(end);
  }
  decided_.clear();
}

void Lane::TakeOverEnd() {
  dealer_->Forget();
  Committed(context_.rendezvous.end());
}

absl::Status Lane::TakeShareOf(SourceTransaction& part) {
  if (!dealer_ || leads()) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(const bool taken, dealer_->TakeShare(part));
  if (taken) return absl::OkStatus();
  context_.dealing.NoteTogether(part.commit_lsn);
  return GiveUp();
}

// The tables that nobody has decided on: those of the transaction, and what else this lane knows, so that a
// lane that joins late does not have to meet the others for each. What is decided holds after the commit.
void Lane::DecideOn(const SourceTransaction& transaction) {
  std::map<TableName, const Relation*> relations = tables_.latest();
  const Relation* last = nullptr;
  const auto note = [&](const Relation* relation) {
    if (std::exchange(last, relation) != relation) relations[tables_.Find(relation)->name] = relation;
  };
  const absl::Status visited =
      ForEachChange(transaction, [&](const Segment& segment, const Event& event) -> absl::Status {
        if (event.kind != EventKind::kTruncate) note(event.relation);
        for (std::size_t i = 0; i < event.truncate_count; ++i) {
          note(segment.truncated[event.truncate_first + i]);
        }
        return absl::OkStatus();
      });
  visited.IgnoreError();
  for (const auto& [name, relation] : relations) {
    if (context_.dealing.Find(relation, false) == nullptr) decided_[relation] = DealOf(relation);
  }
}

DealtTable Lane::DealOf(const Relation* relation) const {
  const MappedTable& table = *tables_.Find(relation);
  DealtTable dealt = {relation->id, table.name, {}, context_.options.binary};
  if (!table.in_scope) return dealt;
  for (const std::size_t column : table.lane_key) dealt.key.push_back(relation->columns[column].name);
  return dealt;
}

absl::Status Lane::AwaitLanesBehind() {
  while (true) {
    const std::vector<Lsn> positions = context_.progress.positions();
    if (*std::min_element(positions.begin(), positions.end()) >= position_) return absl::OkStatus();
    if (!context_.progress.status().ok() || context_.progress.wants_restart()) return GiveUp();
    const absl::MutexLock lock(&mutex_);
    if (quit_ || stopping() || restart_wanted_) return absl::CancelledError("stopped");
    changed_.WaitWithTimeout(&mutex_, kLook);
  }
}

std::string Lane::DealtOutOfDate() const {
  for (const auto& [name, relation] : tables_.latest()) {
    const std::shared_ptr<const Deal> deal = context_.dealing.Find(relation, false);
    if (deal == nullptr || deal->key.empty()) continue;
    if (tables_.Find(relation)->lane_key != deal->key) return name.ToString();
  }
  return {};
}

absl::Status Lane::MoveOthers(Lsn end) {
  for (std::size_t lane = 0; lane < all_positions_.size(); ++lane) {
    if (static_cast<int>(lane) == number_) continue;
    WF_RETURN_IF_ERROR(writer_->MoveOther(static_cast<int>(lane), all_positions_[lane], end));
  }
  for (const auto& [relation, dealt] : decided_) WF_RETURN_IF_ERROR(writer_->RecordDealing(dealt));
  return absl::OkStatus();
}

}  // namespace walferry
