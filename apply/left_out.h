// What goes with the relations of the source that were not chosen: all that is of no use without them.
#pragma once

#include <compare>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

// An object as the headers of pg_dump's text call it (schema_script.h): FK CONSTRAINT, public, "t t_a_fkey".
struct DumpedObject {
  std::string type;
  std::string schema;
  std::string name;
  friend auto operator<=>(const DumpedObject&, const DumpedObject&) = default;
};

struct LeftOut {
  // The excluded ones, partitioned tables without a partition that stays, and views: for pg_dump to exclude,
  // which looks each of them up with a query.
  std::vector<TableName> relations;
  // What pg_dump writes though its table is excluded, or one that it uses: foreign keys, rules, policies,
  // triggers, functions, indexes, statistics, sequences.
  std::set<DumpedObject> objects;
  std::vector<std::string> names;  // Both, for people: "view app.v", "policy p of app.t".
  // What stays cannot be made without what goes: "default value for column id of table app.t".
  std::vector<std::string> needed;
};

// `excluded`: relations of any kind. Needs no privilege on them.
absl::StatusOr<LeftOut> FindLeftOut(Connection& source, const std::vector<TableName>& excluded);

// kFailedPrecondition, naming what stays and needs what goes; OK where there is nothing of that sort.
absl::Status CheckNothingNeeded(const LeftOut& left_out);

}  // namespace walferry
