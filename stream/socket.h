// The bytes of a connection that libpq opened, without libpq: plain, or under TLS through the session that
// libpq negotiated. Never waits. Not thread-safe.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "decoder/status.h"

struct ssl_st;  // SSL

namespace walferry {

class Socket {
 public:
  // Both are borrowed; ssl is null without TLS. libpq must not read from the connection any more.
  Socket(int fd, ssl_st* ssl);

  // Reads what is there, at most room.size(). Zero: nothing for now. kUnavailable: the connection is gone.
  absl::StatusOr<std::size_t> Read(std::span<char> room);
  // Writes what the other side takes. After less than all of it: the rest again, before anything else.
  absl::StatusOr<std::size_t> Write(std::string_view bytes);

  int fd() const { return fd_; }
  // A read that gave less than there was room for took everything. Not so under TLS: it gives one record.
  bool short_read_means_drained() const { return ssl_ == nullptr; }
  // TLS answers to its other side by itself (a change of keys): reading goes on once the socket is writable,
  // writing once something was read.
  bool read_waits_for_writing() const { return read_waits_for_writing_; }
  bool write_waits_for_reading() const { return write_waits_for_reading_; }

 private:
  absl::StatusOr<std::size_t> ReadTls(std::span<char> room);
  absl::StatusOr<std::size_t> WriteTls(std::string_view bytes);
  absl::Status TlsError(int error, int system_error) const;

  const int fd_;
  ssl_st* const ssl_;
  bool read_waits_for_writing_ = false;
  bool write_waits_for_reading_ = false;
};

}  // namespace walferry
