// Whether the source has the tables that were chosen, and the target what they need: asked before anything is
// written.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "apply/table_facts.h"
#include "stream/connection.h"
#include "stream/publication.h"
#include "tools/table_filter.h"

namespace walferry {

// kFailedPrecondition naming patterns of the user's choice that no table of the source matches: each is a
// typo, or a table that would silently be left out.
absl::Status CheckPatternsMatch(Connection& source, const TableFilter& filter);

// What both sides say about the tables.
struct TablePairs {
  std::map<TableName, TableFacts> source;
  std::map<TableName, TableFacts> target;
};
absl::StatusOr<TablePairs> ReadTablePairs(Connection& source, Connection& target,
                                          const std::vector<TableName>& tables);

// By the table as the stream names it; empty where the server has no lists of columns. publications: a list
// (publication.h). kFailedPrecondition where their lists differ for a table.
using PublishedColumns = std::map<TableName, std::set<std::string>>;
absl::StatusOr<PublishedColumns> ReadPublishedColumns(Connection& source, const std::string& publications);

// Leaves the source's columns that are published.
absl::Status KeepPublishedColumns(Connection& source, const std::string& publications, TablePairs& tables);

// kFailedPrecondition naming the first tables or columns that the target lacks, or columns that it alone
// generates, and what to do.
absl::Status CheckTablesMatch(const TablePairs& tables);

// Whether the stream's values may be asked for in binary: every published column has the same binary form on
// both sides, and none is an array, which travels through set-based statements as text only. Tables that one
// side lacks do not count.
bool BinarySuits(const TablePairs& tables);

}  // namespace walferry
