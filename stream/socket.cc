// Tested by tests/stream/transport_test.cc
#include "stream/socket.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace walferry {
namespace {

bool IsForLater(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

absl::Status Closed() {
  return absl::UnavailableError("The source closed the connection");
}

absl::Status Lost(const char* reason) {
  return Errorf(absl::StatusCode::kUnavailable, "The connection to the source was lost: %s", reason);
}

}  // namespace

Socket::Socket(int fd, ssl_st* ssl) : fd_(fd), ssl_(ssl) {
  // Without it OpenSSL asks the kernel twice for each record, and a walsender makes one of every row.
  if (ssl_ != nullptr) SSL_set_read_ahead(ssl_, 1);
}

absl::StatusOr<std::size_t> Socket::Read(std::span<char> room) {
  if (ssl_ != nullptr) return ReadTls(room);
  const ssize_t got = recv(fd_, room.data(), room.size(), MSG_DONTWAIT);
  if (got > 0) return static_cast<std::size_t>(got);
  if (got == 0) return Closed();
  if (IsForLater(errno)) return 0;
  return Lost(std::strerror(errno));
}

absl::StatusOr<std::size_t> Socket::Write(std::string_view bytes) {
  if (ssl_ != nullptr) return WriteTls(bytes);
  const ssize_t put = send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (put >= 0) return static_cast<std::size_t>(put);
  if (IsForLater(errno)) return 0;
  return Lost(std::strerror(errno));
}

// libpq's socket does not block, and its layer between socket and OpenSSL raises no SIGPIPE.
absl::StatusOr<std::size_t> Socket::ReadTls(std::span<char> room) {
  ERR_clear_error();  // SSL_get_error() looks at what others left in this thread's queue, too.
  errno = 0;
  std::size_t got = 0;
  const int result = SSL_read_ex(ssl_, room.data(), room.size(), &got);
  const int system_error = errno;
  write_waits_for_reading_ = false;
  const int error = SSL_get_error(ssl_, result);
  read_waits_for_writing_ = error == SSL_ERROR_WANT_WRITE;
  if (result == 1) return got;
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return 0;
  return TlsError(error, system_error);
}

absl::StatusOr<std::size_t> Socket::WriteTls(std::string_view bytes) {
  if (bytes.empty()) return 0;
  ERR_clear_error();
  errno = 0;
  std::size_t put = 0;
  const int result = SSL_write_ex(ssl_, bytes.data(), bytes.size(), &put);
  const int system_error = errno;
  const int error = SSL_get_error(ssl_, result);
  write_waits_for_reading_ = error == SSL_ERROR_WANT_READ;
  if (result == 1) return put;
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return 0;
  return TlsError(error, system_error);
}

absl::Status Socket::TlsError(int error, int system_error) const {
  const unsigned long reason = ERR_peek_error();
  if (error == SSL_ERROR_ZERO_RETURN) return Closed();
  if (reason == 0) return system_error == 0 ? Closed() : Lost(std::strerror(system_error));
  if (ERR_GET_REASON(reason) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return Closed();
  const char* const text = ERR_reason_error_string(reason);
  return Lost(text == nullptr ? "TLS failed" : text);
}

}  // namespace walferry
