// The sessions that pg_dump has on the source: what they are given at their start, and how they wait for the
// locks of tables.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "stream/connection.h"
#include "stream/conninfo.h"
#include "stream/stop_signal.h"

namespace walferry {

struct SchemaDumpOptions;

// The conninfo for pg_dump. It sets most of what definitions depend on by itself and leaves some to the
// database: where the source's sessions have that otherwise, start-up options are added. Not always: they
// stop at poolers.
absl::StatusOr<ChildConninfo> DumpConninfo(const std::string& source, const StopSignal& stop);

// Runs pg_dump to its end and returns what it wrote. It locks all its tables, and gives up a lock that it has
// waited for some seconds: then, and after other errors that pass by themselves, it is run again. `argv`
// has the program and what it makes of the options, `environment` is set besides ours. kAborted where what it
// was to dump, by a snapshot or by name, is not there any more.
absl::StatusOr<std::string> RunDump(std::vector<std::string> argv,
                                    const std::vector<std::pair<std::string, std::string>>& environment,
                                    const SchemaDumpOptions& options, const StopSignal& stop);

}  // namespace walferry
