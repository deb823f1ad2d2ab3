// Messages to segments of whole-order transactions.
//
//   B change… C                plain transactions pass straight through
//   S(x) change… E  …  c(x)    transactions in progress are kept in a spool and replayed at their Stream
//   Commit S(x) change… E  …  A(x,y)  … or cut where the subtransaction y began, or dropped when y = x
//
// The blocks S…E of several transactions and plain transactions may follow one another in any order, but none
// opens inside another (reference: "Logical Streaming Replication Protocol" in the manual, pgoutput.c,
// worker.c). Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "decoder/decode.h"
#include "decoder/frame.h"
#include "decoder/relation.h"
#include "stream/segment.h"
#include "stream/session_event.h"
#include "stream/spool.h"

namespace walferry {

// The descriptions that events point to. Each segment holds them, so they live as long as any event does.
class DescribedRelations final : public Bytes {
 public:
  RelationCache cache;
};

// Since the assembler was made.
struct AssemblerCounts {
  std::uint64_t messages = 0;
  std::uint64_t transactions = 0;
  std::uint64_t streamed_transactions = 0;  // Of `transactions`, those that arrived in progress.
  std::uint64_t skipped_transactions = 0;   // Committed before the start position.
  std::uint64_t changes = 0;
  std::uint64_t spooled_bytes = 0;  // Payloads put into spools.
  TimestampMicros last_commit_time = 0;
};

// For one connection: what is unfinished is forgotten with the assembler, for the server sends it again.
class Assembler {
 public:
  // start: transactions whose commit LSN is below it are dropped. room must outlive the assembler.
  Assembler(const ProtocolOptions& options, Lsn start, std::shared_ptr<DescribedRelations> relations,
            SpoolRoom& room, SessionObserver observe);

  // The next message, and what its payload lies in. Not while replaying(). Errors (malformed bytes, a
  // sequence that cannot be, a relation never described, a full disk) end the stream.
  absl::Status Take(const XLogData& data, const std::shared_ptr<const Bytes>& bytes);

  // A Stream Commit was taken: ReplayChunk() has to be called until this is false again. Each call makes at
  // most one chunk's events, so that a transaction of any size passes through a bounded memory.
  bool replaying() const { return replay_.has_value(); }
  absl::Status ReplayChunk();

  // Nothing of a transaction that committed on the source is still to come: keepalive positions may be
  // confirmed. Transactions in progress do not count, for they commit later and are sent again as a whole
  // after a restart.
  bool between_transactions() const { return state_ == State::kBetween && !replaying(); }

  const Segment& segment() const { return segment_; }
  // The events since the last call.
  Segment TakeSegment();

  const AssemblerCounts& counts() const { return counts_; }

 private:
  enum class State { kBetween, kTransaction, kBlock };
  struct Replay {
    StreamCommitMessage commit;
    std::unique_ptr<Spool> spool;
    bool begun = false;
  };
  // Where the message being taken or replayed came from.
  struct Source {
    Lsn lsn = {};
    std::uint64_t arrival = 0;
    std::string_view payload = {};
    const std::shared_ptr<const Bytes>* bytes = nullptr;
    std::optional<Xid> replayed = {};  // The transaction of which it is a part, in a replay.
    MessageType type() const { return static_cast<MessageType>(payload.front()); }
  };

  // One per kind of message, outside of blocks or replayed.
  absl::Status On(const BeginMessage& message, const Source& source);
  absl::Status On(const CommitMessage& message, const Source& source);
  absl::Status On(const OriginMessage&, const Source&) { return absl::OkStatus(); }
  absl::Status On(const TypeMessage&, const Source&) { return absl::OkStatus(); }
  absl::Status On(const RelationMessage& message, const Source& source);
  absl::Status On(const InsertMessage& message, const Source& source);
  absl::Status On(const UpdateMessage& message, const Source& source);
  absl::Status On(const DeleteMessage& message, const Source& source);
  absl::Status On(const TruncateMessage& message, const Source& source);
  absl::Status On(const LogicalMessage& message, const Source& source);
  absl::Status On(const StreamStartMessage& message, const Source& source);
  absl::Status On(const StreamStopMessage& message, const Source& source);
  absl::Status On(const StreamCommitMessage& message, const Source& source);
  absl::Status On(const StreamAbortMessage& message, const Source& source);
  absl::Status On(const BeginPrepareMessage& message, const Source&) { return Prepared(message); }
  absl::Status On(const PrepareMessage& message, const Source&) { return Prepared(message); }
  absl::Status On(const StreamPrepareMessage& message, const Source&) { return Prepared(message); }
  absl::Status On(const CommitPreparedMessage& message, const Source&) { return Prepared(message); }
  absl::Status On(const RollbackPreparedMessage& message, const Source&) { return Prepared(message); }

  template <typename PreparedMessage>
  absl::Status Prepared(const PreparedMessage& message);

  absl::Status Keep(const Message& message, const XLogData& data);
  void Begin(Lsn commit_lsn, TimestampMicros commit_time, Xid xid);
  void Commit(Lsn end_lsn, TimestampMicros commit_time);
  absl::Status ExpectTransaction(const Source& source) const;
  // The relation of a change inside a transaction.
  absl::StatusOr<const Relation*> RelationOf(Oid relation_id, const Source& source) const;
  Event& AddChange(EventKind kind, const Relation* relation, const Source& source);
  absl::Status FinishReplay();

  const Lsn start_;
  const std::shared_ptr<DescribedRelations> relations_;
  SpoolRoom& room_;
  const SessionObserver observe_;

  Decoder decoder_;
  Decoder replay_decoder_;
  State state_ = State::kBetween;
  Xid xid_ = 0;     // Of the transaction or block that is open, or replayed.
  Lsn commit_lsn_;  // As Begin announced it.
  bool skipping_ = false;
  std::map<Xid, std::unique_ptr<Spool>> in_progress_;
  std::optional<Replay> replay_;
  Segment segment_;
  AssemblerCounts counts_;
};

}  // namespace walferry
