// Roles that the schema of the source mentions, and what of it they need on the target.
#pragma once

#include <string>
#include <vector>

#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

enum class RoleUse {
  kOwner,        // Of an object, or of default privileges: the target's user must be able to become it.
  kGrantee,      // Of a privilege: it must exist.
  kPolicy,       // Of a policy, which is kept whatever happens to owners and grants: it must exist.
  kUserMapping,  // Likewise.
  kCreator,      // Owner in a schema of somebody else: must be allowed to create there, or ALTER … OWNER TO
                 // fails.
};

struct RoleNeed {
  std::string role;
  RoleUse use = RoleUse::kOwner;
  std::string object;  // For people, one of them: "policy p on table t".
  std::string schema;  // Of kCreator.
};

// One entry for each role and use. `excluded`: relations that are not taken along.
absl::StatusOr<std::vector<RoleNeed>> ListRoleNeeds(Connection& source,
                                                    const std::vector<TableName>& excluded);

struct RoleGap {
  RoleNeed need;
  bool exists = false;  // The target's user is not allowed to become it.
};
// Needs that the target does not meet.
absl::StatusOr<std::vector<RoleGap>> FindRoleGaps(Connection& target, const std::vector<RoleNeed>& needs);

// Of owners and grants, which are left out where a need of theirs is not met; not of policies.
bool IsOfOwners(RoleUse use);

// Whether objects can keep their owners and grants. What policies need does not count here.
bool OwnersCanBeKept(const std::vector<RoleGap>& gaps);

}  // namespace walferry
