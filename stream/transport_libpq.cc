// Tested by tests/stream/transport_test.cc
// The replication stream through libpq, which allocates and copies each message once more: for connections
// whose bytes only libpq can read.
#include <libpq-fe.h>
#include <openssl/ssl.h>
#include <poll.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/time/clock.h"
#include "stream/transport.h"

namespace walferry {
namespace {

struct FreeMemory {
  void operator()(char* data) const { PQfreemem(data); }
};
struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};

class LibpqTransport final : public Transport {
 public:
  explicit LibpqTransport(Connection connection) : connection_(std::move(connection)) {}

  absl::StatusOr<Received> Receive(ReceiveBlock& block) override;
  absl::Status SendStatus(const StandbyStatusUpdate& update) override;
  absl::Status Flush() override;
  bool wants_to_write() const override { return wants_to_write_; }
  int fd() const override { return PQsocket(connection_.native()); }
  absl::Status End(const ReceiveBlock& block, absl::Time deadline) override;

 private:
  // Takes the next message out of libpq, if one is there. False: not yet, or, with ended_, never.
  absl::StatusOr<bool> NextMessage();
  absl::Status ConsumeInput();
  // After the last message: one of the server's words about how the stream ended; false after the last of
  // them.
  absl::StatusOr<bool> ReadResult();
  absl::Status WaitUntil(absl::Time deadline) const;

  Connection connection_;
  std::unique_ptr<char, FreeMemory> waiting_;  // A message that did not fit yet.
  std::size_t waiting_bytes_ = 0;
  bool wants_to_write_ = false;
  bool ended_ = false;
};

absl::Status LibpqTransport::ConsumeInput() {
  if (PQconsumeInput(connection_.native()) == 0) return connection_.LastError();
  // What OpenSSL has decrypted already makes no socket readable; libpq leaves the rest of a large record
  // there.
  auto* const ssl = static_cast<SSL*>(PQsslStruct(connection_.native(), "OpenSSL"));
  while (ssl != nullptr && SSL_pending(ssl) > 0) {
    if (PQconsumeInput(connection_.native()) == 0) return connection_.LastError();
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> LibpqTransport::NextMessage() {
  char* data = nullptr;
  const int bytes = PQgetCopyData(connection_.native(), &data, 1);
  waiting_.reset(data);
  waiting_bytes_ = bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
  if (bytes == -1) {
    ended_ = true;
    return false;
  }
  if (bytes < -1) return connection_.LastError();
  return bytes > 0;
}

absl::StatusOr<Received> LibpqTransport::Receive(ReceiveBlock& block) {
  // Drained is only what gave no message although the socket was just read.
  bool just_read = false;
  while (true) {
    if (waiting_ == nullptr) {
      WF_ASSIGN_OR_RETURN(const bool got_one, NextMessage());
      if (ended_) {
        WF_RETURN_IF_ERROR(ReadResult().status());
        return Received::kEnded;
      }
      if (!got_one) {
        if (just_read) return Received::kDrained;
        WF_RETURN_IF_ERROR(ConsumeInput());
        just_read = true;
        continue;
      }
    }
    if (!block.Append(std::string_view(waiting_.get(), waiting_bytes_))) return Received::kFull;
    waiting_.reset();
    just_read = false;
  }
}

absl::StatusOr<bool> LibpqTransport::ReadResult() {
  const std::unique_ptr<PGresult, Clear> result(PQgetResult(connection_.native()));
  if (result == nullptr) return false;
  switch (PQresultStatus(result.get())) {
    case PGRES_COMMAND_OK:
    case PGRES_COPY_IN:  // The server ended its half first.
      return true;
    default:
      return connection_.ErrorOf(result.get());
  }
}

absl::Status LibpqTransport::SendStatus(const StandbyStatusUpdate& update) {
  const std::string bytes = EncodeStandbyStatusUpdate(update);
  if (PQputCopyData(connection_.native(), bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return connection_.LastError();
  }
  return Flush();
}

absl::Status LibpqTransport::Flush() {
  const int left = PQflush(connection_.native());
  if (left < 0) return connection_.LastError();
  wants_to_write_ = left == 1;
  return absl::OkStatus();
}

// Not Connection::Wait: the stream is ended because a stop was requested, which must not cut this short.
absl::Status LibpqTransport::WaitUntil(absl::Time deadline) const {
  const absl::Duration left = deadline - absl::Now();
  if (left <= absl::ZeroDuration()) {
    return absl::DeadlineExceededError("The source did not confirm the end of the stream in time");
  }
  pollfd socket{
      .fd = fd(), .events = static_cast<short>(wants_to_write_ ? POLLIN | POLLOUT : POLLIN), .revents = 0};
  poll(&socket, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
  return absl::OkStatus();
}

absl::Status LibpqTransport::End(const ReceiveBlock&, absl::Time deadline) {
  if (PQputCopyEnd(connection_.native(), nullptr) != 1) return connection_.LastError();
  WF_RETURN_IF_ERROR(Flush());
  while (!ended_) {
    WF_ASSIGN_OR_RETURN(const bool got_one, NextMessage());
    if (got_one || ended_) continue;
    WF_RETURN_IF_ERROR(WaitUntil(deadline));
    WF_RETURN_IF_ERROR(Flush());
    WF_RETURN_IF_ERROR(ConsumeInput());
  }
  bool more = true;
  while (more) {
    while (PQisBusy(connection_.native()) == 1) {
      WF_RETURN_IF_ERROR(WaitUntil(deadline));
      WF_RETURN_IF_ERROR(ConsumeInput());
    }
    WF_ASSIGN_OR_RETURN(more, ReadResult());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> StartLibpqTransport(Connection connection,
                                                               const std::string& start_replication) {
  WF_RETURN_IF_ERROR(connection.Execute(start_replication).status());
  return std::make_unique<LibpqTransport>(std::move(connection));
}

}  // namespace walferry
