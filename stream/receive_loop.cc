// Tested by tests/stream/session_test.cc
#include "stream/receive_loop.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "absl/time/clock.h"
#include "decoder/frame.h"

namespace walferry {
namespace {

constexpr absl::Duration kUntilInterval = absl::Milliseconds(500);
// For the target to make durable what is applied, when the stream ends.
constexpr absl::Duration kConfirmationPatience = absl::Seconds(10);
constexpr absl::Duration kEndPatience = absl::Seconds(5);

void PollUntil(std::span<pollfd> descriptors, absl::Time deadline) {
  const timespec timeout = absl::ToTimespec(std::max(deadline - absl::Now(), absl::ZeroDuration()));
  ppoll(descriptors.data(), descriptors.size(), &timeout, nullptr);
}

template <typename T>
void AddDifference(std::atomic<T>& counter, std::uint64_t now, std::uint64_t before) {
  counter.fetch_add(now - before, std::memory_order_relaxed);
}

}  // namespace

ReceiveLoop::ReceiveLoop(LoopParts parts, absl::Duration status_interval, Pacing pacing)
    : parts_(parts), feedback_(status_interval, absl::Now()), pacing_(pacing), block_(parts.pool.Take()) {}

absl::StatusOr<StreamEnd> ReceiveLoop::Run() {
  while (true) {
    WF_RETURN_IF_ERROR(Report());
    if (!parts_.sink.status().ok()) return EndStream(StreamEnd::kSinkFailed);
    if (parts_.stop.requested()) return EndStream(StreamEnd::kStopped);
    if (parts_.sink.wants_restart()) return EndStream(StreamEnd::kSinkRestarts);
    if (ReachedUntil()) return EndStream(StreamEnd::kReached);
    WF_ASSIGN_OR_RETURN(const bool advanced, Advance());
    if (ended_by_server_ && !parts_.assembler.replaying()) return StreamEnd::kServerEnded;
    if (!advanced) Wait();
  }
}

bool ReceiveLoop::HasRoom() const {
  return parts_.budget.used_bytes() < parts_.budget.limit_bytes() + block_->capacity_bytes();
}

absl::StatusOr<bool> ReceiveLoop::Advance() {
  if (!HasRoom()) return false;
  if (parts_.assembler.replaying()) {
    WF_RETURN_IF_ERROR(parts_.assembler.ReplayChunk());
    Push();
    return true;
  }
  // A replay may have begun in the middle of the block.
  WF_RETURN_IF_ERROR(ProcessBlock().status());
  if (parts_.assembler.replaying()) return true;
  if (absl::Now() < read_again_) return false;

  WF_ASSIGN_OR_RETURN(const Received received, parts_.transport.Receive(*block_));
  WF_ASSIGN_OR_RETURN(const std::size_t bytes, ProcessBlock());
  if (bytes > 0) {
    last_heard_ = absl::Now();
    gathered_bytes_ += bytes;
    parts_.counters.reads.fetch_add(1, std::memory_order_relaxed);
    if (received == Received::kDrained) {
      read_again_ = pacing_.Drained(*last_heard_, std::exchange(gathered_bytes_, 0));
    }
  }
  if (received == Received::kEnded) ended_by_server_ = true;
  if (parts_.assembler.replaying()) return true;
  if (block_->full()) block_ = parts_.pool.Continue(*block_);
  return received != Received::kDrained;
}

absl::StatusOr<std::size_t> ReceiveLoop::ProcessBlock() {
  std::size_t bytes = 0;
  while (!parts_.assembler.replaying()) {
    const std::optional<std::string_view> copy_data = block_->Next();
    if (!copy_data) break;
    bytes += copy_data->size();
    WF_RETURN_IF_ERROR(Handle(*copy_data));
  }
  if (bytes > 0) {
    parts_.counters.bytes.fetch_add(bytes, std::memory_order_relaxed);
    Push();
  }
  return bytes;
}

absl::Status ReceiveLoop::Handle(std::string_view copy_data) {
  WF_ASSIGN_OR_RETURN(const Frame frame, DecodeFrame(copy_data));
  if (const auto* keepalive = std::get_if<Keepalive>(&frame)) {
    Handle(*keepalive);
    return absl::OkStatus();
  }
  const auto& data = std::get<XLogData>(frame);
  Heard(std::max(data.data_start, data.wal_end));
  return parts_.assembler.Take(data, block_);
}

void ReceiveLoop::Handle(const Keepalive& keepalive) {
  Heard(keepalive.wal_end);
  if (parts_.assembler.between_transactions()) {
    Push();
    parts_.sink.Idle(keepalive.wal_end);
  }
  // Somebody waits for it: a server that shuts down asks until all that it sent is confirmed, a user for
  // `until`.
  if (keepalive.reply_requested || (until_ && keepalive.wal_end >= *until_)) parts_.sink.HurryConfirmation();
  if (keepalive.reply_requested) feedback_.ReplyRequested();
}

void ReceiveLoop::Heard(Lsn position) {
  if (position <= feedback_.received()) return;
  feedback_.Received(position);
  parts_.counters.received_lsn.store(position.value, std::memory_order_relaxed);
  parts_.counters.wal_end_lsn.store(position.value, std::memory_order_relaxed);
}

void ReceiveLoop::Push() {
  CountMessages();
  if (!parts_.assembler.segment().empty()) parts_.sink.Push(parts_.assembler.TakeSegment());
}

void ReceiveLoop::CountMessages() {
  const AssemblerCounts now = parts_.assembler.counts();
  SessionCounters& counters = parts_.counters;
  AddDifference(counters.messages, now.messages, counted_.messages);
  AddDifference(counters.transactions, now.transactions, counted_.transactions);
  AddDifference(counters.skipped_transactions, now.skipped_transactions, counted_.skipped_transactions);
  AddDifference(counters.streamed_transactions, now.streamed_transactions, counted_.streamed_transactions);
  AddDifference(counters.changes, now.changes, counted_.changes);
  AddDifference(counters.spooled_bytes, now.spooled_bytes, counted_.spooled_bytes);
  if (now.last_commit_time != 0) {
    counters.last_commit_time.store(now.last_commit_time, std::memory_order_relaxed);
  }
  counted_ = now;
}

absl::Status ReceiveLoop::Report() {
  feedback_.Progressed(parts_.sink.progress());
  if (absl::Now() >= feedback_.Due()) return Send();
  if (parts_.transport.wants_to_write()) return parts_.transport.Flush();
  return absl::OkStatus();
}

absl::Status ReceiveLoop::Send() {
  const StandbyStatusUpdate update = feedback_.Next(absl::Now());
  WF_RETURN_IF_ERROR(parts_.transport.SendStatus(update));
  parts_.counters.confirmed_lsn.store(update.flush.value, std::memory_order_relaxed);
  return absl::OkStatus();
}

bool ReceiveLoop::ReachedUntil() {
  if (!parts_.until) return false;
  const SinkProgress progress = parts_.sink.progress();
  const absl::Time now = absl::Now();
  const bool moved =
      progress.confirmed != until_asked_at_.confirmed || progress.applied != until_asked_at_.applied;
  if (moved || now - until_asked_ >= kUntilInterval) {
    until_ = parts_.until();
    until_asked_ = now;
    until_asked_at_ = progress;
  }
  const bool reached = until_ && progress.confirmed >= *until_;
  feedback_.SetProbing(until_ && !reached);
  return reached;
}

void ReceiveLoop::Wait() {
  bool has_room = HasRoom();
  if (!has_room) {
    parts_.budget.Drain();
    has_room = HasRoom();
  }
  const absl::Time now = absl::Now();
  const bool napping = has_room && now < read_again_;
  absl::Time deadline = feedback_.Due();
  if (parts_.until) deadline = std::min(deadline, until_asked_ + kUntilInterval);
  if (napping) deadline = std::min(deadline, read_again_);

  short socket_events = has_room && !napping ? POLLIN : 0;
  if (parts_.transport.wants_to_write()) socket_events |= POLLOUT;
  std::array<pollfd, 4> descriptors = {{
      {.fd = socket_events == 0 ? -1 : parts_.transport.fd(), .events = socket_events, .revents = 0},
      {.fd = parts_.stop.fd(), .events = POLLIN, .revents = 0},
      {.fd = parts_.sink.fd(), .events = POLLIN, .revents = 0},
      {.fd = has_room ? -1 : parts_.budget.fd(), .events = POLLIN, .revents = 0},
  }};
  PollUntil(descriptors, deadline);
  if (descriptors[2].revents != 0) parts_.sink.DrainWakeups();
}

// The source is told what is durable, and the slot is free afterwards. Where that fails, nothing is lost: the
// next start begins where the target is.
StreamEnd ReceiveLoop::EndStream(StreamEnd why) {
  if (why == StreamEnd::kStopped) AwaitConfirmation(absl::Now() + kConfirmationPatience);
  feedback_.Progressed(parts_.sink.progress());
  if (Send().ok()) parts_.transport.End(*block_, absl::Now() + kEndPatience).IgnoreError();
  return why;
}

void ReceiveLoop::AwaitConfirmation(absl::Time deadline) {
  const Lsn applied = parts_.sink.progress().applied;
  parts_.sink.HurryConfirmation();
  while (parts_.sink.progress().confirmed < applied && parts_.sink.status().ok() && absl::Now() < deadline) {
    if (!Report().ok()) return;
    pollfd sink{.fd = parts_.sink.fd(), .events = POLLIN, .revents = 0};
    PollUntil(std::span(&sink, 1), std::min(deadline, feedback_.Due()));
    if (sink.revents != 0) parts_.sink.DrainWakeups();
  }
}

}  // namespace walferry
