// What a walsender writes, for tests: the inverse of decoder/decode.h and decoder/frame.h, after
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html. It checks nothing, so
// that tests can write wrong things too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "decoder/lsn.h"
#include "decoder/message.h"
#include "decoder/protocol.h"
#include "decoder/tuple.h"
#include "decoder/wire_writer.h"

namespace walferry {

// One column of a row to write.
struct WrittenColumn {
  ColumnKind kind = ColumnKind::kNull;
  std::string value;
};
inline WrittenColumn NullColumn() {
  return {ColumnKind::kNull, ""};
}
inline WrittenColumn UnchangedToastColumn() {
  return {ColumnKind::kUnchangedToast, ""};
}
inline WrittenColumn TextColumn(std::string_view value) {
  return {ColumnKind::kText, std::string(value)};
}
inline WrittenColumn BinaryColumn(std::string_view value) {
  return {ColumnKind::kBinary, std::string(value)};
}
using WrittenRow = std::vector<WrittenColumn>;

struct WrittenRelationColumn {
  std::string name;
  Oid type_oid = 25;
  bool is_key = false;
  std::int32_t typmod = -1;
};

// Writes the messages of one stream in their order. As in the server, changes between StreamStart() and
// StreamStop() carry a transaction id: that of the streamed transaction, or of a subtransaction after
// set_change_xid().
class PgoutputWriter {
 public:
  explicit PgoutputWriter(Streaming streaming = Streaming::kOff) : streaming_(streaming) {}

  std::string Begin(Lsn final_lsn, TimestampMicros commit_time, Xid xid) const;
  std::string Commit(Lsn commit_lsn, Lsn end_lsn, TimestampMicros commit_time) const;
  std::string Origin(Lsn origin_lsn, std::string_view name) const;
  // schema: "" stands for pg_catalog, as on the wire.
  std::string Relation(Oid relation_id, std::string_view schema, std::string_view name,
                       ReplicaIdentity identity, const std::vector<WrittenRelationColumn>& columns) const;
  std::string Type(Oid type_oid, std::string_view schema, std::string_view name) const;
  std::string Insert(Oid relation_id, const WrittenRow& new_row) const;
  // Without, or with a key ('K') or full ('O') old row.
  std::string Update(Oid relation_id, const WrittenRow& new_row) const;
  std::string Update(Oid relation_id, OldTuple old_kind, const WrittenRow& old_row,
                     const WrittenRow& new_row) const;
  std::string Delete(Oid relation_id, OldTuple old_kind, const WrittenRow& old_row) const;
  std::string Truncate(const std::vector<Oid>& relation_ids, bool cascade, bool restart_identity) const;
  std::string LogicalMessage(bool transactional, Lsn lsn, std::string_view prefix,
                             std::string_view content) const;

  std::string StreamStart(Xid xid, bool first_segment);
  std::string StreamStop();
  void set_change_xid(Xid xid) { change_xid_ = xid; }
  std::string StreamCommit(Xid xid, Lsn commit_lsn, Lsn end_lsn, TimestampMicros commit_time) const;
  // abort_lsn and abort_time are written with streaming = parallel only.
  std::string StreamAbort(Xid xid, Xid subxid, Lsn abort_lsn = {}, TimestampMicros abort_time = 0) const;

  std::string BeginPrepare(Lsn prepare_lsn, Lsn end_lsn, TimestampMicros prepare_time, Xid xid,
                           std::string_view gid) const;
  std::string Prepare(Lsn prepare_lsn, Lsn end_lsn, TimestampMicros prepare_time, Xid xid,
                      std::string_view gid) const;
  std::string StreamPrepare(Lsn prepare_lsn, Lsn end_lsn, TimestampMicros prepare_time, Xid xid,
                            std::string_view gid) const;
  std::string CommitPrepared(Lsn commit_lsn, Lsn end_lsn, TimestampMicros commit_time, Xid xid,
                             std::string_view gid) const;
  std::string RollbackPrepared(Lsn prepare_end_lsn, Lsn rollback_end_lsn, TimestampMicros prepare_time,
                               TimestampMicros rollback_time, Xid xid, std::string_view gid) const;

 private:
  // The type byte, and the transaction id where a change carries one.
  WireWriter Start(MessageType type) const;
  WireWriter StartChange(MessageType type) const;

  Streaming streaming_;
  bool in_stream_ = false;
  Xid change_xid_ = 0;
};

// The contents of CopyData messages.
std::string WriteXLogData(Lsn data_start, Lsn wal_end, TimestampMicros send_time, std::string_view payload);
std::string WriteKeepalive(Lsn wal_end, TimestampMicros send_time, bool reply_requested);

}  // namespace walferry
