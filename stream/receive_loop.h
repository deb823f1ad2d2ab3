// One connection's life between START_REPLICATION and its end: receive, decode, assemble, push, report.
//
// One thread, one poll(): on the source's socket (not while the memory budget is exhausted), the stop signal,
// the sink and the budget, until the next report is due. So a slow target stops the reading, never the
// reporting.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "absl/time/time.h"
#include "stream/assembler.h"
#include "stream/feedback.h"
#include "stream/memory_budget.h"
#include "stream/pacing.h"
#include "stream/receive_buffer.h"
#include "stream/session_counters.h"
#include "stream/sink.h"
#include "stream/stop_signal.h"
#include "stream/transport.h"

namespace walferry {

enum class StreamEnd {
  kReached,       // What `until` asked for is confirmed; the stream was ended cleanly.
  kStopped,       // A stop was requested; the stream was ended cleanly.
  kSinkFailed,    // See SegmentSink::status(); the stream was ended cleanly.
  kSinkRestarts,  // See SegmentSink::wants_restart(); the stream was ended cleanly.
  kServerEnded,   // The server shuts down.
};

struct LoopParts {
  Transport& transport;
  Assembler& assembler;
  ReceivePool& pool;
  MemoryBudget& budget;
  SegmentSink& sink;
  const StopSignal& stop;
  SessionCounters& counters;
  const std::function<std::optional<Lsn>()>& until;
};

class ReceiveLoop {
 public:
  // The parts must outlive the loop. status_interval: the longest time between two reports.
  ReceiveLoop(LoopParts parts, absl::Duration status_interval, Pacing pacing);

  // Errors are the source's: a lost connection, malformed bytes, a full spool disk.
  absl::StatusOr<StreamEnd> Run();

  // When the source was last heard of.
  std::optional<absl::Time> last_heard() const { return last_heard_; }

 private:
  // Whether the budget allows for more. The block that is being filled is paid for and does not count: a
  // message may need one as large as the whole budget, and nobody else could give that back.
  bool HasRoom() const;
  // Moves the stream on by one step. False: nothing to do before something happens.
  absl::StatusOr<bool> Advance();
  // How many bytes were handled. Stops where a replay begins.
  absl::StatusOr<std::size_t> ProcessBlock();
  absl::Status Handle(std::string_view copy_data);
  void Handle(const Keepalive& keepalive);
  void Heard(Lsn position);
  void Push();

  absl::Status Report();
  absl::Status Send();
  bool ReachedUntil();
  void Wait();
  StreamEnd EndStream(StreamEnd why);
  void AwaitConfirmation(absl::Time deadline);
  void CountMessages();

  LoopParts parts_;
  Feedback feedback_;
  Pacing pacing_;
  std::shared_ptr<ReceiveBlock> block_;
  std::size_t gathered_bytes_ = 0;  // Since the socket was drained.
  absl::Time read_again_ = absl::InfinitePast();
  std::optional<absl::Time> last_heard_;
  bool ended_by_server_ = false;
  AssemblerCounts counted_;
  std::optional<Lsn> until_;
  absl::Time until_asked_ = absl::InfinitePast();
  SinkProgress until_asked_at_;
};

}  // namespace walferry
