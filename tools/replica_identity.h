// Which columns of the source's replica identities its stream does not carry. pgoutput lists the columns that
// it publishes and does not tell that an identity has more: only the source's catalog does.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apply/table_map.h"
#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

// An identity with generated columns that are not published.
struct PartialIdentity {
  TableName table;      // As it was asked for.
  TableName part;       // The table itself, or a partition of it.
  std::string columns;  // "a, b"
  std::string fix;      // A statement for the source that gives the table another identity.
  // Updates and deletes of `part` since its statistics were reset.
  std::int64_t changes = 0;
};

// publication: whose columns count; empty for one that is yet to be made, which publishes no generated
// column. A publication of neither updates nor deletes needs no identity. In the order of the names.
absl::StatusOr<std::vector<PartialIdentity>> FindPartialIdentities(Connection& source,
                                                                   const std::vector<TableName>& tables,
                                                                   const std::string& publication);

// kFailedPrecondition naming the first one and what to do.
absl::Status CheckIdentitiesAreWhole(const std::vector<PartialIdentity>& partial);

// For the applier: the same, and the published columns that the source generates.
absl::StatusOr<std::map<TableName, SourceNotes>> ReadSourceNotes(Connection& source,
                                                                 const std::vector<TableName>& tables,
                                                                 const std::string& publication);

}  // namespace walferry
