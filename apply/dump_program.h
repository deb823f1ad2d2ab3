// pg_dump as a child process: which one, and what it wrote.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "decoder/status.h"
#include "stream/stop_signal.h"

namespace walferry {

// The pg_dump of the lowest major version that can read a server of `server_version` (as 150020), which is
// the one that writes the fewest novelties into its script. Looks at /usr/lib/postgresql/N/bin, then at all
// directories of PATH, /usr/pgsql-N/bin, /usr/local/pgsql/bin and what pg_config --bindir says.
// kFailedPrecondition, with the package to install, where there is none.
absl::StatusOr<std::string> FindDumpProgram(int server_version);

// Runs a program to its end and returns what it wrote to its standard output; ends it when a stop is
// requested (kCancelled). Where it fails, its standard error: kUnavailable for what passes by itself (a
// deadlock, a connection that was ended), kAborted where what it was to dump is not there any more, else
// kFailedPrecondition. `environment` is set besides ours.
absl::StatusOr<std::string> RunForOutput(const std::vector<std::string>& argv,
                                         const std::vector<std::pair<std::string, std::string>>& environment,
                                         const StopSignal& stop);

}  // namespace walferry
