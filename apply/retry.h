// Trying again what failed because a connection was lost or a server is away for a while.
#pragma once

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "decoder/status.h"
#include "stream/stop_signal.h"

namespace walferry {

// Calls `attempt` until it succeeds, fails with something that trying again does not heal (IsRetryable), a
// stop is requested (kCancelled), or it failed for `retry_for` on end: the last error then, as kUnavailable.
// An attempt that worked for a while before it failed starts that time anew. Waits between attempts
// (stream/backoff.h).
absl::Status RetryFor(absl::Duration retry_for, const StopSignal& stop,
                      absl::FunctionRef<absl::Status()> attempt);

}  // namespace walferry
