// Tested by tests/stream/transport_test.cc
// The replication stream without libpq: libpq logs in, and then this reads from its socket, or its TLS
// session, straight into the blocks in which messages are parsed.
//
// The takeover is before START_REPLICATION, not after its answer. A walsender goes on to send rows as soon as
// it has sent CopyBothResponse (StartLogicalReplication and WalSndLoop in walsender.c wait for nobody), so
// libpq, which reads as much as there is, may hold a part of a row when it gives that answer, and there is no
// way to get at a part. Before, libpq holds nothing that counts: it has read the last command's
// ReadyForQuery, and behind that a server that has not been asked for anything sends at most a notice, a
// changed parameter or the error with which it ends the connection. If libpq were to hold the beginning of
// one of those, what is read here first would not be an answer to START_REPLICATION; so that is checked to
// the last byte, and anything else is a lost connection.
// https://www.postgresql.org/docs/current/protocol-flow.html (asynchronous operations)
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/time/clock.h"
#include "decoder/wire_reader.h"
#include "decoder/wire_writer.h"
#include "stream/message_skimmer.h"
#include "stream/socket.h"
#include "stream/transport.h"

namespace walferry {
namespace {

constexpr std::size_t kLengthBytes = 4;

class SocketTransport final : public Transport {
 public:
  SocketTransport(Connection connection, ssl_st* ssl)
      : connection_(std::move(connection)), socket_(PQsocket(connection_.native()), ssl) {}

  // Until the server has answered with CopyBothResponse.
  absl::Status Start(const std::string& start_replication);

  absl::StatusOr<Received> Receive(ReceiveBlock& block) override;
  absl::Status SendStatus(const StandbyStatusUpdate& update) override;
  absl::Status Flush() override;
  bool wants_to_write() const override {
    return socket_.read_waits_for_writing() || (!unsent_.empty() && !socket_.write_waits_for_reading());
  }
  int fd() const override { return socket_.fd(); }
  absl::Status End(const ReceiveBlock& block, absl::Time deadline) override;

 private:
  void Queue(char type, std::string_view body);
  absl::Status ReadWhole(std::span<char> bytes);
  // Whether a message that is no CopyData ends the stream; its error where it is one.
  absl::StatusOr<bool> Ends(const WireMessage& message) const;
  absl::Status ErrorIn(std::string_view error_response) const;
  absl::Status WaitUntil(absl::Time deadline) const;

