// The source's synchronous standbys: a walsender of ours must not be one, or commits of the source's
// application would wait for the target.
#pragma once

#include <string>
#include <string_view>

#include "stream/connection.h"

namespace walferry {

// Whether a walsender with this application_name is a candidate by the server's setting: FIRST 1 (a, "b"),
// ANY 2 (*), 2 (a, b, c), a, b.
bool NamesAsSynchronousStandby(std::string_view synchronous_standby_names, std::string_view application_name);

// kFailedPrecondition, with what to change, where the source's synchronous_standby_names would take a
// walsender with this application_name for a synchronous standby, now or once another standby is gone. It
// reports positions as any standby does: while it is the one that is waited for, each commit of the
// application waits for the target. `source` may be a replication connection.
absl::Status CheckNotSynchronousStandby(Connection& source, const std::string& application_name);

// What a walsender of this connection's conninfo is called: `wanted`, unless conninfo or PGAPPNAME say
// otherwise, as the server cuts and cleans it.
absl::StatusOr<std::string> ApplicationNameInForce(Connection& connection);

}  // namespace walferry
