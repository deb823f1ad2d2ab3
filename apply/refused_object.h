// Objects that the rows of the target refuse: a foreign key without its row, a unique index with two of one
// key. They are left for later, with a query that finds the rows. Pure.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "apply/state.h"

namespace walferry {

// An object that was not made, and why.
struct RefusedObject {
  SchemaObject object;
  absl::Status why;
};

// Whether the rows are what is in the object's way (SQLSTATE 23503, 23505, 23P01), so that it may succeed
// once they are others.
bool IsRefusedByRows(const absl::Status& status);

// A query for the rows, by the statement that pg_dump writes; empty for an exclusion constraint, and for an
// index of expressions.
std::string QueryOfRefusedRows(const SchemaObject& object);

}  // namespace walferry
