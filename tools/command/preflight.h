// The checks that a command runs before it leaves its first trace on either side.
#pragma once

#include "tools/command.h"
#include "tools/migration.h"

namespace walferry {

// True: nothing stands in the way. Otherwise each blocker has been logged with its fix. streams: false where
// only a copy is wanted, which needs less.
absl::StatusOr<bool> NothingBlocks(const CommandContext& context, const MigrationOptions& options,
                                   bool streams);

}  // namespace walferry
