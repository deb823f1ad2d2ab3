// Tested by tests/stream/assembler_test.cc
#include "stream/assembler.h"

#include <type_traits>
#include <utility>
#include <variant>

namespace walferry {
namespace {

// The index over the bytes is a part of what waits for the sink, so it counts in the budget as long as its
// segment.
class IndexCharge final : public Bytes {
 public:
  IndexCharge(MemoryBudget& budget, std::size_t bytes) : budget_(budget), bytes_(bytes) {
    budget_.Take(bytes_);
  }
  ~IndexCharge() override { budget_.Return(bytes_); }
  IndexCharge(const IndexCharge&) = delete;
  IndexCharge& operator=(const IndexCharge&) = delete;

 private:
  MemoryBudget& budget_;
  const std::size_t bytes_;
};

absl::Status OutOfOrder(MessageType type, Lsn lsn, std::string_view what) {
  return Errorf(absl::StatusCode::kDataLoss, "Message '%c' (%s) at %s %s", static_cast<char>(type),
                NameOf(type), lsn.ToString(), what);
}

// What is spooled: everything that carries the xid of its subtransaction. A Type message says nothing that is
// used.
template <typename T>
concept Kept = requires(T message) {
  message.stream_xid;
}
&&!std::is_same_v<T, TypeMessage>;

}  // namespace

Assembler::Assembler(const ProtocolOptions& options, Lsn start, std::shared_ptr<DescribedRelations> relations,
                     SpoolRoom& room, SessionObserver observe)
    : start_(start),
      relations_(std::move(relations)),
      room_(room),
      observe_(std::move(observe)),
      decoder_(options),
      replay_decoder_(options) {
  replay_decoder_.set_in_stream(true);
}

absl::Status Assembler::Take(const XLogData& data, const std::shared_ptr<const Bytes>& bytes) {
  WF_ASSIGN_OR_RETURN(const Message message, decoder_.Decode(data.payload, data.data_start));
  ++counts_.messages;
  if (state_ == State::kBlock) return Keep(message, data);
  const Source source{.lsn = data.data_start, .payload = data.payload, .bytes = &bytes};
  return std::visit([&](const auto& typed) { return On(typed, source); }, message);
}

absl::Status Assembler::Keep(const Message& message, const XLogData& data) {
  return std::visit(
      [&]<typename T>(const T& typed) -> absl::Status {
        if constexpr (Kept<T>) {
          std::uint64_t arrival = 0;
          if constexpr (std::is_same_v<T, RelationMessage>) arrival = relations_->cache.NextArrival();
          counts_.spooled_bytes += data.payload.size();
          return in_progress_.at(xid_)->Append(
              typed.stream_xid.value_or(xid_),
              {.lsn = data.data_start, .arrival = arrival, .payload = data.payload});
        } else {
          return On(typed, Source{.lsn = data.data_start});
        }
      },
      message);
}

void Assembler::Begin(Lsn commit_lsn, TimestampMicros commit_time, Xid xid) {
  xid_ = xid;
  commit_lsn_ = commit_lsn;
  skipping_ = commit_lsn < start_;
  if (skipping_) return;
  segment_.events.push_back(
      {.kind = EventKind::kBegin, .xid = xid, .lsn = commit_lsn, .commit_time = commit_time});
}

void Assembler::Commit(Lsn end_lsn, TimestampMicros commit_time) {
  if (skipping_) {
    ++counts_.skipped_transactions;
    return;
  }
  segment_.events.push_back(
      {.kind = EventKind::kCommit, .xid = xid_, .lsn = end_lsn, .commit_time = commit_time});
  ++counts_.transactions;
  counts_.last_commit_time = commit_time;
}

absl::Status Assembler::On(const BeginMessage& message, const Source& source) {
  if (state_ != State::kBetween) return OutOfOrder(message.kType, source.lsn, "stands inside a transaction");
  state_ = State::kTransaction;
  Begin(message.final_lsn, message.commit_time, message.xid);
  return absl::OkStatus();
}

absl::Status Assembler::On(const CommitMessage& message, const Source& source) {
  if (state_ != State::kTransaction)
    return OutOfOrder(message.kType, source.lsn, "stands outside a transaction");
  if (message.commit_lsn != commit_lsn_) {
    return OutOfOrder(message.kType, source.lsn, "does not commit the transaction that is open");
  }
  state_ = State::kBetween;
  Commit(message.end_lsn, message.commit_time);
  return absl::OkStatus();
}

absl::Status Assembler::On(const RelationMessage& message, const Source& source) {
  RelationCache& cache = relations_->cache;
  const Relation* before = nullptr;
  const Relation* after = nullptr;
  if (source.replayed) {
    before = cache.FindStreamed(*source.replayed, message.relation_id);
    after = cache.PutStreamed(*source.replayed, message, source.arrival);
  } else {
    before = cache.Find(message.relation_id);
    after = cache.Put(message, cache.NextArrival());
  }
  if (before != nullptr && before != after) {
    observe_(
        {SessionEvent::Kind::kRelationChanged, absl::StrFormat("Table %s changed on the source (before: %s)",
                                                               after->FullName(), before->FullName())});
  }
  return absl::OkStatus();
}

absl::Status Assembler::ExpectTransaction(const Source& source) const {
  if (state_ == State::kTransaction || source.replayed) return absl::OkStatus();
  return OutOfOrder(source.type(), source.lsn, "stands outside a transaction");
}

absl::StatusOr<const Relation*> Assembler::RelationOf(Oid relation_id, const Source& source) const {
  WF_RETURN_IF_ERROR(ExpectTransaction(source));
  const Relation* relation = source.replayed ? relations_->cache.FindStreamed(*source.replayed, relation_id)
                                             : relations_->cache.Find(relation_id);
  if (relation != nullptr) return relation;
  return OutOfOrder(source.type(), source.lsn,
                    absl::StrFormat("changes relation %u, which was never described", relation_id));
}

Event& Assembler::AddChange(EventKind kind, const Relation* relation, const Source& source) {
  if (segment_.bytes.empty() || segment_.bytes.back() != *source.bytes)
    segment_.bytes.push_back(*source.bytes);
  segment_.payload_bytes += source.payload.size();
  ++counts_.changes;
  return segment_.events.emplace_back(
      Event{.kind = kind, .xid = xid_, .lsn = source.lsn, .relation = relation});
}

absl::Status Assembler::On(const InsertMessage& message, const Source& source) {
  WF_ASSIGN_OR_RETURN(const Relation* relation, RelationOf(message.relation_id, source));
  if (skipping_) return absl::OkStatus();
  AddChange(EventKind::kInsert, relation, source).new_tuple = message.new_tuple;
  return absl::OkStatus();
}

absl::Status Assembler::On(const UpdateMessage& message, const Source& source) {
  WF_ASSIGN_OR_RETURN(const Relation* relation, RelationOf(message.relation_id, source));
  if (skipping_) return absl::OkStatus();
  Event& event = AddChange(EventKind::kUpdate, relation, source);
  event.old_kind = message.old_kind;
  event.old_tuple = message.old_tuple;
  event.new_tuple = message.new_tuple;
  return absl::OkStatus();
}

absl::Status Assembler::On(const DeleteMessage& message, const Source& source) {
  WF_ASSIGN_OR_RETURN(const Relation* relation, RelationOf(message.relation_id, source));
  if (skipping_) return absl::OkStatus();
  Event& event = AddChange(EventKind::kDelete, relation, source);
  event.old_kind = message.old_kind;
  event.old_tuple = message.old_tuple;
  return absl::OkStatus();
}

absl::Status Assembler::On(const TruncateMessage& message, const Source& source) {
  WF_RETURN_IF_ERROR(ExpectTransaction(source));
  const std::size_t first = segment_.truncated.size();
  for (std::size_t i = 0; i < message.relation_ids.size(); ++i) {
    WF_ASSIGN_OR_RETURN(const Relation* relation, RelationOf(message.relation_ids[i], source));
    if (!skipping_) segment_.truncated.push_back(relation);
  }
  if (skipping_) return absl::OkStatus();
  Event& event = AddChange(EventKind::kTruncate, nullptr, source);
  event.cascade = message.cascade;
  event.restart_identity = message.restart_identity;
  event.truncate_first = static_cast<std::uint32_t>(first);
  event.truncate_count = static_cast<std::uint32_t>(segment_.truncated.size() - first);
  return absl::OkStatus();
}

absl::Status Assembler::On(const LogicalMessage& message, const Source&) {
  observe_({SessionEvent::Kind::kLogicalMessage,
            absl::StrFormat("Logical message '%s' of %d bytes at %s", message.prefix, message.content.size(),
                            message.lsn.ToString())});
  return absl::OkStatus();
}

absl::Status Assembler::On(const StreamStartMessage& message, const Source& source) {
  if (state_ != State::kBetween) return OutOfOrder(message.kType, source.lsn, "stands inside a transaction");
  const bool known = in_progress_.contains(message.xid);
  if (message.first_segment == known) {
    return OutOfOrder(
        message.kType, source.lsn,
        known ? "begins a transaction that is in progress" : "continues a transaction that never began");
  }
  if (!known) in_progress_[message.xid] = std::make_unique<Spool>(room_);
  state_ = State::kBlock;
  xid_ = message.xid;
  return absl::OkStatus();
}

absl::Status Assembler::On(const StreamStopMessage& message, const Source& source) {
  if (state_ != State::kBlock) return OutOfOrder(message.kType, source.lsn, "stands outside a block");
  state_ = State::kBetween;
  return absl::OkStatus();
}

absl::Status Assembler::On(const StreamCommitMessage& message, const Source& source) {
  if (state_ != State::kBetween) return OutOfOrder(message.kType, source.lsn, "stands inside a transaction");
  auto kept = in_progress_.extract(message.xid);
  if (kept.empty()) return OutOfOrder(message.kType, source.lsn, "commits a transaction that never began");
  replay_.emplace(Replay{.commit = message, .spool = std::move(kept.mapped())});
  return absl::OkStatus();
}

absl::Status Assembler::On(const StreamAbortMessage& message, const Source& source) {
  if (state_ != State::kBetween) return OutOfOrder(message.kType, source.lsn, "stands inside a transaction");
  const auto kept = in_progress_.find(message.xid);
  if (kept == in_progress_.end()) return absl::OkStatus();
  if (message.subxid != message.xid) return kept->second->CutAt(message.subxid);
  in_progress_.erase(kept);
  return absl::OkStatus();
}

template <typename PreparedMessage>
absl::Status Assembler::Prepared(const PreparedMessage& message) {
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "The source sent a prepared transaction ('%s'): the slot was created with two_phase. Drop the slot and "
      "let the migration begin again with a slot without two_phase",
      message.gid);
}

