// Which sequences of the source a migration carries: those of its tables, and those that stand beside them.
#pragma once

#include <vector>

#include "apply/sequence.h"
#include "tools/table_filter.h"

namespace walferry {

struct SequenceChoice {
  std::vector<SequenceInfo> chosen;
  std::vector<TableName> names() const;
  std::vector<TableName> unreadable() const;
};

// tables: all of the source; chosen: those of the migration. A sequence that belongs to tables, or is used by
// their defaults, follows them. One that belongs to none is chosen unless --exclude-tables names it, or it
// stands in a schema of whose tables none was chosen.
SequenceChoice ChooseSequences(std::vector<SequenceInfo> sequences, const std::vector<SourceTable>& tables,
                               const std::vector<TableName>& chosen, const TableFilter& filter);

// The same, read from the source.
absl::StatusOr<SequenceChoice> ReadSequenceChoice(Connection& source, const std::vector<TableName>& chosen,
                                                  const TableFilter& filter);

// GRANT statements that let `user` read it.
std::string GrantToRead(const TableName& sequence, const std::string& user);

}  // namespace walferry
