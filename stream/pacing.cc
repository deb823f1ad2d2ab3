// Tested by tests/stream/feedback_test.cc
#include "stream/pacing.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>

namespace walferry {
namespace {

// What comes later than this after the last read did not come as a part of the same load.
constexpr absl::Duration kBusyGap = absl::Milliseconds(2);

// TCP: both sides' buffers grow with the load, to megabytes. More in one read than this gains nothing.
constexpr std::size_t kWorthwhileBytes = 512 << 10;
// A source nearer than this sends each row as a packet of its own, which costs it three times what the row
// costs otherwise, unless the window that we offer is full: then its kernel gathers rows to large packets. So
// near sources get a small window, and naps in which much more comes than fits into it. (Far ones are held up
// by the way itself, and would starve.)
constexpr std::uint32_t kNearMicroseconds = 500;
constexpr std::size_t kSmallWindowBytes = 64 << 10;

// So little in a read is no load.
constexpr std::size_t kLoadBytes = 4 << 10;
constexpr absl::Duration kShortNap = absl::Milliseconds(1);

// A unix socket has but the sender's buffer, which does not grow, and the kernel's header of each row, larger
// than most rows, counts in it.
constexpr int kUnixSocketShare = 16;

}  // namespace

absl::Time Pacing::Drained(absl::Time now, std::size_t bytes) {
  gathered_bytes_ += bytes;
  // So much was there that more waits behind it already.
  if (bytes >= kSmallWindowBytes) return now;
  const absl::Duration since = now - last_drained_;
  const bool busy = since < kBusyGap + nap_;
  const absl::Duration longest = gathered_bytes_ < kLoadBytes ? std::min(longest_, kShortNap) : longest_;
  // The time in which what is worthwhile comes at the rate of late.
  nap_ = busy ? std::min(longest, since * (worthwhile_bytes_ / static_cast<double>(gathered_bytes_)))
              : absl::ZeroDuration();
  last_drained_ = now;
  gathered_bytes_ = 0;
  return now + nap_;
}

void OfferSmallWindowIfNear(int socket_fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(socket_fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
  if (info.tcpi_min_rtt > kNearMicroseconds) return;
  // Where it fails, the source only works harder.
  const auto bytes = static_cast<int>(kSmallWindowBytes);
  setsockopt(socket_fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

std::size_t WorthwhileBytes(int socket_fd) {
  int domain = 0;
  int buffer_bytes = 0;
  socklen_t size = sizeof(int);
  const bool known = getsockopt(socket_fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
                     getsockopt(socket_fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, &size) == 0;
  if (!known || domain != AF_UNIX) return kWorthwhileBytes;
  // Ours is as large as the server's unless somebody changed it.
  return static_cast<std::size_t>(buffer_bytes / kUnixSocketShare);
}

}  // namespace walferry
