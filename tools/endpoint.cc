// Tested by tests/servers/bad_input_test.cc
#include "tools/endpoint.h"

#include "stream/session_settings.h"

namespace walferry {

absl::StatusOr<Connection> ConnectTo(Endpoint endpoint, const ConnectOptions& options) {
  const bool source = endpoint == Endpoint::kSource;
  ConnectOptions limited = options;
  // Making a slot waits for transactions by their locks, as long as that takes.
  if (source && !options.replication) {
    limited.settings.insert(limited.settings.begin(), {"lock_timeout", kSourceLockTimeout});
  }
  absl::StatusOr<Connection> connection = Connection::Open(limited);
  if (connection.ok()) return connection;
  if (absl::IsInvalidArgument(connection.status())) {
    return Annotate(connection.status(), source ? "--source" : "--target");
  }
  return Annotate(connection.status(),
                  source ? "cannot connect to the source" : "cannot connect to the target");
}

}  // namespace walferry
