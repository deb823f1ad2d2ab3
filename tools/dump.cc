#include "tools/dump.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <memory>

#include "absl/time/clock.h"
#include "decoder/decode.h"
#include "decoder/frame.h"
#include "stream/connection.h"
#include "stream/memory_budget.h"
#include "stream/publication.h"
#include "stream/receive_buffer.h"
#include "stream/session_settings.h"
#include "stream/slot.h"
#include "stream/transport.h"
#include "tools/dump_context.h"
#include "tools/dump_writer.h"
#include "tools/output.h"

namespace walferry {
namespace {

constexpr const char* kApplicationName = "walferry dump";
constexpr absl::Duration kStatusInterval = absl::Seconds(5);
// While nothing comes and an end is waited for, the server is asked how far it is.
constexpr absl::Duration kAskInterval = absl::Milliseconds(100);
constexpr absl::Duration kEndPatience = absl::Seconds(5);

struct Prepared {
  std::vector<SourceTable> tables;  // Only with --tables.
  std::optional<Lsn> until;
};

absl::Status CheckSlot(Connection& source, const DumpOptions& options) {
  WF_ASSIGN_OR_RETURN(const std::optional<SlotInfo> slot, InspectSlot(source, options.slot));
  if (!slot) {
    return Errorf(absl::StatusCode::kFailedPrecondition, "there is no replication slot %s on the source",
                  options.slot);
  }
  if (slot->plugin != "pgoutput") {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "slot %s is of output plugin \"%s\"; dump reads pgoutput only", options.slot, slot->plugin);
  }
  if (options.from && *options.from < slot->confirmed_flush_lsn) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "slot %s was read up to %s already: what was committed before cannot be shown from %s on",
                  options.slot, slot->confirmed_flush_lsn.ToString(), options.from->ToString());
  }
  return absl::OkStatus();
}

// On an ordinary connection: what exists, and where the end is.
absl::StatusOr<Prepared> Prepare(const DumpOptions& options, const StopSignal& stop) {
  ConnectOptions connect;
  connect.conninfo = options.source;
  connect.application_name = kApplicationName;
  connect.settings = {{"lock_timeout", kSourceLockTimeout}};
  connect.stop = &stop;
  WF_ASSIGN_OR_RETURN(Connection source, Connection::Open(connect));
  for (const std::string& publication : options.publications) {
    WF_ASSIGN_OR_RETURN(const bool exists, PublicationExists(source, publication));
    if (!exists) {
      return Errorf(absl::StatusCode::kFailedPrecondition, "there is no publication %s on the source",
                    publication);
    }
  }
  Prepared prepared;
  if (!options.slot.empty()) {
    WF_RETURN_IF_ERROR(CheckSlot(source, options));
  }
  prepared.until = options.until;
  if (!prepared.until && !options.follow) {
    WF_ASSIGN_OR_RETURN(prepared.until, CurrentWalLsn(source));
  }
  if (!options.tables.selects_all()) {
    WF_ASSIGN_OR_RETURN(prepared.tables, ListSourceTables(source));
  }
  return prepared;
}

class DumpStream {
 public:
  DumpStream(const DumpOptions& options, const Prepared& prepared, const StopSignal& stop, std::ostream& out)
      : options_(options),
        stop_(stop),
        out_(out),
        writer_(options, prepared.tables, out),
        until_(prepared.until),
        budget_(options.memory_bytes),
        pool_(budget_) {}

  absl::Status Start();
  absl::Status Run();

 private:
  absl::Status ReceiveAll();
  absl::Status Handle(std::string_view copy_data);
  absl::Status HandleMessage(const XLogData& data);
  void NoteEnd(const Message& message);
  void Reached(Lsn position);
  absl::Status WriteOut();
  absl::Status Report(bool ask);
  void Wait();

  const DumpOptions& options_;
  const StopSignal& stop_;
  std::ostream& out_;
  DumpContext context_;
  DumpWriter writer_;
  const std::optional<Lsn> until_;
  MemoryBudget budget_;
  ReceivePool pool_;
  std::shared_ptr<ReceiveBlock> block_;
  std::optional<Decoder> decoder_;
  std::unique_ptr<Transport> transport_;
  Lsn heard_;  // The highest position that the server told.
  Lsn done_;   // Everything committed before it was written out.
  bool reached_ = false;
  bool reader_gone_ = false;
  bool reply_now_ = false;
  bool ended_by_server_ = false;
  absl::Time next_report_;
};

absl::Status DumpStream::Start() {
  ConnectOptions connect;
  connect.conninfo = options_.source;
  connect.application_name = kApplicationName;
  connect.replication = true;
  connect.stop = &stop_;
  WF_ASSIGN_OR_RETURN(Connection connection, Connection::Open(connect));
  ProtocolOptions protocol = NegotiateProtocol(connection.server_version(), options_.wishes);
  if (options_.proto_version) protocol.proto_version = *options_.proto_version;
  decoder_.emplace(protocol);
  std::string slot = options_.slot;
  if (slot.empty()) {
    slot = absl::StrFormat("walferry_dump_%d", connection.backend_pid());
    WF_RETURN_IF_ERROR(CreateSlot(connection, {.name = slot, .temporary = true}).status());
  }
  WF_ASSIGN_OR_RETURN(
      transport_,
      StartTransport(TransportKind::kAuto, std::move(connection),
                     absl::StrFormat("START_REPLICATION SLOT %s LOGICAL %s (%s)", QuoteIdentifier(slot),
                                     options_.from.value_or(Lsn{}).ToString(),
                                     StartReplicationOptions(protocol, options_.publications))));
  block_ = pool_.Take();
  next_report_ = absl::Now();
  return absl::OkStatus();
}

