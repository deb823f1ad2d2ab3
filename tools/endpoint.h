// The two servers of a migration, as errors and options call them.
#pragma once

#include "stream/connection.h"

namespace walferry {

enum class Endpoint { kSource, kTarget };

// Connection::Open, whose failure says which of the two it was: "cannot connect to the source: …", or the
// option where its conninfo cannot be read (kInvalidArgument). On the source no statement waits for a lock
// for long, unless options say otherwise: the application would wait behind it.
absl::StatusOr<Connection> ConnectTo(Endpoint endpoint, const ConnectOptions& options);

}  // namespace walferry
