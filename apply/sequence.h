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

struct SequenceInfo {
  TableName name;
  bool readable = false;  // By this connection's user.
  bool settable = false;  // Likewise.
  // Those that own it (serial, identity) or whose defaults use it.
  std::vector<TableName> tables;
};

// All user sequences (identity and serial ones included, those of extensions and of schema walferry not), in
// the order of schema and name. Reads the catalog only: needs no privilege on the sequences.
absl::StatusOr<std::vector<SequenceInfo>> ListSequences(Connection& connection);

// The values of these. Fails where one of them may not be read, or is gone.
absl::StatusOr<std::vector<SequenceValue>> ReadSequences(Connection& source,
                                                         const std::vector<TableName>& names);

struct SequenceReport {
  int set = 0;
  std::vector<TableName> missing;  // On the target: named, not silently left out.
};
// Two statements of the caller's transaction, or as many as fit a thousand sequences. A sequence of the
// target that stands there or further in its direction is left alone, unless it cycles; `set` counts the
// others. setval is not undone by a rollback: repeating it is what makes that harmless.
absl::StatusOr<SequenceReport> SetSequences(Connection& target, const std::vector<SequenceValue>& values);

}  // namespace walferry
