// The marker: a message in the source's WAL, behind everything that committed before it.
#pragma once

#include <string>

#include "decoder/lsn.h"
#include "stream/connection.h"

namespace walferry {

// Writes one and returns a position behind it: every transaction that was committed before, asynchronously or
// not, stands before that position.
absl::StatusOr<Lsn> WriteMarker(Connection& source);

// Signature of the function that writes it, where the user may not call it; else empty.
absl::StatusOr<std::string> MarkerFunctionWithoutExecute(Connection& source);

}  // namespace walferry
