// The program: signals, exceptions of libraries, exit code. All else is in cli.cc and the commands.
#include <signal.h>
#include <unistd.h>

#include <exception>
#include <new>

#include "stream/stop_signal.h"
#include "tools/cli.h"
#include "tools/exit_code.h"
#include "tools/log.h"

namespace {

walferry::StopSignal* stop_signal = nullptr;

// The first signal asks for a clean end, the second ends at once: nothing is lost by that either, because
// what counts is committed on the target.
void HandleStop(int /*signal*/) {
  if (stop_signal->requested()) _exit(130);
  stop_signal->Request();
}

void InstallSignalHandlers() {
  struct sigaction action {};
  action.sa_handler = HandleStop;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A reader of stdout that went away is an error of the write, not the end of the process.
  signal(SIGPIPE, SIG_IGN);
  // So is a limit on the size of files: the spool says so.
  signal(SIGXFSZ, SIG_IGN);
}

}  // namespace

int main(int argc, char** argv) {
  walferry::StopSignal stop;
  stop_signal = &stop;
  InstallSignalHandlers();
  try {
    return walferry::RunCli(argc, argv, stop);
  } catch (const std::bad_alloc&) {
    walferry::LogFatal("out of memory");
  } catch (const std::exception& error) {
    walferry::LogFatal(error.what());
  }
  return static_cast<int>(walferry::ExitCode::kFailed);
}
