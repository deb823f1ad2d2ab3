// Tested by tests/apply/rendezvous_test.cc.
#include "apply/rendezvous.h"

#include <algorithm>

#include "absl/time/time.h"

namespace walferry {
namespace {

// How long an interruption may go unnoticed.
constexpr absl::Duration kGlance = absl::Milliseconds(20);

}  // namespace

bool Rendezvous::AllHaveCome() const {
  return std::all_of(arrived_.begin(), arrived_.end(), [](const auto& at) { return at.has_value(); });
}

Rendezvous::Outcome Rendezvous::Meet(int lane, Lsn commit_lsn, Lsn position,
                                     const std::function<bool()>& interrupted) {
  const absl::MutexLock lock(&mutex_);
  const std::uint64_t before = finished_;
  for (const std::optional<Arrival>& other : arrived_) {
    if (other && other->commit_lsn != commit_lsn && !broken_) return Outcome::kAstray;
  }
  arrived_[static_cast<std::size_t>(lane)] = {commit_lsn, position};
  changed_.SignalAll();
  while (finished_ == before) {
    if (broken_) return Outcome::kBroken;
    const bool all = AllHaveCome();
    if (all && lane == 0) return Outcome::kMet;
    if (!all && interrupted()) {
      arrived_[static_cast<std::size_t>(lane)].reset();
      return Outcome::kInterrupted;
    }
    changed_.WaitWithTimeout(&mutex_, kGlance);
  }
  return Outcome::kMet;
}

std::vector<Lsn> Rendezvous::positions() const {
  const absl::MutexLock lock(&mutex_);
  std::vector<Lsn> positions;
  for (const std::optional<Arrival>& lane : arrived_) positions.push_back(lane ? lane->position : Lsn{});
  return positions;
}

void Rendezvous::Finish(Lsn end) {
  const absl::MutexLock lock(&mutex_);
  end_ = end;
  ++finished_;
  std::fill(arrived_.begin(), arrived_.end(), std::nullopt);
  changed_.SignalAll();
}

Lsn Rendezvous::end() const {
  const absl::MutexLock lock(&mutex_);
  return end_;
}

void Rendezvous::Break() {
  const absl::MutexLock lock(&mutex_);
  broken_ = true;
  changed_.SignalAll();
}

void Rendezvous::Reset() {
  const absl::MutexLock lock(&mutex_);
  broken_ = false;
  std::fill(arrived_.begin(), arrived_.end(), std::nullopt);
}

}  // namespace walferry
