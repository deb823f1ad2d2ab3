// Tested by tests/tools/dump_test.cc and cli_test.cc
#include "tools/output.h"

#include <poll.h>
#include <unistd.h>

namespace walferry {

Flushed FlushOutput(std::ostream& out) {
  if (out.flush()) return Flushed::kWritten;
  // The stream keeps no errno; a pipe without a reader says so itself.
  pollfd output{.fd = STDOUT_FILENO, .events = 0, .revents = 0};
  const bool gone = ::poll(&output, 1, 0) == 1 && (output.revents & POLLERR) != 0;
  return gone ? Flushed::kReaderGone : Flushed::kFailed;
}

}  // namespace walferry
