// What the process ends with. Scripts rely on these numbers.
#pragma once

#include "decoder/status.h"

namespace walferry {

enum class ExitCode : int {
  kDone = 0,
  kFailed = 1,         // The operator must act.
  kUsage = 2,          // Wrong usage or configuration.
  kBlockers = 3,       // check found what stands in the way.
  kDifferences = 4,    // verify found the sides to be different.
  kCouldNotCheck = 5,  // check or verify could not look.
  kTryAgain = 75,      // Gave up for now: run the same command again (EX_TEMPFAIL of sysexits.h).
};

// For a command that ended with an error. A cancellation is what was asked for if a stop was requested.
ExitCode ExitCodeOf(const absl::Status& status, bool stop_requested);

}  // namespace walferry
