// What became of a table's columns on the source since they were recorded, and what of it the target lacks.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tools/source_catalog.h"

namespace walferry {

struct ColumnChanges {
  std::vector<std::string> what;  // "column a was renamed to b"
  // What the target lacks of it, as clauses of ALTER TABLE.
  std::vector<std::string> drops;
  std::vector<std::string> alterations;
  // Sequences that defaults use, that identities have of their own by now, and, by quoted column, are owned.
  std::vector<std::string> used_sequences;
  std::vector<std::string> left_sequences;
  std::vector<std::pair<std::string, std::string>> owned_sequences;
  std::vector<std::pair<std::string, std::string>> renames;  // From, to; quoted.
  std::vector<std::string> additions;
  // Names, types and presence are the same on both sides: rows of the new shape can be applied.
  bool aligned = true;
  std::vector<SourceColumn> columns;  // As to be recorded, once they are aligned.
  std::string needs_copy;             // Why rows that were there before are not the same on both sides.

  // Statements in an order in which they can be run, "" where the target lacks nothing. table:
  // quoted.
  std::string Statements(const std::string& table) const;
};

// recorded, source: the same table, then and now. target: what it is applied to.
ColumnChanges CompareColumns(const SourceRelation& recorded, const SourceRelation& source,
                             const SourceRelation& target);

// The columns that the stream publishes: names, types and order are all that its relations tell.
bool SamePublishedShape(const std::vector<SourceColumn>& a, const std::vector<SourceColumn>& b);

}  // namespace walferry
