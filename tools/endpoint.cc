// Tested by tests/servers/bad_input_test.cc
#include "tools/endpoint.h"

namespace walferry {

absl::StatusOr<Connection> ConnectTo(Endpoint endpoint, const ConnectOptions& options) {
  absl::StatusOr<Connection> connection = Connection::Open(options);
  if (connection.ok()) return connection;
  const bool source = endpoint == Endpoint::kSource;
  if (absl::IsInvalidArgument(connection.status())) {
    return Annotate(connection.status(), source ? "--source" : "--target");
  }
  return Annotate(connection.status(),
                  source ? "cannot connect to the source" : "cannot connect to the target");
}

}  // namespace walferry
