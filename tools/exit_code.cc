#include "tools/exit_code.h"

namespace walferry {

ExitCode ExitCodeOf(const absl::Status& status, bool stop_requested) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kDone;
    case absl::StatusCode::kCancelled:
      return stop_requested ? ExitCode::kDone : ExitCode::kFailed;
    case absl::StatusCode::kInvalidArgument:
      return ExitCode::kUsage;
    case absl::StatusCode::kUnavailable:
      return ExitCode::kTryAgain;
    default:
      return ExitCode::kFailed;
  }
}

}  // namespace walferry
