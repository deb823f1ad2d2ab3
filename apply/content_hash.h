// What a table holds, as one number that does not depend on the order of its rows and is computed in the
// server, so that two servers can be compared without moving the rows.
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

// The columns of a table by name, in the order of the source; those that both sides generate are left out.
struct ComparableColumns {
  bool on_source = false;  // The table is there.
  bool on_target = false;
  std::vector<std::string> both;
  std::vector<std::string> source_only;
  std::vector<std::string> target_only;
};
absl::StatusOr<ComparableColumns> ReadComparableColumns(Connection& source, Connection& target,
                                                        const TableName& source_table,
                                                        const TableName& target_table);

// Whether the two servers have no common fast hash: one of them is of version 10, or their encodings differ.
bool NeedPortableHash(const Connection& source, const Connection& target);

// In the connection's current transaction and snapshot. Rows of tables that inherit from this one are not
// part of it, those of partitions are. Values are hashed as text, whose formats Connection pins; versions
// before 12 print floating point numbers differently. Hash functions: hashtextextended with collation C
// (stable across versions 11 to 18), or, `portable`, md5 of the text in UTF-8.
absl::StatusOr<ContentHash> HashTable(Connection& connection, const TableName& table,
                                      const std::vector<std::string>& columns, bool portable);

struct RowDifference {
  std::string key;   // As SQL text: (id)=(42). Keys are values: shown to the person who asked for verify,
                     // never logged.
  std::string kind;  // "missing" on the target, "extra" there, "different"
};
// Narrows a difference to rows, by the target's primary key: compares both sides by buckets of hashed keys,
// then row by row in some buckets that differ, with bounded memory. At most `limit` rows, in the order of
// their keys as text; empty where the table has no primary key, or one with a column that is not in
// `columns`.
absl::StatusOr<std::vector<RowDifference>> FindDifferences(Connection& source, Connection& target,
                                                           const TableName& table,
                                                           const std::vector<std::string>& columns,
                                                           int limit);

}  // namespace walferry
