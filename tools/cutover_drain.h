// The way of the stream from "follows" to "nothing comes any more": to the source's head, to a marker, and on
// to a second one, with not a change between the two.
#pragma once

#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "decoder/lsn.h"
#include "stream/connection.h"
#include "tools/follow.h"
#include "tools/open_transactions.h"

namespace walferry {

struct DrainOptions {
  absl::Duration timeout;  // For the target to reach a marker.
  bool accept_open_transactions = false;
};

// Asked by the stream where to go on to (FollowUntil). The stream itself is the proof: it decodes what comes
// and nothing twice, however old the position is that the slot has to be decoded from after a restart.
class Drain {
 public:
  // source: of this thread alone while the stream runs.
  Drain(Connection& source, FollowUntil to_head, DrainOptions options)
      : source_(source), to_head_(std::move(to_head)), options_(options) {}

  std::optional<Lsn> Next(const FollowProgress& progress);

  // How it ended, once the stream is over.
  absl::Status Outcome(const FollowProgress& last) const;

  Lsn marker() const { return marker_; }
  // When the pause began with a marker, when that was reached, and when it was certain that nothing followed.
  absl::Time marked_at() const { return marked_at_; }
  absl::Time drained_at() const { return drained_at_; }
  absl::Time proven_at() const { return proven_at_; }

 private:
  enum class Stage { kToHead, kToMarker, kSilence, kToEnd, kOver };

  std::optional<Lsn> ToHead(const FollowProgress& progress);
  std::optional<Lsn> ToMarker(const FollowProgress& progress);
  std::optional<Lsn> Silence(const FollowProgress& progress);
  std::optional<Lsn> ToEnd(const FollowProgress& progress);
  // Writes a marker and makes it the next goal; what comes from now on is a write after it.
  std::optional<Lsn> Mark(const FollowProgress& progress, Stage next);
  std::optional<Lsn> Over(const FollowProgress& progress, absl::Status error);
  absl::Status LookForOpenTransactions();

  Connection& source_;
  const FollowUntil to_head_;
  const DrainOptions options_;
  Stage stage_ = Stage::kToHead;
  Lsn first_;   // Shows that the stream is under way, outside of the pause.
  Lsn marker_;  // The last one that was written in the pause.
  absl::Time marked_at_ = absl::InfiniteFuture();
  absl::Time drained_at_ = absl::InfiniteFuture();
  absl::Time proven_at_ = absl::InfiniteFuture();
  absl::Time quiet_since_ = absl::InfiniteFuture();
  absl::Time goal_since_ = absl::InfiniteFuture();
  std::uint64_t changes_before_ = 0;
  bool marked_again_ = false;
  std::vector<OpenTransaction> open_;  // Before the last marker.
  absl::Time open_since_ = absl::InfiniteFuture();
  absl::Status error_;
};

}  // namespace walferry
