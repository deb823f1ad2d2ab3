// Tested by tests/apply/rendezvous_test.cc.
#include "apply/rendezvous.h"

#include <algorithm>

#include "absl/time/time.h"

namespace walferry {
namespace {

// How long an interruption may go unnoticed.
constexpr absl::Duration kGlance = absl::Milliseconds(20);

}  // namespace

void Rendezvous::AddLane() {
  const absl::MutexLock lock(&mutex_);
  lanes_.emplace_back();
}

bool Rendezvous::AllHaveCome() const {
  return std::all_of(lanes_.begin(), lanes_.end(), [](const Place& place) { return place.here; });
}

bool Rendezvous::SomeAreAstray() const {
  const Lsn commit_lsn = lanes_.front().commit_lsn;
  return std::any_of(lanes_.begin(), lanes_.end(),
                     [&](const Place& place) { return place.commit_lsn != commit_lsn; });
}

void Rendezvous::SendAway() {
  for (Place& place : lanes_) place.here = false;
  changed_.SignalAll();
}

void Rendezvous::Arrive(int lane, Lsn commit_lsn, Lsn position) {
  const absl::MutexLock lock(&mutex_);
  lanes_[static_cast<std::size_t>(lane)] = {true, commit_lsn, position, finished_};
  changed_.SignalAll();
}

Rendezvous::Outcome Rendezvous::Await(int lane, const std::function<bool()>& interrupted) {
  const absl::MutexLock lock(&mutex_);
  Place& place = lanes_[static_cast<std::size_t>(lane)];
  while (finished_ == place.meeting) {
    if (broken_) return Outcome::kBroken;
    const bool all = AllHaveCome();
    if (all && SomeAreAstray()) return Outcome::kAstray;
    if (all && lane == 0) return Outcome::kMet;
    if (!all && interrupted()) {
      place.here = false;
      return Outcome::kInterrupted;
    }
    changed_.WaitWithTimeout(&mutex_, kGlance);
  }
  return Outcome::kMet;
}

std::vector<Lsn> Rendezvous::positions() const {
  const absl::MutexLock lock(&mutex_);
  std::vector<Lsn> positions;
  for (const Place& place : lanes_) positions.push_back(place.position);
  return positions;
}

void Rendezvous::Finish(Lsn end) {
  const absl::MutexLock lock(&mutex_);
  end_ = end;
  ++finished_;
  SendAway();
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
  SendAway();
}

}  // namespace walferry