  Connection connection_;
  Socket socket_;
  std::string unsent_;
};

void SocketTransport::Queue(char type, std::string_view body) {
  WireWriter writer;
  writer.Int8(static_cast<std::uint8_t>(type));
  writer.Int32(static_cast<std::uint32_t>(kLengthBytes + body.size())).Bytes(body);
  unsent_ += writer.bytes();
}

absl::Status SocketTransport::Flush() {
  while (!unsent_.empty()) {
    WF_ASSIGN_OR_RETURN(const std::size_t sent, socket_.Write(unsent_));
    if (sent == 0) break;
    unsent_.erase(0, sent);
  }
  return absl::OkStatus();
}

absl::Status SocketTransport::ReadWhole(std::span<char> bytes) {
  while (!bytes.empty()) {
    WF_ASSIGN_OR_RETURN(const std::size_t got, socket_.Read(bytes));
    if (got == 0) WF_RETURN_IF_ERROR(connection_.Wait(wants_to_write()));
    bytes = bytes.subspan(got);
  }
  return absl::OkStatus();
}

absl::Status SocketTransport::Start(const std::string& start_replication) {
  Queue('Q', start_replication + '\0');
  WF_RETURN_IF_ERROR(Flush());
  while (!unsent_.empty()) {
    WF_RETURN_IF_ERROR(connection_.Wait(true));
    WF_RETURN_IF_ERROR(Flush());
  }
  while (true) {
    std::array<char, WireMessage::kHeaderBytes> header{};
    WF_RETURN_IF_ERROR(ReadWhole(header));
    const absl::StatusOr<std::size_t> body_bytes = BodyBytes(std::string_view(header.data(), header.size()));
    if (!body_bytes.ok()) return absl::UnavailableError(body_bytes.status().message());
    std::string body(*body_bytes, '\0');
    WF_RETURN_IF_ERROR(ReadWhole(body));
    // Int8 format, Int16 number of columns: a walsender says zero columns.
    if (header[0] == 'W' && body == std::string_view("\0\0\0", 3)) return absl::OkStatus();
    WF_ASSIGN_OR_RETURN(const bool ends, Ends({.type = header[0], .body = body}));
    if (ends) return absl::UnavailableError("The source did not answer START_REPLICATION");
  }
}

absl::StatusOr<Received> SocketTransport::Receive(ReceiveBlock& block) {
  while (!block.full()) {
    const std::span<char> room = block.room();
    WF_ASSIGN_OR_RETURN(const std::size_t got, socket_.Read(room));
    if (got == 0) return Received::kDrained;
    block.Filled(got);
    while (true) {
      WF_ASSIGN_OR_RETURN(const std::optional<WireMessage> other, block.Scan());
      if (!other) break;
      WF_ASSIGN_OR_RETURN(const bool ends, Ends(*other));
      if (ends) return Received::kEnded;
    }
    if (got < room.size() && socket_.short_read_means_drained()) return Received::kDrained;
  }
  return Received::kFull;
}

absl::StatusOr<bool> SocketTransport::Ends(const WireMessage& message) const {
  switch (message.type) {
    case 'N':  // NoticeResponse
    case 'S':  // ParameterStatus
    case 'A':  // NotificationResponse
      return false;
    case 'c':  // CopyDone
    case 'C':  // CommandComplete
    case 'Z':  // ReadyForQuery
      return true;
    case 'E':
      return ErrorIn(message.body);
  }
  return Errorf(absl::StatusCode::kDataLoss, "The source sent a message of type 0x%02x inside the stream",
                static_cast<unsigned char>(message.type));
}

// Fields of a byte that says which, and a string; the last one is a zero byte.
// https://www.postgresql.org/docs/current/protocol-error-fields.html
absl::Status SocketTransport::ErrorIn(std::string_view error_response) const {
  std::string_view sqlstate;
  std::string_view primary;
  std::string_view detail;
  std::string_view hint;
  WireReader reader(error_response);
  while (const std::uint8_t field = reader.Int8()) {
    const std::string_view value = reader.String();
    if (field == 'C') sqlstate = value;
    if (field == 'M') primary = value;
    if (field == 'D') detail = value;
    if (field == 'H') hint = value;
  }
  return connection_.ServerError(sqlstate, primary, detail, hint);
}

absl::Status SocketTransport::SendStatus(const StandbyStatusUpdate& update) {
  Queue(WireMessage::kCopyData, EncodeStandbyStatusUpdate(update));
  return Flush();
}

// Not Connection::Wait: the stream is ended because a stop was requested, which must not cut this short.
absl::Status SocketTransport::WaitUntil(absl::Time deadline) const {
  const absl::Duration left = deadline - absl::Now();
  if (left <= absl::ZeroDuration()) {
    return absl::DeadlineExceededError("The source did not confirm the end of the stream in time");
  }
  const bool writing = wants_to_write();
  pollfd socket{.fd = fd(), .events = static_cast<short>(writing ? POLLIN | POLLOUT : POLLIN), .revents = 0};
  poll(&socket, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
  return absl::OkStatus();
}

absl::Status SocketTransport::End(const ReceiveBlock& block, absl::Time deadline) {
  Queue('c', {});
  MessageSkimmer skimmer;
  WF_RETURN_IF_ERROR(skimmer.Take(block.unfinished()));
  std::vector<char> dropped(std::size_t{64} << 10);
  while (!skimmer.seen('Z')) {
    WF_RETURN_IF_ERROR(Flush());
    const absl::StatusOr<std::size_t> got = socket_.Read(dropped);
    // A server that shuts down completes the command and is gone.
    if (!got.ok()) return skimmer.seen('C') ? absl::OkStatus() : got.status();
    if (*got == 0) WF_RETURN_IF_ERROR(WaitUntil(deadline));
    WF_RETURN_IF_ERROR(skimmer.Take(std::string_view(dropped.data(), *got)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> StartSocketTransport(Connection& connection,
                                                                const std::string& start_replication) {
  PGconn* const native = connection.native();
  auto* const ssl = static_cast<ssl_st*>(PQsslStruct(native, "OpenSSL"));
  const bool unreadable = PQgssEncInUse(native) == 1 || (PQsslInUse(native) == 1 && ssl == nullptr);
  if (unreadable || PQtransactionStatus(native) != PQTRANS_IDLE || PQflush(native) != 0) return nullptr;
  auto transport = std::make_unique<SocketTransport>(std::move(connection), ssl);
  WF_RETURN_IF_ERROR(transport->Start(start_replication));
  return transport;
}

absl::StatusOr<std::unique_ptr<Transport>> StartTransport(TransportKind kind, Connection connection,
                                                          const std::string& start_replication) {
  if (kind == TransportKind::kAuto) {
    WF_ASSIGN_OR_RETURN(std::unique_ptr<Transport> transport,
                        StartSocketTransport(connection, start_replication));
    if (transport != nullptr) return transport;
  }
  return StartLibpqTransport(std::move(connection), start_replication);
}

}  // namespace walferry
