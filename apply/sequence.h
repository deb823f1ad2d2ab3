// Sequences are not in the stream: they are read on the source when writes have stopped and set on the
// target.
#pragma once

#include <string>
#include <vector>

#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

struct SequenceValue {
  TableName sequence;
  std::int64_t last_value = 0;
  bool is_called = false;
};

// All user sequences (identity and serial ones included, those of extensions and of schema walferry not).
absl::StatusOr<std::vector<SequenceValue>> ReadSequences(Connection& source);

struct SequenceReport {
  int set = 0;
  std::vector<TableName> missing;  // On the target: named, not silently left out.
};
// setval in one transaction of its own. A sequence of the target that stands there or further in its
// direction is left alone, unless it cycles; `set` counts the others.
absl::StatusOr<SequenceReport> SetSequences(Connection& target, const std::vector<SequenceValue>& values);

}  // namespace walferry
