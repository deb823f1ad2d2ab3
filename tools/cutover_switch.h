// The switch of a cutover: one transaction of the target that makes all that cannot be taken back, and what
// follows it while the application is at work already.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "apply/last_stage.h"
#include "apply/sequence.h"
#include "tools/cutover_leftovers.h"
#include "tools/migration.h"

namespace walferry {

struct SwitchPlan {
  LastStage stage;                       // Its refreshes are of views that are populated on the source.
  std::vector<std::int64_t> not_needed;  // Refreshes of the others.
  std::vector<TableName> sequences;
  std::vector<Leftover> sequences_left_out;
};

enum class SequencePolicy { kAllOrFail, kLeaveOut };

// Reads both sides; changes nothing. kLeaveOut: sequences that cannot be carried are named instead.
absl::StatusOr<SwitchPlan> PlanSwitch(Migration& migration,
                                      SequencePolicy policy = SequencePolicy::kAllOrFail);

struct SwitchReport {
  SequenceReport sequences;
  absl::Duration objects_took;
  absl::Duration sequences_took;
};

enum class SwitchEnd { kMigrationIsDone, kPhaseStays };

// All or nothing (a sequence that was set keeps its value). A COMMIT whose answer is lost is read back:
// kUnavailable where that says, or cannot say, that nothing was switched.
absl::StatusOr<SwitchReport> Switch(Migration& migration, const SwitchPlan& plan, SwitchEnd end,
                                    const StopSignal& stop);

// Fills views that the target shows as empty yet, so that what fails is known before the pause. Nothing of it
// is final.
std::vector<Leftover> RehearseRefreshes(Migration& migration, const LastStage& stage, absl::Duration bound,
                                        const StopSignal& stop);

// Refreshes views, validates foreign keys, makes event triggers, each with its mark. A view is given up after
// `bound`; what is left can be done by another call.
std::vector<Leftover> FinishAfterSwitch(Migration& migration, const LastStage& stage, absl::Duration bound,
                                        const StopSignal& stop);

}  // namespace walferry
