// Publications on the source. They are made before the slot: up to version 17 a publication that is younger
// than the slot's position makes decoding fail for good.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "stream/connection.h"
#include "stream/lock_retry.h"

namespace walferry {

struct TableName {
  std::string schema;
  std::string name;
  friend auto operator<=>(const TableName&, const TableName&) = default;
  std::string ToString() const { return schema + "." + name; }
};

absl::StatusOr<bool> PublicationExists(Connection& source, const std::string& name);

// CREATE PUBLICATION name FOR TABLE ONLY …, for an explicit list (FOR ALL TABLES would break the source
// application's updates of tables without a replica identity, also of later ones). Needs CREATE on the
// database and ownership of the tables. Partitioned tables: the leaves are what is published unless via_root,
// all that there are and all that will be (13+). Tables are locked for a moment, against other DDL and
// vacuum: where one cannot be had within seconds, it is tried again (lock_retry.h).
absl::Status CreatePublication(Connection& source, const std::string& name,
                               const std::vector<TableName>& tables, bool via_root,
                               const LockRetry& retry = {});
// One of inserts and truncations only: it takes nothing from the application where a table has no replica
// identity.
absl::Status CreateInsertPublication(Connection& source, const std::string& name,
                                     const std::vector<TableName>& tables, const LockRetry& retry = {});
absl::Status AddToPublication(Connection& source, const std::string& name,
                              const std::vector<TableName>& tables, const LockRetry& retry = {});

// Several names as one text and back, parted by commas: "p1,p2". A name with a comma or a double quote stands
// between double quotes, those inside doubled. Nothing is folded to lower case. "" is no name.
std::string PublicationListText(const std::vector<std::string>& names);
// kInvalidArgument for an empty name or a quote that does not end.
absl::StatusOr<std::vector<std::string>> ParsePublicationList(std::string_view text);
// Of an option that is given once or several times.
absl::StatusOr<std::vector<std::string>> ParsePublicationLists(const std::vector<std::string>& lists);

// What one of them publishes, as the stream will name it: pg_publication_tables.
absl::StatusOr<std::vector<TableName>> PublishedTables(Connection& source,
                                                       const std::vector<std::string>& names);

// Fine where it does not exist.
absl::Status DropPublication(Connection& source, const std::string& name);

}  // namespace walferry
