// Tested by tests/tools/sequence_choice_test.cc.
#include "tools/sequence_choice.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

namespace walferry {
namespace {

// The source's tables, split by the choice. Ancestors of a leaf count as it does.
struct Split {
  std::set<TableName> chosen;
  std::set<TableName> known;
  std::set<std::string> chosen_schemas;
  std::set<std::string> known_schemas;
};

Split SplitTables(const std::vector<SourceTable>& tables, const std::vector<TableName>& chosen) {
  Split split;
  split.chosen.insert(chosen.begin(), chosen.end());
  for (const SourceTable& table : tables) {
    split.known.insert(table.name);
    split.known.insert(table.ancestors.begin(), table.ancestors.end());
    if (split.chosen.contains(table.name)) {
      split.chosen.insert(table.ancestors.begin(), table.ancestors.end());
    }
  }
  for (const TableName& table : split.chosen) split.chosen_schemas.insert(table.schema);
  for (const TableName& table : split.known) split.known_schemas.insert(table.schema);
  return split;
}

bool IsChosen(const SequenceInfo& sequence, const Split& split, const TableFilter& filter) {
  bool belongs_to_known = false;
  for (const TableName& table : sequence.tables) {
    if (split.chosen.contains(table)) return true;
    belongs_to_known |= split.known.contains(table);
  }
  if (belongs_to_known || filter.Excludes(sequence.name)) return false;
  // What has no table that could have been chosen (an unlogged or foreign table's is such a one, too).
  return split.chosen_schemas.contains(sequence.name.schema) ||
         !split.known_schemas.contains(sequence.name.schema);
}

}  // namespace

std::vector<TableName> SequenceChoice::names() const {
  std::vector<TableName> names;
  for (const SequenceInfo& sequence : chosen) names.push_back(sequence.name);
  return names;
}

std::vector<TableName> SequenceChoice::unreadable() const {
  std::vector<TableName> names;
  for (const SequenceInfo& sequence : chosen) {
    if (!sequence.readable) names.push_back(sequence.name);
  }
  return names;
}

SequenceChoice ChooseSequences(std::vector<SequenceInfo> sequences, const std::vector<SourceTable>& tables,
                               const std::vector<TableName>& chosen, const TableFilter& filter) {
  const Split split = SplitTables(tables, chosen);
  std::erase_if(sequences, [&](const SequenceInfo& sequence) { return !IsChosen(sequence, split, filter); });
  return {std::move(sequences)};
}

absl::StatusOr<SequenceChoice> ReadSequenceChoice(Connection& source, const std::vector<TableName>& chosen,
                                                  const TableFilter& filter) {
  WF_ASSIGN_OR_RETURN(std::vector<SequenceInfo> sequences, ListSequences(source));
  WF_ASSIGN_OR_RETURN(const std::vector<SourceTable> tables, ListSourceTables(source));
  return ChooseSequences(std::move(sequences), tables, chosen, filter);
}

std::string GrantToRead(const TableName& sequence, const std::string& user) {
  const std::string to = " TO " + QuoteIdentifier(user) + ";";
  return "GRANT USAGE ON SCHEMA " + QuoteIdentifier(sequence.schema) + to + " GRANT SELECT ON SEQUENCE " +
         QuoteName(sequence.schema, sequence.name) + to;
}

}  // namespace walferry
