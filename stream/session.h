// The way from the source's walsender into a sink: connect, START_REPLICATION, receive, decode, assemble, push, tell
// the source what is durable, and, when the connection is lost, all of it again. The only loop of this side.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "decoder/protocol.h"
#include "stream/connection.h"
#include "stream/memory_budget.h"
#include "stream/sink.h"
#include "stream/stop_signal.h"

namespace walferry {

struct SessionOptions {
  std::string source;            // conninfo
  std::string application_name = "walferry";
  std::string slot;
  std::vector<std::string> publications;
  ProtocolOptions wishes;        // Granted as far as the server's version knows them.
  // Compared with IDENTIFY_SYSTEM at every connect where they are set; a difference ends the session.
  std::string expected_system_id;
  std::int64_t expected_timeline = 0;
  // The slot's confirmed_flush_lsn may not be beyond this (the target's record of what was confirmed): somebody else
  // would have consumed changes. Asked anew at every connect.
  std::function<absl::StatusOr<Lsn>()> confirmed_limit;
  std::string spool_dir;         // For transactions in progress that do not fit into memory.
  absl::Duration status_interval = absl::Seconds(5);
  // How long to try again after the connection was lost or refused, counted from the last success.
  absl::Duration retry_for = absl::Minutes(10);
};

// Written by the session's thread, read by any. LSNs as integers.
struct SessionCounters {
  std::atomic<std::uint64_t> received_lsn = 0;   // The highest position heard of, keepalives included.
  std::atomic<std::uint64_t> wal_end_lsn = 0;    // The source's head, as it last told.
  std::atomic<std::uint64_t> confirmed_lsn = 0;  // What the source was last told.
  std::atomic<std::uint64_t> messages = 0;
  std::atomic<std::uint64_t> bytes = 0;
  std::atomic<std::uint64_t> transactions = 0;
  std::atomic<std::uint64_t> changes = 0;
  std::atomic<std::uint64_t> streamed_transactions = 0;
  std::atomic<std::uint64_t> spooled_bytes = 0;
  std::atomic<std::uint64_t> reconnects = 0;
  std::atomic<std::int64_t> last_commit_time = 0;  // TimestampMicros of the last transaction received.
};

// What happens besides data; said in words by tools/.
struct SessionEvent {
  enum class Kind { kConnected, kReconnecting, kSlotActive, kStopped, kRelationChanged, kLogicalMessage };
  Kind kind;
  std::string text;  // One sentence, without secrets or cell values.
};

class Session {
 public:
  // budget, sink and stop must outlive the session. `observe` is called on the thread of Run().
  Session(SessionOptions options, MemoryBudget& budget, SegmentSink& sink, const StopSignal& stop,
          std::function<void(const SessionEvent&)> observe);
  ~Session();

  // Streams until
  // - `until` returns an LSN (asked now and then, and after progress) and everything before it is confirmed: OK;
  // - a stop is requested: the final position is sent, the stream is ended cleanly: OK;
  // - the sink fails, the source cannot be continued (slot lost, wrong system, malformed bytes): its error;
  // - the source stays away longer than retry_for: kUnavailable.
  absl::Status Run(const std::function<std::optional<Lsn>()>& until);

  const SessionCounters& counters() const { return counters_; }

 private:
  class Impl;
  SessionOptions options_;
  MemoryBudget& budget_;
  SegmentSink& sink_;
  const StopSignal& stop_;
  std::function<void(const SessionEvent&)> observe_;
  SessionCounters counters_;
};

}  // namespace walferry
