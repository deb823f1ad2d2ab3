// The sessions that pg_dump has on the source: what they are given at their start, and how they wait for the
// locks of tables.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "stream/connection.h"
#include "stream/conninfo.h"
#include "stream/lock_retry.h"
#include "stream/stop_signal.h"

namespace walferry {

// The conninfo for pg_dump. It sets most of what definitions depend on by itself and leaves some to the
// database: where the source's sessions have that otherwise, start-up options are added. Not always: they
// stop at poolers.
absl::StatusOr<ChildConninfo> DumpConninfo(const std::string& source, const StopSignal& stop);

// Runs pg_dump to its end and returns what it wrote. It locks all its tables, and gives up a lock that it has
// waited for some seconds: then, and after other errors that pass by themselves, it is run again. `argv`
// has the program and its options, `environment` is set besides ours.
absl::StatusOr<std::string> RunDump(std::vector<std::string> argv,
                                    const std::vector<std::pair<std::string, std::string>>& environment,
                                    const std::string& source, const LockRetry& retry,
                                    const StopSignal& stop);

}  // namespace walferry
