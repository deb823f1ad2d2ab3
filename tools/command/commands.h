// All commands, one file each beside this one.
#pragma once

#include "tools/command.h"

namespace walferry {

void RegisterHelp(CommandSet& commands);
void RegisterVersion(CommandSet& commands);

// In the order in which help lists them.
void RegisterCommands(CommandSet& commands);

}  // namespace walferry
