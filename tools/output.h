// Writing results to stdout to the end, and telling a reader that had enough from a disk that is full.
#pragma once

#include <ostream>

namespace walferry {

enum class Flushed {
  kWritten,
  kReaderGone,  // stdout is a pipe that nobody reads any more (| head): nothing is wrong.
  kFailed,
};

// out: a stream on stdout.
Flushed FlushOutput(std::ostream& out);

}  // namespace walferry
