// A table as the target's catalog describes it: columns, what identifies a row, and which operator says that
// two values of a column are equal. Read outside of pipelines.
// https://www.postgresql.org/docs/current/catalogs.html
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "decoder/lsn.h"
#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

struct TargetColumn {
  std::string name;
  std::string sql_name;  // Quoted.
  Oid type_oid = 0;
  std::string type_sql;  // "schema"."type", without a length: a cast to it never cuts a value.
  // The same, with the base type in place of a domain: comparing shall not check constraints. A numeric has
  // its precision and scale: a value is compared as it was stored.
  std::string compare_type_sql;
  bool generated = false;
  bool identity_always = false;
  // "=", or OPERATOR("schema".=) where it is not the server's own; empty where the type has no equality.
  std::string equals;
  // Values that are equal are the same bytes: not so for 1.0 and 1.00, 'a' and 'A' of citext, -0 and 0.
  bool equal_is_identical = false;
  // The type of an array of the column's values (of a domain's base type), or empty where there is none that
  // unnest() would take apart again: for arrays themselves, and for box, whose arrays have another delimiter.
  std::string array_sql;
  Oid element_oid = 0;          // What such an array's elements are.
  bool binary_is_text = false;  // The binary form of a value is its text.
};

// Finds at most one row, given values for all its columns: unique, valid, checked at once (not deferrable:
// under session_replication_role = replica those are not checked at all), neither partial nor over
// expressions.
struct UniqueKey {
  bool primary = false;
  std::vector<std::size_t> columns;  // Into TargetTable::columns.
};

struct TargetTable {
  TableName name;
  std::string sql_name;      // Quoted, with schema.
  bool partitioned = false;  // Else a plain table, of which only its own rows are meant, not its children's.
  std::vector<TargetColumn> columns;
  std::vector<UniqueKey> keys;  // The primary key first, then those with fewer columns first.
  // Triggers or rules that fire even under session_replication_role = replica: they see the order of changes.
  bool fires_always = false;
  // Unique indexes and exclusion constraints of any kind, on the table or on partitions of it alone.
  int constraining_indexes = 0;

  std::optional<std::size_t> FindColumn(const std::string& column) const;
  // "ONLY name" for a plain table: inheritance children have changes of their own.
  std::string RowSource() const { return partitioned ? sql_name : "ONLY " + sql_name; }
};

// Those of them that are there and are tables. As many round trips for a thousand as for one.
absl::StatusOr<std::map<TableName, TargetTable>> ReadTargetTables(Connection& target,
                                                                  const std::vector<TableName>& names);
// kFailedPrecondition, naming it, where there is no such table, or it is a view or something else.
absl::StatusOr<TargetTable> ReadTargetTable(Connection& target, const TableName& name);

}  // namespace walferry
