// Tested by tests/apply/table_copy_test.cc.
#include "apply/retry.h"

#include <poll.h>

#include <algorithm>

#include "absl/time/clock.h"
#include "stream/backoff.h"
#include "stream/sqlstate.h"

namespace walferry {
namespace {

// Longer than any refusal takes: whoever fails after that had been connected.
constexpr absl::Duration kWorkedForAWhile = absl::Seconds(30);

// False when a stop was requested meanwhile.
bool WaitUnlessStopped(absl::Duration wait, const StopSignal& stop) {
  pollfd stopped{stop.fd(), POLLIN, 0};
  poll(&stopped, 1, static_cast<int>(absl::ToInt64Milliseconds(wait)));
  return !stop.requested();
}

// Of a lock, a slot that is in use, or a full disk as well as of a lost connection: to be run again.
absl::Status GaveUp(const absl::Status& status) {
  if (absl::IsUnavailable(status)) return status;
  return WithSqlstate(Errorf(absl::StatusCode::kUnavailable, "gave up for now: %s", MessageOf(status)),
                      SqlstateOf(status));
}

}  // namespace

absl::Status RetryFor(absl::Duration retry_for, const StopSignal& stop,
                      absl::FunctionRef<absl::Status()> attempt) {
  Backoff backoff;
  absl::Time give_up = absl::InfiniteFuture();
  while (true) {
    const absl::Time begin = absl::Now();
    const absl::Status status = attempt();
    if (!IsRetryable(status)) return status;
    const absl::Time now = absl::Now();
    if (give_up == absl::InfiniteFuture() || now - begin > kWorkedForAWhile) {
      give_up = now + retry_for;
      backoff.Reset();
    }
    const absl::Duration wait = backoff.Next();
    if (now + wait > give_up) return GaveUp(status);
    if (!WaitUnlessStopped(wait, stop)) return absl::CancelledError("stopped");
  }
}

}  // namespace walferry