absl::Status DumpStream::Run() {
  while (!reached_ && !reader_gone_ && !stop_.requested()) {
    WF_RETURN_IF_ERROR(ReceiveAll());
    WF_RETURN_IF_ERROR(WriteOut());
    if (ended_by_server_) {
      return absl::UnavailableError("the source ended the stream: it is shutting down");
    }
    if (reached_ || reader_gone_) break;
    const absl::Time now = absl::Now();
    if (reply_now_ || now >= next_report_) WF_RETURN_IF_ERROR(Report(until_.has_value()));
    WF_RETURN_IF_ERROR(transport_->Flush());
    Wait();
  }
  writer_.Finish();
  WF_RETURN_IF_ERROR(WriteOut());
  WF_RETURN_IF_ERROR(Report(false));
  const absl::Status end = transport_->End(*block_, absl::Now() + kEndPatience);
  // The server sends the rest of a large transaction before it takes note; we have seen what we wanted.
  return absl::IsDeadlineExceeded(end) ? absl::OkStatus() : end;
}

absl::Status DumpStream::ReceiveAll() {
  while (!stop_.requested()) {
    WF_ASSIGN_OR_RETURN(const Received received, transport_->Receive(*block_));
    while (const std::optional<std::string_view> copy_data = block_->Next()) {
      WF_RETURN_IF_ERROR(Handle(*copy_data));
      if (reached_) return absl::OkStatus();
    }
    if (received == Received::kEnded) ended_by_server_ = true;
    if (received != Received::kFull) return absl::OkStatus();
    block_ = pool_.Continue(*block_);
    // Between two blocks, so that a long backlog is neither kept back here nor takes the walsender for dead.
    WF_RETURN_IF_ERROR(WriteOut());
    if (reader_gone_) return absl::OkStatus();
    if (reply_now_ || absl::Now() >= next_report_) WF_RETURN_IF_ERROR(Report(false));
  }
  return absl::OkStatus();
}

absl::Status DumpStream::Handle(std::string_view copy_data) {
  WF_ASSIGN_OR_RETURN(const Frame frame, DecodeFrame(copy_data));
  if (const auto* data = std::get_if<XLogData>(&frame)) return HandleMessage(*data);
  const auto& keepalive = std::get<Keepalive>(frame);
  heard_ = std::max(heard_, keepalive.wal_end);
  reply_now_ = reply_now_ || keepalive.reply_requested;
  if (!context_.in_transaction()) Reached(keepalive.wal_end);
  return absl::OkStatus();
}

absl::Status DumpStream::HandleMessage(const XLogData& data) {
  WF_ASSIGN_OR_RETURN(const Message message, decoder_->Decode(data.payload, data.data_start));
  heard_ = std::max(heard_, data.wal_end);
  const auto* begin = std::get_if<BeginMessage>(&message);
  if (until_ && begin != nullptr && begin->final_lsn >= *until_) {
    reached_ = true;
    return absl::OkStatus();
  }
  writer_.Write(context_.Place(data.data_start, message), data.payload.size());
  NoteEnd(message);
  return absl::OkStatus();
}

void DumpStream::NoteEnd(const Message& message) {
  if (const auto* commit = std::get_if<CommitMessage>(&message)) Reached(commit->end_lsn);
  if (const auto* commit = std::get_if<StreamCommitMessage>(&message)) Reached(commit->end_lsn);
  if (const auto* commit = std::get_if<CommitPreparedMessage>(&message)) Reached(commit->end_lsn);
  if (const auto* rollback = std::get_if<RollbackPreparedMessage>(&message))
    Reached(rollback->rollback_end_lsn);
}

void DumpStream::Reached(Lsn position) {
  done_ = std::max(done_, position);
  if (until_ && position >= *until_) reached_ = true;
}

absl::Status DumpStream::WriteOut() {
  const Flushed flushed = walferry::FlushOutput(out_);
  if (flushed == Flushed::kFailed) {
    return absl::ResourceExhaustedError("cannot write the output: is its disk full?");
  }
  reader_gone_ = flushed == Flushed::kReaderGone;
  return absl::OkStatus();
}

// Without consume only the write position is told, which the server needs to shut down and does not move the
// slot by.
absl::Status DumpStream::Report(bool ask) {
  reply_now_ = false;
  next_report_ = absl::Now() + (ask ? kAskInterval : kStatusInterval);
  StandbyStatusUpdate update{
      .write = heard_, .flush = Lsn{}, .apply = Lsn{}, .client_time = 0, .reply_requested = ask};
  if (options_.consume && !reader_gone_) update.flush = update.apply = done_;
  return transport_->SendStatus(update);
}

void DumpStream::Wait() {
  std::array<pollfd, 2> fds = {
      {{.fd = transport_->fd(),
        .events = static_cast<short>(transport_->wants_to_write() ? POLLIN | POLLOUT : POLLIN),
        .revents = 0},
       {.fd = stop_.fd(), .events = POLLIN, .revents = 0}}};
  const absl::Duration left = std::max(absl::ZeroDuration(), next_report_ - absl::Now());
  ::poll(fds.data(), fds.size(), static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
}

}  // namespace

absl::Status Dump(const DumpOptions& options, const StopSignal& stop, std::ostream& out) {
  WF_ASSIGN_OR_RETURN(const Prepared prepared, Prepare(options, stop));
  DumpStream stream(options, prepared, stop, out);
  WF_RETURN_IF_ERROR(stream.Start());
  return stream.Run();
}

}  // namespace walferry
