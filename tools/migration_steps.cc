// Tested by tests/tools/migration_steps_test.cc.
#include "tools/migration_steps.h"

#include <algorithm>
#include <array>

namespace walferry {
namespace {

constexpr std::array<std::string_view, 8> kConnect = {
    "source-version", "source-pooler", "target-version",     "target-pooler",
    "target-tls",     "encoding",      "target-connections", "source-connections"};
constexpr std::array<std::string_view, 7> kPublication = {
    "source-primary",        "tables",        "publication-privilege", "table-owner", "replica-identity",
    "source-event-triggers", "whole-identity"};
constexpr std::array<std::string_view, 10> kSlot = {
    "wal-level",         "replication-privilege", "replication-connection", "slots-free",
    "senders-free",      "slot-retention",        "slots-inactive",         "names-taken",
    "open-transactions", "prepared-transactions"};
constexpr std::array<std::string_view, 22> kSchema = {
    "existing-objects",      "hash-partitions", "pg-dump",         "extension-rows",     "settings",
    "publications",          "trimmings",       "target-writable", "create-privilege",   "target-schemas",
    "schema-readable",       "left-out",        "extensions",      "extension-versions", "extension-schemas",
    "extension-rights",      "languages",       "collation",       "collations",         "roles",
    "target-event-triggers", "tables-exist"};
constexpr std::array<std::string_view, 8> kCopy = {"select-privilege", "row-security", "tables-empty",
                                                   "write-privilege",  "columns",      "large-objects",
                                                   "not-replicated",   "money"};
constexpr std::array<std::string_view, 2> kIndexes = {"collation", "target-connections"};
constexpr std::array<std::string_view, 8> kStream = {
    "replica-role",   "xid-age",        "sender-timeout", "write-privilege",
    "slot-retention", "whole-identity", "target-keys",    "synchronous-standby"};
constexpr std::array<std::string_view, 5> kLastStage = {"roles", "policy-roles", "carried-event-triggers",
                                                        "replica-role", "marker"};
constexpr std::array<std::string_view, 2> kRefresh = {"not-replicated", "matviews"};
constexpr std::array<std::string_view, 2> kSequences = {"sequences", "sequence-privilege"};
constexpr std::array<std::string_view, 2> kCleanup = {"source-event-triggers", "target-event-triggers"};

constexpr std::array kSteps = {
    StepNeeds{MigrationStep::kConnect, "connect", kConnect},
    StepNeeds{MigrationStep::kPublication, "publication", kPublication},
    StepNeeds{MigrationStep::kSlot, "slot", kSlot},
    StepNeeds{MigrationStep::kSchema, "schema", kSchema},
    StepNeeds{MigrationStep::kCopy, "copy", kCopy},
    StepNeeds{MigrationStep::kIndexes, "indexes", kIndexes},
    StepNeeds{MigrationStep::kStream, "stream", kStream},
    StepNeeds{MigrationStep::kLastStage, "last-stage", kLastStage},
    StepNeeds{MigrationStep::kRefresh, "refresh", kRefresh},
    StepNeeds{MigrationStep::kSequences, "sequences", kSequences},
    StepNeeds{MigrationStep::kCleanup, "cleanup", kCleanup},
};

bool Needs(const StepNeeds& step, std::string_view check) {
  return std::find(step.checks.begin(), step.checks.end(), check) != step.checks.end();
}

}  // namespace

std::span<const StepNeeds> MigrationSteps() {
  return kSteps;
}

bool IsNeeded(std::string_view check, std::span<const MigrationStep> steps) {
  if (steps.empty()) return true;
  return std::any_of(kSteps.begin(), kSteps.end(), [&](const StepNeeds& step) {
    return std::find(steps.begin(), steps.end(), step.step) != steps.end() && Needs(step, check);
  });
}

}  // namespace walferry
