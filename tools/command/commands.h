// All commands, one file each beside this one.
#pragma once

#include "tools/command.h"

namespace walferry {

void RegisterCheck(CommandSet& commands);
void RegisterCleanup(CommandSet& commands);
void RegisterCopy(CommandSet& commands);
void RegisterCutover(CommandSet& commands);
void RegisterDemo(CommandSet& commands);
void RegisterDump(CommandSet& commands);
void RegisterHelp(CommandSet& commands);
void RegisterMigrate(CommandSet& commands);
void RegisterStatus(CommandSet& commands);
void RegisterStream(CommandSet& commands);
void RegisterVerify(CommandSet& commands);
void RegisterVersion(CommandSet& commands);

// In the order in which help lists them.
void RegisterCommands(CommandSet& commands);

}  // namespace walferry
