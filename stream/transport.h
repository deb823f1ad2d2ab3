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
  kFull,     // block.full(): go on with the pool's next block.
  kEnded,    // The server ended the stream in good order (it shuts down).
};

enum class TransportKind {
  kAuto,   // From the socket into the block, where that can be done.
  kLibpq,  // Through libpq's own buffers, whatever the connection.
};

class Transport {
 public:
  virtual ~Transport() = default;

  // Puts what is there into `block`, until one of the above is true; block.Next() gives it. Errors:
  // kUnavailable where the connection is lost, the server's own otherwise.
  virtual absl::StatusOr<Received> Receive(ReceiveBlock& block) = 0;

  // Queues the update and sends what the socket takes.
  virtual absl::Status SendStatus(const StandbyStatusUpdate& update) = 0;
  // Sends more of what is queued.
  virtual absl::Status Flush() = 0;
  // Something waits for the socket to be writable: wait for that, too.
  virtual bool wants_to_write() const = 0;
  virtual int fd() const = 0;

  // Sends what is queued and the end of the stream, drops what still comes, and waits for the server's
  // confirmation, after which the slot is free. `block` is the one that was last received into: the rest of
  // its unfinished message comes first. kDeadlineExceeded where the confirmation does not come in time (the
  // server sends a transaction that it has begun to its end first); destroying the transport then ends the
  // connection.
  virtual absl::Status End(const ReceiveBlock& block, absl::Time deadline) = 0;
};

// Sends `start_replication` on the connection (replication=database), waits for the answer and carries what
// follows. kCancelled where the connection's stop signal came first.
absl::StatusOr<std::unique_ptr<Transport>> StartTransport(TransportKind kind, Connection connection,
                                                          const std::string& start_replication);

// The two that StartTransport() chooses from. The first one cannot carry connections that GSSAPI encrypts or
// an SSL library other than OpenSSL: nullptr, and the connection is as it was.
absl::StatusOr<std::unique_ptr<Transport>> StartSocketTransport(Connection& connection,
                                                                const std::string& start_replication);
absl::StatusOr<std::unique_ptr<Transport>> StartLibpqTransport(Connection connection,
                                                               const std::string& start_replication);

}  // namespace walferry
