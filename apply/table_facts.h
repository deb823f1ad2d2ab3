// What a server's catalog says about tables, as far as copying and comparing them needs it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

struct ColumnFacts {
  std::string name;
  std::string type;  // As SQL writes it: numeric(10,2)
  bool generated = false;
  // Names the binary format of the column's values across servers: equal on both sides means that the bytes
  // of one may be given to the other. Empty where they may not: reg* types and everything else that carries
  // object ids, types without send or receive function, types of extensions.
  std::string wire_format;
};

struct TableFacts {
  char kind = 'r';         // pg_class.relkind: 'r' table, 'p' partitioned, 'f' foreign
  bool is_heap = false;    // Rows are addressed by page.
  std::int64_t pages = 0;  // Of the heap itself.
  std::int64_t bytes = 0;  // With TOAST; the sum of the leaves for a partitioned table. Without indexes.
  std::vector<ColumnFacts> columns;  // In their order, without dropped ones.

  const ColumnFacts* FindColumn(const std::string& name) const;  // nullptr where there is none.
};

// Tables that are not there are not in the result. In the connection's current transaction and snapshot.
absl::StatusOr<std::map<TableName, TableFacts>> ReadTableFacts(Connection& connection,
                                                               const std::vector<TableName>& tables);

}  // namespace walferry
