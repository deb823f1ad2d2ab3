#include "tools/command/commands.h"

namespace walferry {

void RegisterCommands(CommandSet& commands) {
  RegisterCheck(commands);
  RegisterMigrate(commands);
  RegisterCopy(commands);
  RegisterStream(commands);
  RegisterStatus(commands);
  RegisterVerify(commands);
  RegisterCutover(commands);
  RegisterCleanup(commands);
  RegisterDump(commands);
  RegisterDemo(commands);
  RegisterVersion(commands);
  RegisterHelp(commands);
}

}  // namespace walferry
