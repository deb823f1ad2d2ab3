// A TCP relay in front of a server that can lose answers and cut connections at chosen moments.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "stream/stop_signal.h"

namespace walferry {

class TcpGate {
 public:
  explicit TcpGate(int server_port);
  ~TcpGate();
  TcpGate(const TcpGate&) = delete;
  TcpGate& operator=(const TcpGate&) = delete;

  int port() const { return port_; }

  // From the next time on that a client sends `text`, on a connection on which it has sent `mark` before (or
  // with it), the server's answers on this connection are swallowed. Once.
  void SwallowAnswersAfter(const std::string& mark, const std::string& text);
  bool swallowing() const { return swallowing_; }
  // Closes every connection, to both sides.
  void Cut();

 private:
  struct Relay {
    int client = -1;
    int server = -1;
    bool marked = false;
    bool swallow = false;
    std::string tail;  // Of what the client sent, for a text that is cut by a read.
  };

  void Run();
  void Accept();
  // False: the connection is over.
  bool Forward(Relay& relay, bool from_client);
  void Look(Relay& relay, const std::string& sent);

  const int server_port_;
  int listener_ = -1;
  int port_ = 0;
  StopSignal stop_;
  std::atomic<bool> cut_ = false;
  std::atomic<bool> swallowing_ = false;
  absl::Mutex mutex_;
  std::string mark_ ABSL_GUARDED_BY(mutex_);
  std::string text_ ABSL_GUARDED_BY(mutex_);
  std::vector<Relay> relays_;  // Of the thread.
  std::thread thread_;
};

}  // namespace walferry
