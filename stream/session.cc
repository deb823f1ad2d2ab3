// Tested by tests/stream/session_test.cc
#include "stream/session.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/time/clock.h"
#include "stream/backoff.h"
#include "stream/synchronous_standby.h"

namespace walferry {
namespace {

// Of the memory budget, what transactions in progress may hold before they go to the disk.
constexpr std::size_t kSpoolShare = 4;
// The server ends a connection that was silent for wal_sender_timeout; while it waits for our thread's turn
// on a busy machine, a report may come late.
constexpr int kReportsPerTimeout = 4;

absl::Status OperatorMustAct(std::string text) {
  return absl::FailedPreconditionError(text);
}

std::string WhyAgain(StreamEnd end) {
  return end == StreamEnd::kSinkRestarts ? "The target needs the stream again from its position"
                                         : "The source is shutting down";
}

}  // namespace

Session::Session(SessionOptions options, MemoryBudget& budget, SegmentSink& sink, const StopSignal& stop,
                 SessionObserver observe)
    : options_(std::move(options)), budget_(budget), sink_(sink), stop_(stop), observe_(std::move(observe)) {}

absl::Status Session::Run(const std::function<std::optional<Lsn>()>& until) {
  Backoff backoff;
  absl::Time last_success = absl::Now();
  for (bool first = true;; first = false) {
    last_heard_.reset();
    if (!first) counters_.reconnects.fetch_add(1, std::memory_order_relaxed);
    const absl::StatusOr<StreamEnd> end = RunConnection(until);
    if (stop_.requested() || (end.ok() && *end == StreamEnd::kReached)) {
      observe_({SessionEvent::Kind::kStopped, absl::StrFormat("The stream ended; confirmed to the source: %s",
                                                              Lsn{counters_.confirmed_lsn}.ToString())});
      const bool sink_is_fine = sink_.status().ok() || absl::IsCancelled(sink_.status());
      return sink_is_fine ? absl::OkStatus() : sink_.status();
    }
    if (!sink_.status().ok()) return sink_.status();
    if (!end.ok() && !IsRetryable(end.status())) return end.status();

    if (last_heard_) {
      last_success = *last_heard_;
      backoff.Reset();
    }
    const std::string why = end.ok() ? WhyAgain(*end) : std::string(MessageOf(end.status()));
    const bool slot_is_active = !end.ok() && SqlstateOf(end.status()) == "55006";
    if (absl::Now() - last_success > options_.retry_for) {
      const std::string patience = absl::FormatDuration(options_.retry_for);
      if (slot_is_active) {
        return Errorf(absl::StatusCode::kUnavailable,
                      "%s, and still is after %s: stop its other reader first", why, patience);
      }
      return Errorf(absl::StatusCode::kUnavailable, "The source did not come back within %s: %s", patience,
                    why);
    }
    observe_({slot_is_active ? SessionEvent::Kind::kSlotActive : SessionEvent::Kind::kReconnecting,
              why + ". Trying again"});
    WF_RETURN_IF_ERROR(Pause(backoff.Next()));
  }
}

absl::StatusOr<StreamEnd> Session::RunConnection(const std::function<std::optional<Lsn>()>& until) {
  ConnectOptions connect;
  connect.conninfo = options_.source;
  connect.application_name = options_.application_name;
  connect.replication = true;
  connect.stop = &stop_;
  WF_ASSIGN_OR_RETURN(Connection connection, Connection::Open(connect));
  WF_ASSIGN_OR_RETURN(const SystemIdentity source, IdentifySystem(connection));
  WF_RETURN_IF_ERROR(CheckSource(source));
  WF_ASSIGN_OR_RETURN(const std::string application_name, ApplicationNameInForce(connection));
  WF_RETURN_IF_ERROR(CheckNotSynchronousStandby(connection, application_name));
  WF_RETURN_IF_ERROR(CheckSlot(connection, source.database));
  WF_ASSIGN_OR_RETURN(const absl::Duration status_interval, StatusInterval(connection));
  WF_ASSIGN_OR_RETURN(const Lsn start, StartPosition(source));

  const ProtocolOptions protocol = NegotiateProtocol(connection.server_version(), options_.wishes);
  const std::string where = connection.host() + ":" + connection.port();
  WF_ASSIGN_OR_RETURN(
      const std::unique_ptr<Transport> transport,
      StartTransport(
          options_.transport, std::move(connection),
          absl::StrFormat("START_REPLICATION SLOT %s LOGICAL %s (%s)", QuoteIdentifier(options_.slot),
                          start.ToString(), StartReplicationOptions(protocol, options_.publications))));
  observe_({SessionEvent::Kind::kConnected, absl::StrFormat("Streaming from %s, slot %s, from %s on", where,
                                                            options_.slot, start.ToString())});

  if (options_.longest_nap > absl::ZeroDuration()) OfferSmallWindowIfNear(transport->fd());
  relations_->cache.ForgetBindings();
  SpoolRoom room{.budget = budget_,
                 .directory = options_.spool_dir,
                 .memory_limit_bytes = budget_.limit_bytes() / kSpoolShare};
  Assembler assembler(protocol, start, relations_, room, observe_);
  ReceivePool pool(budget_);
  ReceiveLoop loop({.transport = *transport,
                    .assembler = assembler,
                    .pool = pool,
                    .budget = budget_,
                    .sink = sink_,
                    .stop = stop_,
                    .counters = counters_,
                    .until = until},
                   status_interval, Pacing(options_.longest_nap, WorthwhileBytes(transport->fd())));
  const absl::StatusOr<StreamEnd> end = loop.Run();
  last_heard_ = loop.last_heard();
  return end;
}

absl::Status Session::CheckSource(const SystemIdentity& source) const {
  if (!options_.expected_system_id.empty() && source.system_id != options_.expected_system_id) {
    return OperatorMustAct(
        absl::StrFormat("The source is another database cluster (system id %s) than the one that this "
                        "migration began with (%s)",
                        source.system_id, options_.expected_system_id));
  }
  if (options_.expected_timeline != 0 && source.timeline != options_.expected_timeline) {
    return OperatorMustAct(
        absl::StrFormat("The source is on timeline %d, this migration began on timeline %d: it was restored "
                        "or failed over, and what "
                        "it lost by that cannot be told from here",
                        source.timeline, options_.expected_timeline));
  }
  return absl::OkStatus();
}

absl::Status Session::CheckSlot(Connection& connection, const std::string& database) {
  WF_ASSIGN_OR_RETURN(const std::optional<SlotInfo> slot, InspectSlot(connection, options_.slot));
  if (!slot) {
    return OperatorMustAct(
        absl::StrFormat("Replication slot %s does not exist on the source; it is never re-created silently, "
                        "because the changes since "
                        "it was dropped would be missing",
                        options_.slot));
  }
  if (slot->plugin != "pgoutput" || slot->database != database) {
    return OperatorMustAct(
        absl::StrFormat("Replication slot %s is for plugin '%s' in database %s, not for pgoutput in %s",
                        options_.slot, slot->plugin, slot->database, database));
  }
  if (slot->wal_status == "lost") {
    return OperatorMustAct(absl::StrFormat(
        "Replication slot %s is lost: the source removed WAL that it needed%s, so changes are missing and "
        "the tables "
        "have to be copied again",
        options_.slot, slot->invalidation_reason.empty() ? "" : " (" + slot->invalidation_reason + ")"));
  }
  if (slot->two_phase) {
    return OperatorMustAct(
        absl::StrFormat("Replication slot %s was created with two_phase; use one without, prepared "
                        "transactions then arrive when they "
                        "are committed",
                        options_.slot));
  }
  if (slot->active) {
    return WithSqlstate(
        Errorf(absl::StatusCode::kUnavailable, "Replication slot %s is in use by process %d of the source",
               options_.slot, slot->active_pid),
        "55006");
  }
  if (!options_.sole_reader) return absl::OkStatus();
  const Lsn limit = sink_.progress().confirmed;
  if (slot->confirmed_flush_lsn <= limit) return absl::OkStatus();
  return OperatorMustAct(
      absl::StrFormat("Replication slot %s was advanced to %s, but only %s was ever confirmed from here: "
                      "somebody else consumed "
                      "changes, which would be missing on the target",
                      options_.slot, slot->confirmed_flush_lsn.ToString(), limit.ToString()));
}

absl::StatusOr<Lsn> Session::StartPosition(const SystemIdentity& source) {
  WF_ASSIGN_OR_RETURN(const Lsn start, sink_.Restart());
  if (start <= source.wal_position) return start;
  return OperatorMustAct(
      absl::StrFormat("The target has changes up to %s, but the source's WAL ends at %s: the source lost "
                      "changes (restored from a "
                      "backup, or failed over to a standby that was behind)",
                      start.ToString(), source.wal_position.ToString()));
}

absl::StatusOr<absl::Duration> Session::StatusInterval(Connection& connection) const {
  WF_ASSIGN_OR_RETURN(
      const Result result,
      connection.Execute("SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'"));
  const std::int64_t timeout_ms = result.rows() == 1 ? result.GetInt(0, 0) : 0;
  if (timeout_ms <= 0) return options_.status_interval;
  return std::min(options_.status_interval, absl::Milliseconds(timeout_ms) / kReportsPerTimeout);
}

// Ends early where a stop is requested (the next connection attempt sees it) or the sink fails.
absl::Status Session::Pause(absl::Duration duration) {
  const absl::Time end = absl::Now() + duration;
  while (!stop_.requested() && absl::Now() < end) {
    std::array<pollfd, 2> descriptors = {{{.fd = stop_.fd(), .events = POLLIN, .revents = 0},
                                          {.fd = sink_.fd(), .events = POLLIN, .revents = 0}}};
    const timespec timeout = absl::ToTimespec(std::max(end - absl::Now(), absl::ZeroDuration()));
    ppoll(descriptors.data(), descriptors.size(), &timeout, nullptr);
    if (descriptors[1].revents != 0) sink_.DrainWakeups();
    WF_RETURN_IF_ERROR(sink_.status());
  }
  return absl::OkStatus();
}

}  // namespace walferry
