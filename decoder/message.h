// One struct per pgoutput message, with the manual's field names. All views borrow the payload given to
// Decode() (or a literal). Flag bytes that the manual calls unused are checked to be zero and not kept.
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
// decoder/README.md has the table of layouts and versions.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "decoder/lsn.h"
#include "decoder/tuple.h"

namespace walferry {

// The first byte of each message. 'K' and 'b' are also tags inside of tuples.
enum class MessageType : char {
  kBegin = 'B',
  kCommit = 'C',
  kOrigin = 'O',
  kRelation = 'R',
  kType = 'Y',
  kInsert = 'I',
  kUpdate = 'U',
  kDelete = 'D',
  kTruncate = 'T',
  kMessage = 'M',
  kStreamStart = 'S',
  kStreamStop = 'E',
  kStreamCommit = 'c',
  kStreamAbort = 'A',
  kBeginPrepare = 'b',
  kPrepare = 'P',
  kCommitPrepared = 'K',
  kRollbackPrepared = 'r',
  kStreamPrepare = 'p',
};

// "insert", "stream_start", …; "unknown" for a byte that is no message type.
std::string_view NameOf(MessageType type);

struct BeginMessage {
  static constexpr MessageType kType = MessageType::kBegin;
  Lsn final_lsn;  // Start of the commit record: the "commit LSN".
  TimestampMicros commit_time = 0;
  Xid xid = 0;
};

struct CommitMessage {
  static constexpr MessageType kType = MessageType::kCommit;
  Lsn commit_lsn;
  Lsn end_lsn;  // What is confirmed once the transaction is durable.
  TimestampMicros commit_time = 0;
};

struct OriginMessage {
  static constexpr MessageType kType = MessageType::kOrigin;
  Lsn origin_lsn;
  std::string_view name;
};

enum class ReplicaIdentity : char { kDefault = 'd', kNothing = 'n', kFull = 'f', kIndex = 'i' };

// A forward-only view of the columns of a relation message: Int8 flags, String name, Int32 type, Int32
// typmod. Decoding has checked them, so walking them cannot fail.
struct RelationColumnView {
  bool is_key = false;
  std::string_view name;
  Oid type_oid = 0;
  std::int32_t typmod = -1;
};
class RelationColumnsView {
 public:
  RelationColumnsView() = default;
  RelationColumnsView(std::string_view bytes, std::uint16_t count) : bytes_(bytes), count_(count) {}
  std::uint16_t size() const { return count_; }
  // Calls `visit(RelationColumnView)` for each column, in order.
  template <typename Visit>
  void ForEach(Visit visit) const {
    std::string_view rest = bytes_;
    for (std::uint16_t i = 0; i < count_; ++i) visit(Next(rest));
  }

 private:
  static RelationColumnView Next(std::string_view& rest);
  std::string_view bytes_;
  std::uint16_t count_ = 0;
};

struct RelationMessage {
  static constexpr MessageType kType = MessageType::kRelation;
  std::optional<Xid> stream_xid;  // Present between Stream Start and Stream Stop only, here and below.
  Oid relation_id = 0;
  std::string_view schema;  // "pg_catalog" is sent as "" and given in full, here and below.
  std::string_view name;
  ReplicaIdentity replica_identity = ReplicaIdentity::kDefault;
  RelationColumnsView columns;
};

struct TypeMessage {
  static constexpr MessageType kType = MessageType::kType;
  std::optional<Xid> stream_xid;
  Oid type_oid = 0;
  std::string_view schema;
  std::string_view name;
};

// Which old tuple an UPDATE or DELETE carries: the replica identity's columns only, or the whole row.
enum class OldTuple : char { kNone = 0, kKey = 'K', kFull = 'O' };

struct InsertMessage {
  static constexpr MessageType kType = MessageType::kInsert;
  std::optional<Xid> stream_xid;
  Oid relation_id = 0;
  TupleView new_tuple;
};

struct UpdateMessage {
  static constexpr MessageType kType = MessageType::kUpdate;
  std::optional<Xid> stream_xid;
  Oid relation_id = 0;
  OldTuple old_kind = OldTuple::kNone;
  TupleView old_tuple;
  TupleView new_tuple;
};

struct DeleteMessage {
  static constexpr MessageType kType = MessageType::kDelete;
  std::optional<Xid> stream_xid;
  Oid relation_id = 0;
  OldTuple old_kind = OldTuple::kKey;
  TupleView old_tuple;
};

// Big-endian Int32s in place.
class OidListView {
 public:
  OidListView() = default;
  explicit OidListView(std::string_view bytes) : bytes_(bytes) {}
  std::size_t size() const { return bytes_.size() / 4; }
  // i < size()
  Oid operator[](std::size_t i) const;

