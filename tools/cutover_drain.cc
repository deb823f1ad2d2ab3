// Tested by tests/servers/cutover_test.cc.
#include "tools/cutover_drain.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "tools/cutover_marker.h"
#include "tools/log.h"
#include "tools/quantity.h"

namespace walferry {
namespace {

// From the marker on, no change may come for this long.
constexpr absl::Duration kSilence = absl::Seconds(1);
// A transaction that has written something else, a heartbeat for instance, may be open when it is looked for.
constexpr absl::Duration kOpenGrace = absl::Seconds(2);

absl::Status LateWrites() {
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "changes came after the marker: the source still takes writes; stop them and run cutover again "
      "(walferry migrate can go on meanwhile)");
}

}  // namespace

std::optional<Lsn> Drain::Next(const FollowProgress& progress) {
  switch (stage_) {
    case Stage::kToHead:
      return ToHead(progress);
    case Stage::kToMarker:
      return ToMarker(progress);
    case Stage::kSilence:
      return Silence(progress);
    case Stage::kToEnd:
      return ToEnd(progress);
    case Stage::kOver:
      break;
  }
  return progress.lsn.confirmed;
}

std::optional<Lsn> Drain::ToHead(const FollowProgress& progress) {
  // On an idle source the target stands at the head before the stream has begun. What the source has to
  // decode again at its beginning must not become a part of the pause.
  if (!first_.valid()) {
    absl::StatusOr<Lsn> first = WriteMarker(source_);
    if (!first.ok()) return Over(progress, first.status());
    first_ = *first;
  }
  if (progress.lsn.confirmed < first_) return first_;
  const std::optional<Lsn> head = to_head_(progress);
  if (!head || progress.lsn.confirmed < *head) return head;
  marked_at_ = absl::Now();
  return Mark(progress, Stage::kToMarker);
}

std::optional<Lsn> Drain::ToMarker(const FollowProgress& progress) {
  const absl::Time now = absl::Now();
  if (progress.lsn.confirmed < marker_) {
    return now - goal_since_ > options_.timeout ? Over(progress, absl::OkStatus()) : marker_;
  }
  if (progress.changes > changes_before_) {
    // They may have been written before the marker and received after it was written: one more try tells.
    if (std::exchange(marked_again_, true)) return Over(progress, LateWrites());
    return Mark(progress, Stage::kToMarker);
  }
  drained_at_ = now;
  stage_ = Stage::kSilence;
  return Silence(progress);
}

std::optional<Lsn> Drain::Silence(const FollowProgress& progress) {
  if (progress.changes > changes_before_) return Over(progress, LateWrites());
  if (absl::Now() - quiet_since_ < kSilence) return std::nullopt;
  // Before the marker is written: one that ended in between stands before it, the others are known.
  if (absl::Status status = LookForOpenTransactions(); !status.ok()) return Over(progress, status);
  const absl::Time quiet_since = quiet_since_;
  const std::uint64_t changes_before = changes_before_;
  const std::optional<Lsn> end = Mark(progress, Stage::kToEnd);
  quiet_since_ = quiet_since;
  changes_before_ = changes_before;
  return end;
}

std::optional<Lsn> Drain::ToEnd(const FollowProgress& progress) {
  const absl::Time now = absl::Now();
  if (progress.changes > changes_before_) return Over(progress, LateWrites());
  if (progress.lsn.confirmed < marker_) {
    return now - goal_since_ > options_.timeout ? Over(progress, absl::OkStatus()) : marker_;
  }
  if (open_.empty()) {
    proven_at_ = now;
    return Over(progress, absl::OkStatus());
  }
  if (now - open_since_ > kOpenGrace) {
    return Over(progress,
                Errorf(absl::StatusCode::kFailedPrecondition,
                       "transactions with writes are open on the source: %s; end them and run cutover again "
                       "(walferry migrate can go on meanwhile)",
                       Describe(open_)));
  }
  stage_ = Stage::kSilence;
  return std::nullopt;
}

absl::Status Drain::LookForOpenTransactions() {
  if (options_.accept_open_transactions) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(open_, ListOpenTransactions(source_));
  if (!open_.empty()) open_since_ = std::min(open_since_, absl::Now());
  return absl::OkStatus();
}

std::optional<Lsn> Drain::Mark(const FollowProgress& progress, Stage next) {
  const absl::Time now = absl::Now();
  const absl::StatusOr<Lsn> marker = WriteMarker(source_);
  if (!marker.ok()) return Over(progress, marker.status());
  LogInfo("marker at %s", marker->ToString());
  marker_ = *marker;
  goal_since_ = quiet_since_ = now;
  changes_before_ = progress.changes;
  stage_ = next;
  return marker_;
}

std::optional<Lsn> Drain::Over(const FollowProgress& progress, absl::Status error) {
  error_ = std::move(error);
  stage_ = Stage::kOver;
  return progress.lsn.confirmed;
}

absl::Status Drain::Outcome(const FollowProgress& last) const {
  WF_RETURN_IF_ERROR(error_);
  if (proven_at_ == absl::InfiniteFuture()) {
    return Errorf(absl::StatusCode::kUnavailable,
                  "the target did not reach the marker within %s: the migration can go on, run cutover again",
                  FormatTimeSpan(options_.timeout));
  }
  return last.changes > changes_before_ ? LateWrites() : absl::OkStatus();
}

}  // namespace walferry
