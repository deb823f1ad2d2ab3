// What a migration leaves on both sides, and its removal.
#pragma once

#include <string>
#include <vector>

#include "decoder/status.h"
#include "stream/stop_signal.h"
#include "tools/cutover_leftovers.h"

namespace walferry {

struct CleanupPlan {
  std::vector<std::string> steps;  // One sentence each, in the order in which they are done.
  std::string slot;                // Empty: none to drop.
  std::vector<std::string> publications;
  // Of a cutover that did not come to its end; nobody would do it any more.
  std::vector<Leftover> leftovers;
};

// Only what the migration made itself: a slot given to `stream --slot` stays. kFailedPrecondition while a
// walferry runs it, or where there is nothing of that name.
absl::StatusOr<CleanupPlan> PlanCleanup(const std::string& source, const std::string& target,
                                        const std::string& name, const StopSignal& stop);
absl::Status RunCleanup(const CleanupPlan& plan, const std::string& source, const std::string& target,
                        const std::string& name, const StopSignal& stop);

}  // namespace walferry
