// The steps of a migration and what each needs beforehand. This is the one list: `check` runs all of it, with
// the results in the order of the sides; `migrate` asks before its first step; the cutover may ask again for
// its own steps alone.
#pragma once

#include <span>
#include <string_view>

namespace walferry {

enum class MigrationStep {
  kConnect,      // both sides: sessions that keep their settings
  kPublication,  // CREATE PUBLICATION on the source
  kSlot,         // CREATE_REPLICATION_SLOT, START_REPLICATION
  kSchema,       // pg_dump of the source, pre-data on the target
  kCopy,         // COPY to COPY
  kIndexes,      // post-data that the stream does not mind
  kStream,       // changes, for as long as it takes
  kLastStage,    // foreign keys, triggers, rules, policies, grants, event triggers
  kRefresh,      // REFRESH MATERIALIZED VIEW
  kSequences,    // read on the source, set on the target
  kCleanup,      // DROP PUBLICATION, the slot, schema walferry
};

struct StepNeeds {
  MigrationStep step;
  std::string_view name;
  std::span<const std::string_view> checks;  // Ids, as `check --json` gives them.
};

// In the order in which a migration takes them. Every check stands with at least one step.
std::span<const StepNeeds> MigrationSteps();

// Whether one of `steps` needs the check; all steps where there are none.
bool IsNeeded(std::string_view check, std::span<const MigrationStep> steps);

}  // namespace walferry