absl::Status Assembler::ReplayChunk() {
  Replay& replay = *replay_;
  if (!replay.begun) {
    Begin(replay.commit.commit_lsn, replay.commit.commit_time, replay.commit.xid);
    replay.begun = true;
  }
  WF_ASSIGN_OR_RETURN(const std::shared_ptr<const SpoolChunk> chunk, replay.spool->TakeChunk());
  if (chunk == nullptr) return FinishReplay();
  const std::shared_ptr<const Bytes> bytes = chunk;
  std::size_t offset = 0;
  while (const std::optional<SpoolRecord> record = chunk->Next(offset)) {
    WF_ASSIGN_OR_RETURN(const Message message, replay_decoder_.Decode(record->payload, record->lsn));
    const Source source{.lsn = record->lsn,
                        .arrival = record->arrival,
                        .payload = record->payload,
                        .bytes = &bytes,
                        .replayed = replay.commit.xid};
    WF_RETURN_IF_ERROR(std::visit([&](const auto& typed) { return On(typed, source); }, message));
  }
  return absl::OkStatus();
}

absl::Status Assembler::FinishReplay() {
  // What was described inside holds for everybody from here on, also where the transaction was skipped: the
  // server does not describe it again.
  relations_->cache.CommitStreamed(replay_->commit.xid);
  if (!skipping_) ++counts_.streamed_transactions;
  Commit(replay_->commit.end_lsn, replay_->commit.commit_time);
  replay_.reset();
  return absl::OkStatus();
}

Segment Assembler::TakeSegment() {
  Segment taken = std::exchange(segment_, Segment());
  segment_.events.reserve(taken.events.size());  // Under load the next one is of the same kind.
  taken.bytes.push_back(relations_);
  const std::size_t index_bytes =
      taken.events.capacity() * sizeof(Event) + taken.truncated.capacity() * sizeof(const Relation*);
  taken.bytes.push_back(std::make_shared<IndexCharge>(room_.budget, index_bytes));
  return taken;
}

}  // namespace walferry
