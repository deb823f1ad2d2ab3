// One struct per pgoutput message, with the manual's field names. All views borrow the payload given to Decode().
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
// The first byte of each message stands beside its struct; decoder/README.md has the table with versions.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "decoder/lsn.h"
#include "decoder/tuple.h"

namespace walferry {

// 'B'
struct BeginMessage {
  Lsn final_lsn;  // Start of the commit record: the "commit LSN".
  TimestampMicros commit_time = 0;
  Xid xid = 0;
};

// 'C'
struct CommitMessage {
  std::uint8_t flags = 0;
  Lsn commit_lsn;
  Lsn end_lsn;  // What is confirmed once the transaction is durable.
  TimestampMicros commit_time = 0;
};

// 'O'
struct OriginMessage {
  Lsn origin_lsn;
  std::string_view name;
};

enum class ReplicaIdentity : char { kDefault = 'd', kNothing = 'n', kFull = 'f', kIndex = 'i' };

// A forward-only view of the columns of a relation message: flags(1) name\0 type_oid(4) typmod(4).
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

// 'R'
struct RelationMessage {
  std::optional<Xid> stream_xid;  // Present between Stream Start and Stream Stop only, here and below.
  Oid relation_id = 0;
  std::string_view schema;  // "pg_catalog" is sent as "" and given as such.
  std::string_view name;
  ReplicaIdentity replica_identity = ReplicaIdentity::kDefault;
  RelationColumnsView columns;
};

// 'Y'
struct TypeMessage {
  std::optional<Xid> stream_xid;
  Oid type_oid = 0;
  std::string_view schema;
  std::string_view name;
};

// Which old tuple an UPDATE or DELETE carries: the replica identity's columns only, or the whole row.
enum class OldTuple : char { kNone = 0, kKey = 'K', kFull = 'O' };

// 'I'
struct InsertMessage {
  std::optional<Xid> stream_xid;
  Oid relation_id = 0;
  TupleView new_tuple;
};

// 'U'
struct UpdateMessage {
  std::optional<Xid> stream_xid;
  Oid relation_id = 0;
  OldTuple old_kind = OldTuple::kNone;
  TupleView old_tuple;
  TupleView new_tuple;
};

// 'D'
struct DeleteMessage {
  std::optional<Xid> stream_xid;
  Oid relation_id = 0;
  OldTuple old_kind = OldTuple::kKey;
  TupleView old_tuple;
};

// Big-endian Int32s in place.
class OidListView {
 public:
  OidListView() = default;
  OidListView(std::string_view bytes) : bytes_(bytes) {}
  std::size_t size() const { return bytes_.size() / 4; }
  Oid operator[](std::size_t i) const;

 private:
  std::string_view bytes_;
};

// 'T'
struct TruncateMessage {
  std::optional<Xid> stream_xid;
  bool cascade = false;
  bool restart_identity = false;
  OidListView relation_ids;
};

// 'M'
struct LogicalMessage {
  std::optional<Xid> stream_xid;
  bool transactional = false;
  Lsn lsn;
  std::string_view prefix;
  std::string_view content;
};

// 'S'
struct StreamStartMessage {
  Xid xid = 0;
  bool first_segment = false;
};

// 'E'
struct StreamStopMessage {};

// 'c'
struct StreamCommitMessage {
  Xid xid = 0;
  std::uint8_t flags = 0;
  Lsn commit_lsn;
  Lsn end_lsn;
  TimestampMicros commit_time = 0;
};

// 'A'
struct StreamAbortMessage {
  Xid xid = 0;
  Xid subxid = 0;
  Lsn abort_lsn;                   // Only with streaming = parallel, else zero.
  TimestampMicros abort_time = 0;  // The same.
};

// 'b' Begin Prepare, 'P' Prepare and 'p' Stream Prepare.
struct PrepareFields {
  std::uint8_t flags = 0;  // Absent in Begin Prepare.
  Lsn prepare_lsn;
  Lsn end_lsn;
  TimestampMicros prepare_time = 0;
  Xid xid = 0;
  std::string_view gid;
};
struct BeginPrepareMessage : PrepareFields {};
struct PrepareMessage : PrepareFields {};
struct StreamPrepareMessage : PrepareFields {};

// 'K'
struct CommitPreparedMessage {
  std::uint8_t flags = 0;
  Lsn commit_lsn;
  Lsn end_lsn;
  TimestampMicros commit_time = 0;
  Xid xid = 0;
  std::string_view gid;
};

// 'r'
struct RollbackPreparedMessage {
  std::uint8_t flags = 0;
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
                 StreamStopMessage, StreamCommitMessage, StreamAbortMessage, BeginPrepareMessage, PrepareMessage,
                 CommitPreparedMessage, RollbackPreparedMessage, StreamPrepareMessage>;

}  // namespace walferry
