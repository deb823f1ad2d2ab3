// What of the chosen sequences a cutover cannot carry, as both sides are now.
#pragma once

#include <string>
#include <vector>

#include "stream/connection.h"
#include "tools/sequence_choice.h"

namespace walferry {

struct SequenceObstacle {
  TableName sequence;
  std::string text;             // One sentence without its full stop.
  std::string command;          // SQL that removes it.
  bool blocks_setting = false;  // Its value cannot be read or set as long as that stands.
};

// A sequence that may not be read or set; whose value lies outside of the target's bounds; that a chosen
// table's column owns and that the target does not have, or has beside a column that is no such identity. One
// that belongs to no table and is not on the target is no obstacle: it is named at the end.
absl::StatusOr<std::vector<SequenceObstacle>> FindSequenceObstacles(Connection& source, Connection& target,
                                                                    const SequenceChoice& choice);

}  // namespace walferry
