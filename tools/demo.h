// `walferry demo`: a complete migration between two servers of its own, told as a story. It runs this very
// program for each step, so what it shows is what a user would do and see.
#pragma once

#include <cstdint>
#include <ostream>

#include "decoder/status.h"
#include "stream/stop_signal.h"

namespace walferry {

struct DemoOptions {
  double scale = 1;        // 1: a shop of about 300 MB.
  std::uint64_t seed = 0;  // Of what the customers do; 0: a random one, which is printed.
  bool keep = false;       // Leave both servers running until a stop is requested.
};

// Fails where a step fails or the sides turn out different. Nothing is left running and no file stays,
// whatever happens.
absl::Status RunDemo(const DemoOptions& options, const StopSignal& stop, std::ostream& out);

}  // namespace walferry
