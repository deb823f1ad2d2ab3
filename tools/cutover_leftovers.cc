// Tested by tests/servers/cutover_flow_test.cc.
#include "tools/cutover_leftovers.h"

#include <utility>

#include "apply/object_catalog.h"
#include "apply/state.h"
#include "tools/check_context.h"

namespace walferry {
namespace {

void Append(std::vector<Leftover>& leftovers, const std::vector<SchemaObject>& objects,
            std::string_view what) {
  for (const SchemaObject& object : objects) {
    leftovers.push_back({absl::StrFormat("%s %s", object.name, what), object.sql});
  }
}

}  // namespace

absl::StatusOr<LastStage> LoadUnfinishedStage(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(const std::vector<SchemaObject> objects, LoadObjects(target, name));
  WF_ASSIGN_OR_RETURN(const ObjectCatalog there, ObjectCatalog::Read(target));
  LastStage stage = PlanLastStage(objects, there);
  // The switch was one transaction: what it made and is not there any more was dropped by someone else.
  stage.switching.clear();
  const auto is_done = [](const SchemaObject& object) { return object.done; };
  std::erase_if(stage.refreshes, is_done);
  std::erase_if(stage.event_triggers, is_done);
  return stage;
}

absl::StatusOr<std::vector<Leftover>> ListLeftovers(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(const LastStage stage, LoadUnfinishedStage(target, name));
  std::vector<Leftover> leftovers;
  Append(leftovers, stage.refreshes, "is not refreshed");
  Append(leftovers, stage.validations, "is not validated");
  Append(leftovers, stage.event_triggers, "is not made");
  return leftovers;
}

std::string Describe(const std::vector<Leftover>& leftovers) {
  std::vector<std::string> texts;
  for (const Leftover& leftover : leftovers) texts.push_back(leftover.text);
  return ListSome(texts);
}

}  // namespace walferry
