// When to read again after the socket was drained. A walsender flushes row by row; a reader that wakes for
// each row costs both sides more than the rest of their work, so under load the socket is left alone for a
// moment. Not for long: a walsender whose socket is full waits for the reader at every row from then on
// (ProcessPendingWrites in walsender.c). And not where a lone transaction comes: that is read at once.
#pragma once

#include <cstddef>

#include "absl/time/time.h"

namespace walferry {

class Pacing {
 public:
  // longest: of the naps; zero for none. worthwhile_bytes: so much may gather while we nap.
  Pacing(absl::Duration longest, std::size_t worthwhile_bytes)
      : longest_(longest), worthwhile_bytes_(static_cast<double>(worthwhile_bytes)) {}

  // `bytes` were read since the last call, and nothing is left for now. Returns until when to leave the
  // socket alone.
  absl::Time Drained(absl::Time now, std::size_t bytes);

 private:
  absl::Duration longest_;
  double worthwhile_bytes_;
  absl::Duration nap_;
  std::size_t gathered_bytes_ = 0;  // Since the last nap.
  absl::Time last_drained_ = absl::InfinitePast();
};

// For a TCP socket whose other end is on this machine or next to it.
void OfferSmallWindowIfNear(int socket_fd);

// How much may gather in this socket without the other side coming near to having to wait.
std::size_t WorthwhileBytes(int socket_fd);

}  // namespace walferry
