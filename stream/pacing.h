// When to read again after the socket was drained. A walsender flushes row by row; a reader that wakes for
// each row costs both sides more than the rest of their work, so under load the socket is left alone for a
// moment. A lone transaction is not: it is read at once.
#pragma once

#include "absl/time/time.h"

namespace walferry {

class Pacing {
 public:
  // Something was read and nothing is left. Returns until when to leave the socket alone.
  absl::Time Drained(absl::Time now) {
    const bool busy = now - last_drained_ < kBusyGap;
    last_drained_ = now;
    return busy ? now + kNap : now;
  }

 private:
  static constexpr absl::Duration kBusyGap = absl::Milliseconds(2);
  static constexpr absl::Duration kNap = absl::Microseconds(500);

  absl::Time last_drained_ = absl::InfinitePast();
};

}  // namespace walferry