 private:
  std::string_view bytes_;
};

struct TruncateMessage {
  static constexpr MessageType kType = MessageType::kTruncate;
  std::optional<Xid> stream_xid;
  bool cascade = false;
  bool restart_identity = false;
  OidListView relation_ids;
};

struct LogicalMessage {
  static constexpr MessageType kType = MessageType::kMessage;
  std::optional<Xid> stream_xid;
  bool transactional = false;
  Lsn lsn;
  std::string_view prefix;
  std::string_view content;
};

struct StreamStartMessage {
  static constexpr MessageType kType = MessageType::kStreamStart;
  Xid xid = 0;
  bool first_segment = false;
};

struct StreamStopMessage {
  static constexpr MessageType kType = MessageType::kStreamStop;
};

struct StreamCommitMessage {
  static constexpr MessageType kType = MessageType::kStreamCommit;
  Xid xid = 0;
  Lsn commit_lsn;
  Lsn end_lsn;
  TimestampMicros commit_time = 0;
};

struct StreamAbortMessage {
  static constexpr MessageType kType = MessageType::kStreamAbort;
  Xid xid = 0;
  Xid subxid = 0;
  Lsn abort_lsn;                   // Only with streaming = parallel, else zero.
  TimestampMicros abort_time = 0;  // The same.
};

// What Begin Prepare, Prepare and Stream Prepare have in common.
struct PrepareFields {
  Lsn prepare_lsn;
  Lsn end_lsn;
  TimestampMicros prepare_time = 0;
  Xid xid = 0;
  std::string_view gid;
};
struct BeginPrepareMessage : PrepareFields {
  static constexpr MessageType kType = MessageType::kBeginPrepare;
};
struct PrepareMessage : PrepareFields {
  static constexpr MessageType kType = MessageType::kPrepare;
};
struct StreamPrepareMessage : PrepareFields {
  static constexpr MessageType kType = MessageType::kStreamPrepare;
};

struct CommitPreparedMessage {
  static constexpr MessageType kType = MessageType::kCommitPrepared;
  Lsn commit_lsn;
  Lsn end_lsn;
  TimestampMicros commit_time = 0;
  Xid xid = 0;
  std::string_view gid;
};

struct RollbackPreparedMessage {
  static constexpr MessageType kType = MessageType::kRollbackPrepared;
  Lsn prepare_end_lsn;
  Lsn rollback_end_lsn;
  TimestampMicros prepare_time = 0;
  TimestampMicros rollback_time = 0;
  Xid xid = 0;
  std::string_view gid;
};

using Message =
    std::variant<BeginMessage, CommitMessage, OriginMessage, RelationMessage, TypeMessage, InsertMessage,
                 UpdateMessage, DeleteMessage, TruncateMessage, LogicalMessage, StreamStartMessage,
                 StreamStopMessage, StreamCommitMessage, StreamAbortMessage, BeginPrepareMessage,
                 PrepareMessage, CommitPreparedMessage, RollbackPreparedMessage, StreamPrepareMessage>;

}  // namespace walferry
