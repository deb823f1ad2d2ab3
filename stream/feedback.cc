// Tested by tests/stream/feedback_test.cc
#include "stream/feedback.h"

#include <algorithm>

namespace walferry {
namespace {

constexpr absl::Duration kAfterConfirmation = absl::Milliseconds(100);
constexpr absl::Duration kWhileProbing = absl::Milliseconds(200);
// A server that shuts down asks again as soon as it was answered, until everything is confirmed.
constexpr absl::Duration kBetweenReplies = absl::Milliseconds(10);

// Microseconds since 2000-01-01 00:00 UTC.
constexpr std::int64_t kServerEpochUnixSeconds = 946684800;

}  // namespace

Feedback::Feedback(absl::Duration interval, absl::Time now) : interval_(interval), last_sent_(now) {}

void Feedback::Received(Lsn lsn) {
  received_ = std::max(received_, lsn);
}

void Feedback::Progressed(const SinkProgress& progress) {
  confirmed_ = std::max(confirmed_, progress.confirmed);
  applied_ = std::max({applied_, progress.applied, confirmed_});
}

absl::Time Feedback::Due() const {
  absl::Duration gap = interval_;
  if (probing_) gap = std::min(gap, kWhileProbing);
  if (confirmed_ > confirmed_sent_) gap = std::min(gap, kAfterConfirmation);
  if (reply_requested_) gap = sent_ ? std::min(gap, kBetweenReplies) : absl::ZeroDuration();
  return last_sent_ + gap;
}

StandbyStatusUpdate Feedback::Next(absl::Time now) {
  last_sent_ = now;
  sent_ = true;
  reply_requested_ = false;
  confirmed_sent_ = confirmed_;
  return {.write = std::max(received_, applied_),
          .flush = confirmed_,
          .apply = applied_,
          .client_time = absl::ToUnixMicros(now) - kServerEpochUnixSeconds * 1000000,
          .reply_requested = probing_};
}

}  // namespace walferry
