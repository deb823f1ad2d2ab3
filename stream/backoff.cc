// Tested by tests/stream/feedback_test.cc
#include "stream/backoff.h"

#include <algorithm>

namespace walferry {

absl::Duration Backoff::Next() {
  const double part = std::uniform_real_distribution<double>(0.5, 1.0)(random_);
  const absl::Duration wait = longest_ * part;
  longest_ = std::min(longest_ * 2, kLast);
  return wait;
}

}  // namespace walferry
