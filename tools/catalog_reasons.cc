// Tested by tests/servers/cutover_gate_test.cc.
#include "tools/catalog_reasons.h"

#include "tools/catalog_watcher.h"
#include "tools/last_stage.h"

namespace walferry {

namespace {

absl::StatusOr<CatalogFindings> FindingsOf(const GateSubject& subject) {
  RecordedCatalog recorded;
  recorded.migration = *subject.record;
  WF_ASSIGN_OR_RETURN(recorded.tables, LoadTables(subject.target, subject.name));
  WF_ASSIGN_OR_RETURN(recorded.choice, TableFilter::FromText(subject.record->choice));
  return FindCatalogDifferences(subject.source, subject.target, recorded);
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
  WF_ASSIGN_OR_RETURN(const CatalogFindings findings, FindingsOf(subject));
  WF_ASSIGN_OR_RETURN(const std::vector<LastStageProblem> problems,
                      TryLastStage(subject.target, subject.name, RenamesOf(findings)));
  for (const LastStageProblem& problem : problems) {
    if (problem.tried && !problem.harmless) reasons.push_back({"last-stage", problem.text, problem.command});
  }
  return reasons;
}

}  // namespace walferry
