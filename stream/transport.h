// The seam between the session and whatever carries the replication stream: from START_REPLICATION to its
// end. The session waits (poll) and decides; the transport moves bytes and never blocks, except for End().
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "decoder/frame.h"
#include "decoder/status.h"
#include "stream/connection.h"
#include "stream/receive_buffer.h"

namespace walferry {

enum class Received {
  kDrained,  // Nothing more for now: wait for fd().
  kFull,     // The next message does not fit: give a block with room for needed_bytes().
  kEnded,    // The server ended the stream in good order (it shuts down).
};

class Transport {
 public:
  virtual ~Transport() = default;

  // Appends whole messages to `block` until one of the above is true. Errors: kUnavailable where the
  // connection is lost, the server's own otherwise.
  virtual absl::StatusOr<Received> Receive(ReceiveBlock& block) = 0;
  virtual std::size_t needed_bytes() const = 0;

  // Queues the update and sends what the socket takes.
  virtual absl::Status SendStatus(const StandbyStatusUpdate& update) = 0;
  // Sends more of what is queued.
  virtual absl::Status Flush() = 0;
  // Something is queued: wait for the socket to be writable, too.
  virtual bool wants_to_write() const = 0;
  virtual int fd() const = 0;

  // Sends what is queued and the end of the stream, drops what still comes, and waits for the server's
  // confirmation, after which the slot is free. kDeadlineExceeded where it does not come in time (the server
  // sends a transaction that it has begun to its end first); destroying the transport then ends the
  // connection.
  virtual absl::Status End(absl::Time deadline) = 0;
};

// Sends `start_replication` on the connection (replication=database) and carries what follows with libpq.
absl::StatusOr<std::unique_ptr<Transport>> StartLibpqTransport(Connection connection,
                                                               const std::string& start_replication);

}  // namespace walferry
