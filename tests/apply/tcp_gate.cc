#include "tests/apply/tcp_gate.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace walferry {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

bool SendAll(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

}  // namespace

TcpGate::TcpGate(int server_port) : server_port_(server_port), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener_, generic, size) != 0 || listen(listener_, 16) != 0) std::abort();
  getsockname(listener_, generic, &size);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Run(); });
}

TcpGate::~TcpGate() {
  stop_.Request();
  thread_.join();
  for (const Relay& relay : relays_) {
    close(relay.client);
    close(relay.server);
  }
  close(listener_);
}

void TcpGate::SwallowAnswersAfter(const std::string& mark, const std::string& text) {
  const absl::MutexLock lock(&mutex_);
  mark_ = mark;
  text_ = text;
  swallowing_ = false;
}

void TcpGate::Cut() {
  cut_ = true;
  while (cut_) usleep(1000);
}

void TcpGate::Run() {
  while (!stop_.requested()) {
    if (cut_) {
      for (const Relay& relay : relays_) {
        close(relay.client);
        close(relay.server);
      }
      relays_.clear();
      cut_ = false;
    }
    std::vector<pollfd> fds = {{stop_.fd(), POLLIN, 0}, {listener_, POLLIN, 0}};
    for (const Relay& relay : relays_) {
      fds.push_back({relay.client, POLLIN, 0});
      fds.push_back({relay.server, POLLIN, 0});
    }
    poll(fds.data(), fds.size(), 5);
    std::vector<Relay> left;
    for (std::size_t i = 0; i < relays_.size(); ++i) {
      Relay relay = relays_[i];
      bool alive = fds[2 + 2 * i].revents == 0 || Forward(relay, true);
      alive = alive && (fds[3 + 2 * i].revents == 0 || Forward(relay, false));
      if (alive) {
        left.push_back(std::move(relay));
      } else {
        close(relay.client);
        close(relay.server);
      }
    }
    relays_ = std::move(left);
    if (fds[1].revents != 0) Accept();
  }
}

void TcpGate::Accept() {
  Relay relay;
  relay.client = accept(listener_, nullptr, nullptr);
  relay.server = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = Loopback(server_port_);
  if (connect(relay.server, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    close(relay.client);
    close(relay.server);
    return;
  }
  relays_.push_back(std::move(relay));
}

bool TcpGate::Forward(Relay& relay, bool from_client) {
  std::array<char, 65536> buffer;
  const ssize_t got = recv(from_client ? relay.client : relay.server, buffer.data(), buffer.size(), 0);
  if (got <= 0) return false;
  const auto size = static_cast<std::size_t>(got);
  if (from_client) {
    Look(relay, std::string(buffer.data(), size));
    return SendAll(relay.server, buffer.data(), size);
  }
  return relay.swallow || SendAll(relay.client, buffer.data(), size);
}

void TcpGate::Look(Relay& relay, const std::string& sent) {
  const absl::MutexLock lock(&mutex_);
  if (text_.empty()) return;
  const std::string seen = relay.tail + sent;
  relay.marked = relay.marked || seen.find(mark_) != std::string::npos;
  if (relay.marked && seen.find(text_) != std::string::npos) {
    relay.swallow = true;
    swallowing_ = true;
    text_.clear();
  }
  relay.tail = seen.substr(seen.size() > 64 ? seen.size() - 64 : 0);
}

}  // namespace walferry
