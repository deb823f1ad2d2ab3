// Which objects of the schema's second half stand on the target, whatever their marks in the state say.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "apply/state.h"
#include "stream/connection.h"

namespace walferry {

inline constexpr std::string_view kEventTriggerKind = "EVENT TRIGGER";

class ObjectCatalog {
 public:
  // Reads the catalog of user schemas: one statement.
  static absl::StatusOr<ObjectCatalog> Read(Connection& target);

  // Nothing for a kind that is not looked for (an ACL, say): the mark in the state is all there is then.
  std::optional<bool> Has(const SchemaObject& object) const;

  // Whether the table, a partition, has an index that is a part of `parent`.
  bool HasPartOf(const TableName& parent, const TableName& table) const;

  // A foreign key that stands there as NOT VALID.
  bool IsUnvalidated(const SchemaObject& foreign_key) const;

  // Whether the object is there: the catalog says so, or else its mark.
  bool IsThere(const SchemaObject& object) const { return Has(object).value_or(object.done); }

 private:
  std::set<std::pair<std::string, std::string>> objects_;  // Kind and name, both as pg_dump writes them.
};

}  // namespace walferry
