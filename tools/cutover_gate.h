// What stands in the way of a cutover. One gate: `cutover` refuses by it, --dry-run shows it, and it is the
// verdict of `status`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apply/state.h"
#include "stream/connection.h"
#include "tools/table_filter.h"

namespace walferry {

struct ObjectRefresh;

struct GateReason {
  std::string kind;     // One word, for --accept.
  std::string text;     // One sentence without its full stop.
  std::string command;  // That changes it: a walferry command or SQL.
};

struct GateSubject {
  Connection& source;
  Connection& target;
  const std::string& name;                       // Of the migration.
  const std::optional<MigrationRecord>& record;  // Nothing where the target has none.
  const TableFilter& tables;
  bool tries_last_stage = false;  // Takes locks on the target for moments.
  // The objects that the cutover will make (tools/object_refresh.h); null: as they are recorded.
  const ObjectRefresh* objects = nullptr;
};

// All reasons. Reads only. A second at most is waited for to see which open transactions last.
absl::StatusOr<std::vector<GateReason>> CutoverGate(const GateSubject& subject);

// Parts of it. What the migration's phase says alone; nothing else is worth asking then. Of one that was
// switched already: what is left over, which another cutover does.
absl::StatusOr<std::vector<GateReason>> PhaseReasons(Connection& target,
                                                     const std::optional<MigrationRecord>& record,
                                                     const std::string& name);
// Open and prepared transactions, which `cutover` waits for instead.
absl::StatusOr<std::vector<GateReason>> OpenTransactionReasons(Connection& source);
// All that is neither of the two.
absl::StatusOr<std::vector<GateReason>> StandingReasons(const GateSubject& subject);
// What the target alone says: rows that were not found, conflicts that were skipped, invalid indexes.
absl::StatusOr<std::vector<GateReason>> TargetReasons(Connection& target, const std::string& name);

// Whether --accept may name it.
bool CanBeAccepted(const std::string& kind);
// "a, b, c": those that can be accepted.
std::string AcceptableKinds();
// Those that no --accept names.
std::vector<GateReason> NotAccepted(std::vector<GateReason> reasons,
                                    const std::vector<std::string>& accepted);
// OK without a reason; else kFailedPrecondition with the first one, what to do, and how many there are.
absl::Status RefusalOf(const std::vector<GateReason>& reasons);

}  // namespace walferry
