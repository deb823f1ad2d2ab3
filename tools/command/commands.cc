#include "tools/command/commands.h"

namespace walferry {

void RegisterCommands(CommandSet& commands) {
  RegisterCheck(commands);
  RegisterVersion(commands);
  RegisterHelp(commands);
}

}  // namespace walferry
