#include "tools/migration_steps.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/check_context.h"

namespace walferry {
namespace {

TEST(MigrationSteps, NameEveryCheckAndNoOther) {
  std::vector<std::string> known;
  for (const CheckDefinition& check : AllChecks()) {
    known.emplace_back(check.id);
    bool needed = false;
    for (const StepNeeds& step : MigrationSteps()) {
      needed = needed || IsNeeded(check.id, {&step.step, 1});
    }
    EXPECT_TRUE(needed) << "no step in migration_steps.cc needs the check " << check.id;
  }
  for (const StepNeeds& step : MigrationSteps()) {
    for (const std::string_view check : step.checks) {
      EXPECT_THAT(known, ::testing::Contains(check)) << "named by step " << step.name;
    }
  }
}

TEST(MigrationSteps, ChooseChecks) {
  const MigrationStep last[] = {MigrationStep::kLastStage};
  EXPECT_TRUE(IsNeeded("policy-roles", last));
  EXPECT_FALSE(IsNeeded("wal-level", last));
  EXPECT_TRUE(IsNeeded("wal-level", {}));
}

}  // namespace
}  // namespace walferry
