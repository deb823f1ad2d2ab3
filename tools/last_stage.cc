// Tested by tests/servers/cutover_last_stage_test.cc.
#include "tools/last_stage.h"

#include <string_view>
#include <utility>

#include "apply/index_trial.h"
#include "apply/last_stage.h"
#include "apply/object_catalog.h"
#include "apply/object_trial.h"
#include "tools/log.h"

namespace walferry {
namespace {

// The name in `role "x" does not exist`; empty where the server speaks otherwise.
std::string MissingRole(std::string_view message) {
  constexpr std::string_view kBefore = "role \"";
  constexpr std::string_view kAfter = "\" does not exist";
  const std::size_t begin = message.find(kBefore);
  const std::size_t end = message.rfind(kAfter);
  if (begin == std::string_view::npos || end == std::string_view::npos) return {};
  if (end < begin + kBefore.size()) return {};
  return std::string(message.substr(begin + kBefore.size(), end - begin - kBefore.size()));
}

std::string CommandFor(const ObjectTrial& trial, const std::string& user) {
  const std::string sqlstate = SqlstateOf(trial.status);
  if (const std::string role = MissingRole(MessageOf(trial.status)); sqlstate == "42704" && !role.empty()) {
    return "CREATE ROLE " + QuoteIdentifier(role) + " on the target";
  }
  if (sqlstate == "42501") {
    return "give " + QuoteIdentifier(user) +
           " that right on the target, or run the cutover as a role that has it (a superuser for event "
           "triggers): " +
           trial.object.sql;
  }
  return "mend the target so that this statement succeeds: " + trial.object.sql;
}

std::vector<SchemaObject> MissingIndexes(std::vector<SchemaObject> objects, const ObjectCatalog& there) {
  std::erase_if(objects, [&](const SchemaObject& object) { return there.IsThere(object); });
  for (SchemaObject& object : objects) object.done = false;
  return objects;
}

}  // namespace

absl::StatusOr<std::vector<LastStageProblem>> TryLastStage(Connection& target,
                                                           const std::vector<SchemaObject>& objects) {
  WF_ASSIGN_OR_RETURN(const ObjectCatalog there, ObjectCatalog::Read(target));
  // Whatever the marks say: what is there needs not be made, what is missing does.
  const LastStage stage = PlanLastStage(objects, there);
  std::vector<SchemaObject> missing = stage.switching;
  missing.insert(missing.end(), stage.event_triggers.begin(), stage.event_triggers.end());
  for (SchemaObject& object : missing) object.done = false;
  WF_ASSIGN_OR_RETURN(std::vector<ObjectTrial> trials, TryIndexes(target, MissingIndexes(objects, there)));
  WF_ASSIGN_OR_RETURN(const std::vector<ObjectTrial> others, TryObjects(target, missing));
  trials.insert(trials.end(), others.begin(), others.end());
  std::vector<LastStageProblem> problems;
  for (const ObjectTrial& trial : trials) {
    LastStageProblem& problem = problems.emplace_back();
    problem.object = trial.object.kind + " " + trial.object.name;
    problem.tried = trial.tried;
    problem.harmless = trial.object.kind == "EVENT TRIGGER";
    problem.text =
        absl::StrFormat(trial.tried ? "%s cannot be made: %s" : "%s could not be tried beforehand: %s",
                        problem.object, MessageOf(trial.status));
    problem.command =
        trial.tried ? CommandFor(trial, target.user()) : "nothing, unless the cutover fails at it";
  }
  return problems;
}

absl::Status WarnOfLastStage(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(const std::vector<SchemaObject> objects, LoadObjects(target, name));
  WF_ASSIGN_OR_RETURN(const std::vector<LastStageProblem> problems, TryLastStage(target, objects));
  for (const LastStageProblem& problem : problems) {
    if (problem.tried) {
      LogWarn("the cutover will need this: %s. Fix: %s", problem.text, problem.command);
    } else {
      LogInfo("%s", problem.text);
    }
  }
  return absl::OkStatus();
}

}  // namespace walferry
