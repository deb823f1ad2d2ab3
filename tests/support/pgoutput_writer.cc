#include "tests/support/pgoutput_writer.h"

#include <utility>

namespace walferry {
namespace {

std::uint64_t Bits(TimestampMicros time) {
  return static_cast<std::uint64_t>(time);
}

void WriteRow(WireWriter& writer, const WrittenRow& row) {
  writer.Int16(static_cast<std::uint16_t>(row.size()));
  for (const WrittenColumn& column : row) {
    writer.Int8(static_cast<std::uint8_t>(column.kind));
    if (column.kind == ColumnKind::kText || column.kind == ColumnKind::kBinary) {
      writer.Int32(static_cast<std::uint32_t>(column.value.size())).Bytes(column.value);
    }
  }
}

// What 'b', 'P' and 'p' have in common.
std::string TakePrepareFields(WireWriter writer, Lsn prepare_lsn, Lsn end_lsn, TimestampMicros prepare_time,
                              Xid xid, std::string_view gid) {
  writer.Int64(prepare_lsn.value).Int64(end_lsn.value).Int64(Bits(prepare_time)).Int32(xid).String(gid);
  return std::move(writer).Take();
}

}  // namespace

WireWriter PgoutputWriter::Start(MessageType type) const {
  WireWriter writer;
  writer.Int8(static_cast<std::uint8_t>(type));
  return writer;
}

WireWriter PgoutputWriter::StartChange(MessageType type) const {
  WireWriter writer = Start(type);
  if (in_stream_) writer.Int32(change_xid_);
  return writer;
}

std::string PgoutputWriter::Begin(Lsn final_lsn, TimestampMicros commit_time, Xid xid) const {
  return Start(MessageType::kBegin).Int64(final_lsn.value).Int64(Bits(commit_time)).Int32(xid).bytes();
}

std::string PgoutputWriter::Commit(Lsn commit_lsn, Lsn end_lsn, TimestampMicros commit_time) const {
  WireWriter writer = Start(MessageType::kCommit);
  writer.Int8(0).Int64(commit_lsn.value).Int64(end_lsn.value).Int64(Bits(commit_time));
  return std::move(writer).Take();
}

std::string PgoutputWriter::Origin(Lsn origin_lsn, std::string_view name) const {
  return Start(MessageType::kOrigin).Int64(origin_lsn.value).String(name).bytes();
}

std::string PgoutputWriter::Relation(Oid relation_id, std::string_view schema, std::string_view name,
                                     ReplicaIdentity identity,
                                     const std::vector<WrittenRelationColumn>& columns) const {
  WireWriter writer = StartChange(MessageType::kRelation);
  writer.Int32(relation_id).String(schema).String(name).Int8(static_cast<std::uint8_t>(identity));
  writer.Int16(static_cast<std::uint16_t>(columns.size()));
  for (const WrittenRelationColumn& column : columns) {
    writer.Int8(column.is_key ? 1 : 0).String(column.name).Int32(column.type_oid);
    writer.Int32(static_cast<std::uint32_t>(column.typmod));
  }
  return std::move(writer).Take();
}

std::string PgoutputWriter::Type(Oid type_oid, std::string_view schema, std::string_view name) const {
  return StartChange(MessageType::kType).Int32(type_oid).String(schema).String(name).bytes();
}

std::string PgoutputWriter::Insert(Oid relation_id, const WrittenRow& new_row) const {
  WireWriter writer = StartChange(MessageType::kInsert);
  WriteRow(writer.Int32(relation_id).Int8('N'), new_row);
  return std::move(writer).Take();
}

std::string PgoutputWriter::Update(Oid relation_id, const WrittenRow& new_row) const {
  WireWriter writer = StartChange(MessageType::kUpdate);
  WriteRow(writer.Int32(relation_id).Int8('N'), new_row);
  return std::move(writer).Take();
}

std::string PgoutputWriter::Update(Oid relation_id, OldTuple old_kind, const WrittenRow& old_row,
                                   const WrittenRow& new_row) const {
  WireWriter writer = StartChange(MessageType::kUpdate);
  WriteRow(writer.Int32(relation_id).Int8(static_cast<std::uint8_t>(old_kind)), old_row);
  WriteRow(writer.Int8('N'), new_row);
  return std::move(writer).Take();
}

std::string PgoutputWriter::Delete(Oid relation_id, OldTuple old_kind, const WrittenRow& old_row) const {
  WireWriter writer = StartChange(MessageType::kDelete);
  WriteRow(writer.Int32(relation_id).Int8(static_cast<std::uint8_t>(old_kind)), old_row);
  return std::move(writer).Take();
}

std::string PgoutputWriter::Truncate(const std::vector<Oid>& relation_ids, bool cascade,
                                     bool restart_identity) const {
  WireWriter writer = StartChange(MessageType::kTruncate);
  writer.Int32(static_cast<std::uint32_t>(relation_ids.size()));
  writer.Int8(static_cast<std::uint8_t>((cascade ? 1 : 0) | (restart_identity ? 2 : 0)));
  for (const Oid relation_id : relation_ids) writer.Int32(relation_id);
  return std::move(writer).Take();
}

std::string PgoutputWriter::LogicalMessage(bool transactional, Lsn lsn, std::string_view prefix,
                                           std::string_view content) const {
  WireWriter writer = StartChange(MessageType::kMessage);
  writer.Int8(transactional ? 1 : 0).Int64(lsn.value).String(prefix);
  writer.Int32(static_cast<std::uint32_t>(content.size())).Bytes(content);
  return std::move(writer).Take();
}

std::string PgoutputWriter::StreamStart(Xid xid, bool first_segment) {
  in_stream_ = true;
  change_xid_ = xid;
  return Start(MessageType::kStreamStart).Int32(xid).Int8(first_segment ? 1 : 0).bytes();
}

std::string PgoutputWriter::StreamStop() {
  in_stream_ = false;
  return Start(MessageType::kStreamStop).bytes();
}

std::string PgoutputWriter::StreamCommit(Xid xid, Lsn commit_lsn, Lsn end_lsn,
                                         TimestampMicros commit_time) const {
  WireWriter writer = Start(MessageType::kStreamCommit);
  writer.Int32(xid).Int8(0).Int64(commit_lsn.value).Int64(end_lsn.value).Int64(Bits(commit_time));
  return std::move(writer).Take();
}

std::string PgoutputWriter::StreamAbort(Xid xid, Xid subxid, Lsn abort_lsn,
                                        TimestampMicros abort_time) const {
  WireWriter writer = Start(MessageType::kStreamAbort);
  writer.Int32(xid).Int32(subxid);
  if (streaming_ == Streaming::kParallel) writer.Int64(abort_lsn.value).Int64(Bits(abort_time));
  return std::move(writer).Take();
}

std::string PgoutputWriter::BeginPrepare(Lsn prepare_lsn, Lsn end_lsn, TimestampMicros prepare_time, Xid xid,
                                         std::string_view gid) const {
  return TakePrepareFields(Start(MessageType::kBeginPrepare), prepare_lsn, end_lsn, prepare_time, xid, gid);
}

std::string PgoutputWriter::Prepare(Lsn prepare_lsn, Lsn end_lsn, TimestampMicros prepare_time, Xid xid,
                                    std::string_view gid) const {
  return TakePrepareFields(Start(MessageType::kPrepare).Int8(0), prepare_lsn, end_lsn, prepare_time, xid,
                           gid);
}

std::string PgoutputWriter::StreamPrepare(Lsn prepare_lsn, Lsn end_lsn, TimestampMicros prepare_time, Xid xid,
                                          std::string_view gid) const {
  return TakePrepareFields(Start(MessageType::kStreamPrepare).Int8(0), prepare_lsn, end_lsn, prepare_time,
                           xid, gid);
}

std::string PgoutputWriter::CommitPrepared(Lsn commit_lsn, Lsn end_lsn, TimestampMicros commit_time, Xid xid,
                                           std::string_view gid) const {
  return TakePrepareFields(Start(MessageType::kCommitPrepared).Int8(0), commit_lsn, end_lsn, commit_time, xid,
                           gid);
}

std::string PgoutputWriter::RollbackPrepared(Lsn prepare_end_lsn, Lsn rollback_end_lsn,
                                             TimestampMicros prepare_time, TimestampMicros rollback_time,
                                             Xid xid, std::string_view gid) const {
  WireWriter writer = Start(MessageType::kRollbackPrepared);
  writer.Int8(0).Int64(prepare_end_lsn.value).Int64(rollback_end_lsn.value);
  writer.Int64(Bits(prepare_time)).Int64(Bits(rollback_time)).Int32(xid).String(gid);
  return std::move(writer).Take();
}

std::string WriteXLogData(Lsn data_start, Lsn wal_end, TimestampMicros send_time, std::string_view payload) {
  WireWriter writer;
  writer.Int8('w').Int64(data_start.value).Int64(wal_end.value).Int64(Bits(send_time)).Bytes(payload);
  return std::move(writer).Take();
}

std::string WriteKeepalive(Lsn wal_end, TimestampMicros send_time, bool reply_requested) {
  WireWriter writer;
  writer.Int8('k').Int64(wal_end.value).Int64(Bits(send_time)).Int8(reply_requested ? 1 : 0);
  return std::move(writer).Take();
}

}  // namespace walferry
