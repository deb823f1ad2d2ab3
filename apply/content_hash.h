// What a table holds, as one number that does not depend on the order of its rows and is computed in the server, so
// that two servers can be compared without moving the rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

struct ContentHash {
  std::int64_t rows = 0;
  std::string hash;  // Decimal; sum over the rows of a 64-bit hash of the row's text.
  friend bool operator==(const ContentHash&, const ContentHash&) = default;
};

// The columns that both sides have, by name, in the order of the source; generated columns of either side left out.
absl::StatusOr<std::vector<std::string>> ComparableColumns(Connection& source, Connection& target,
                                                           const TableName& table);

// In the connection's current transaction and snapshot. The text formats are pinned by Connection. `only` leaves out
// tables that inherit (never for partitioned ones). Hash functions: hashtextextended with collation C (stable across
// versions 11 to 18), or md5 where `portable` (version 10).
absl::StatusOr<ContentHash> HashTable(Connection& connection, const TableName& table,
                                      const std::vector<std::string>& columns, bool portable);

struct RowDifference {
  std::string key;   // As SQL text: (id)=(42). Keys are values: shown to the person who asked for verify, never logged.
  std::string kind;  // "missing" on the target, "extra" there, "different"
};
// Narrows a difference to rows, by the target's primary key: hashes ranges of the key on both sides, then the rows of
// the ranges that differ. At most `limit` rows; empty where the table has no primary key.
absl::StatusOr<std::vector<RowDifference>> FindDifferences(Connection& source, Connection& target,
                                                           const TableName& table,
                                                           const std::vector<std::string>& columns, int limit);

}  // namespace walferry
