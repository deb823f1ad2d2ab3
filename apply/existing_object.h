// Types, functions, views and the like that stand on the target already: another migration has brought them,
// or one that was cleaned up. They are taken as they are where they are those of the source.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "apply/state.h"
#include "stream/connection.h"

namespace walferry {

// Kind and name as pg_dump's headers have them, with what the object is made of: labels, columns, text.
using ObjectDefinitions = std::map<std::pair<std::string, std::string>, std::string>;

// Of all user schemas, without what belongs to extensions: one statement. Tables are none of them.
absl::StatusOr<ObjectDefinitions> ReadDefinitions(Connection& connection);

// "TYPE app.mood, …": what both have, and is not the same; "" where there is nothing. Pure.
std::string DifferentObjects(const ObjectDefinitions& source, const ObjectDefinitions& target);

// Takes those that are on the target out of the pre-data. kFailedPrecondition, with their names, where some
// of them are other ones there. Pure.
absl::Status LeaveOutExisting(const ObjectDefinitions& source, const ObjectDefinitions& target,
                              std::vector<SchemaObject>& pre_data);

}  // namespace walferry
