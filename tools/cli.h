// The command line as a whole: global options, environment, configuration file, and the commands.
#pragma once

#include "stream/stop_signal.h"

namespace walferry {

// Parses and runs `walferry ARGS…`; returns the exit code. Overwrites passwords in argv, which other users of
// the machine can read.
int RunCli(int argc, char** argv, const StopSignal& stop);

}  // namespace walferry
