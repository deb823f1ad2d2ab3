// Batches one behind the other without waiting for answers. Tested by tests/apply/applier_chain_test.cc.
//
// Batch k+1 is sent while the target works on batch k, so that a target far away costs no throughput. The
// guard makes that safe: k+1 begins at the position that k moves to, and where k fails the target refuses
// everything behind it. Then the position is read back and what is left is applied one by one.
#include <utility>

#include "absl/time/clock.h"
#include "apply/lane.h"

namespace walferry {
namespace {

// One that the target works on, one on its way.
constexpr std::size_t kUnanswered = 1;
// Of changes in a batch: from so many on, waiting for more of them is worth it.
constexpr std::uint64_t kBusyChanges = 1000;
// What a busy lane lets gather. A statement about more rows costs the target less for each of them.
constexpr absl::Duration kGathering = absl::Milliseconds(100);

}  // namespace

bool Lane::Lingers() const {
  return !idle_ && absl::Now() < linger_until_ && builder_.bytes() < context_.options.batch_bytes &&
         !context_.budget.exhausted();
}

absl::Status Lane::Chain(Batch batch) {
  const absl::Time begun = absl::Now();
  chain_.push_back(std::move(batch));
  const absl::Status status = SendChained();
  const bool busy = writer_ != nullptr && !writer_->unanswered().empty() &&
                    writer_->unanswered().back().changes >= kBusyChanges;
  linger_until_ = busy ? begun + kGathering : absl::InfinitePast();
  return status.ok() ? AwaitChain(kUnanswered) : Unchain(status);
}

absl::Status Lane::SendChained() {
  const Lsn from = chain_.size() == 1 ? position_ : chain_[chain_.size() - 2].end_lsn();
  WF_RETURN_IF_ERROR(SendBatch(chain_.back(), Mode::kNet, from));
  return writer_->SendCommit();
}

absl::Status Lane::AwaitChain(std::size_t unanswered) {
  if (chain_.size() <= unanswered) return absl::OkStatus();
  if (absl::Status status = writer_->AwaitCommits(unanswered); !status.ok()) return Unchain(status);
  TakeCommitted();
  return absl::OkStatus();
}

void Lane::TakeCommitted() {
  if (writer_ == nullptr) return;
  batch_skipped_.clear();
  for (BatchTally& tally : writer_->TakeCommitted()) {
    batch_tally_ = std::move(tally);
    ReportBatch();
    Committed(chain_.front().end_lsn());
    chain_.pop_front();
  }
}

// A batch of the chain failed, and all behind it with it.
absl::Status Lane::Unchain(const absl::Status& error) {
  TakeCommitted();
  std::deque<BatchTally> tallies;
  if (writer_ != nullptr) tallies = writer_->unanswered();
  refused_ = false;
  std::vector<Lsn> ends;
  for (const Batch& batch : chain_) ends.push_back(batch.end_lsn());
  Lsn reached;
  const absl::StatusOr<Next> next = Recover(error, ends, reached);
  std::deque<Batch> left = std::exchange(chain_, {});
  if (!next.ok() && !refused_) return next.status();
  if (next.ok() && *next == Next::kFromSource) return GiveUp();
  while (next.ok() && *next == Next::kCommitted && !left.empty() && left.front().end_lsn() <= reached) {
    batch_tally_ = tallies.empty() ? BatchTally{} : std::move(tallies.front());
    if (!tallies.empty()) tallies.pop_front();
    ReportBatch();
    Committed(left.front().end_lsn());
    left.pop_front();
  }
  if (refused_ && !left.empty()) {
    Batch refused = std::move(left.front());
    left.pop_front();
    WF_RETURN_IF_ERROR(ReplayRefused(std::move(refused), error));
  }
  for (; !left.empty(); left.pop_front()) WF_RETURN_IF_ERROR(ApplyOrReplay(std::move(left.front())));
  return absl::OkStatus();
}

}  // namespace walferry
