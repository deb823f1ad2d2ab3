// The way from the source's walsender into a sink: connect, START_REPLICATION, receive, decode, assemble,
// push, tell the source what is durable, and, when the connection is lost, all of it again. The only loop of
// this side.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "decoder/protocol.h"
#include "stream/assembler.h"
#include "stream/connection.h"
#include "stream/memory_budget.h"
#include "stream/receive_loop.h"
#include "stream/session_counters.h"
#include "stream/session_event.h"
#include "stream/sink.h"
#include "stream/slot.h"
#include "stream/stop_signal.h"
#include "stream/transport.h"

namespace walferry {

struct SessionOptions {
  std::string source;  // conninfo
  std::string application_name = "walferry";
  std::string slot;
  std::vector<std::string> publications;
  ProtocolOptions wishes;  // Granted as far as the server's version knows them.
  // Compared with IDENTIFY_SYSTEM at every connect where they are set; a difference ends the session.
  std::string expected_system_id;
  std::int64_t expected_timeline = 0;
  // Nobody else reads the slot: where its confirmed_flush_lsn is beyond what the sink says is confirmed,
  // somebody has consumed changes that are missing on the target.
  bool sole_reader = false;
  std::string spool_dir;  // For transactions in progress that do not fit into memory.
  // The longest time between two reports to the source; shortened where its wal_sender_timeout asks for it.
  absl::Duration status_interval = absl::Seconds(5);
  // How long to try again after the connection was lost or refused, counted from the last success.
  absl::Duration retry_for = absl::Minutes(10);
  TransportKind transport = TransportKind::kAuto;
  // The longest time for which the source's socket is left alone under load (see pacing.h); zero reads what
  // comes when it comes.
  absl::Duration longest_nap = absl::Milliseconds(10);
};

class Session {
 public:
  // budget, sink and stop must outlive the session. `observe` is called on the thread of Run().
  Session(SessionOptions options, MemoryBudget& budget, SegmentSink& sink, const StopSignal& stop,
          SessionObserver observe);

  // Streams until
  // - `until` returns an LSN (asked now and then, and after progress) and everything before it is confirmed:
  // OK;
  // - a stop is requested: the final position is sent, the stream is ended cleanly: OK;
  // - the sink fails, the source cannot be continued (slot lost, wrong system, malformed bytes): its error;
  // - the source stays away longer than retry_for: kUnavailable.
  absl::Status Run(const std::function<std::optional<Lsn>()>& until);

  const SessionCounters& counters() const { return counters_; }

 private:
  // From connecting to the end of the stream. kUnavailable and the like: worth another try.
  absl::StatusOr<StreamEnd> RunConnection(const std::function<std::optional<Lsn>()>& until);
  absl::Status CheckSource(const SystemIdentity& source) const;
  absl::Status CheckSlot(Connection& connection, const std::string& database);
  absl::StatusOr<Lsn> StartPosition(const SystemIdentity& source);
  absl::StatusOr<absl::Duration> StatusInterval(Connection& connection) const;
  absl::Status Pause(absl::Duration duration);

  SessionOptions options_;
  MemoryBudget& budget_;
  SegmentSink& sink_;
  const StopSignal& stop_;
  SessionObserver observe_;
  SessionCounters counters_;
  const std::shared_ptr<DescribedRelations> relations_ = std::make_shared<DescribedRelations>();
  std::optional<absl::Time> last_heard_;
};

}  // namespace walferry
