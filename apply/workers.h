// Some threads that do the same kind of work until there is none left, one of them fails, or a stop is
// requested.
#pragma once

#include "absl/functional/function_ref.h"
#include "decoder/status.h"
#include "stream/stop_signal.h"

namespace walferry {

// Calls `work` on `count` threads and returns when all have returned: with the first error, if any. `halt` is
// requested when `stop` is or when one of them failed; give it to connections and look at it between two
// pieces of work.
absl::Status RunWorkers(int count, const StopSignal& stop,
                        absl::FunctionRef<absl::Status(const StopSignal& halt)> work);

}  // namespace walferry
