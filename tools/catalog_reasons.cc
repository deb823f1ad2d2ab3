// Tested by tests/servers/cutover_gate_test.cc.
#include "tools/catalog_reasons.h"

#include "tools/catalog_watcher.h"
#include "tools/last_stage.h"
#include "tools/log.h"
#include "tools/object_refresh.h"

namespace walferry {

namespace {

absl::StatusOr<CatalogFindings> FindingsOf(const GateSubject& subject) {
  WF_ASSIGN_OR_RETURN(const RecordedCatalog recorded, LoadRecorded(subject.target, *subject.record));
  return FindCatalogDifferences(subject.source, subject.target, recorded);
}

absl::StatusOr<std::vector<SchemaObject>> ObjectsOf(const GateSubject& subject) {
  if (subject.objects != nullptr) return subject.objects->objects;
  return LoadObjects(subject.target, subject.name);
}

}  // namespace

absl::StatusOr<std::vector<GateReason>> CatalogReasons(const GateSubject& subject) {
  std::vector<GateReason> reasons;
  WF_ASSIGN_OR_RETURN(const CatalogFindings findings, FindingsOf(subject));
  for (const CatalogDifference& difference : findings.differences) {
    if (difference.kind == "new-partitions") continue;
    reasons.push_back({difference.kind, difference.text, difference.command});
  }
  return reasons;
}

absl::StatusOr<std::vector<GateReason>> LastStageReasons(const GateSubject& subject) {
  std::vector<GateReason> reasons;
  WF_ASSIGN_OR_RETURN(const std::vector<SchemaObject> objects, ObjectsOf(subject));
  WF_ASSIGN_OR_RETURN(const std::vector<LastStageProblem> problems, TryLastStage(subject.target, objects));
  for (const LastStageProblem& problem : problems) {
    if (problem.tried && !problem.harmless) reasons.push_back({"last-stage", problem.text, problem.command});
  }
  if (subject.objects == nullptr) return reasons;
  for (const ObjectProblem& problem : subject.objects->problems) {
    reasons.push_back({"last-stage", problem.text, problem.command});
  }
  for (const ObjectProblem& note : subject.objects->notes) {
    LogWarn("%s; nothing is done about it: %s", note.text, note.command);
  }
  return reasons;
}

}  // namespace walferry
