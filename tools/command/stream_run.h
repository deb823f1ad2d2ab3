// The streaming end of `migrate` and `stream`: run it, show it, say how it ended.
#pragma once

#include "tools/command/migration_options.h"

namespace walferry {

absl::StatusOr<ExitCode> StreamAndReport(const StreamFlags& flags, const CommandContext& context,
                                         Migration& migration);

}  // namespace walferry
