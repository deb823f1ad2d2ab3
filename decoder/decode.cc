#include "decoder/decode.h"

#include <cstdint>

#include "decoder/wire_reader.h"

namespace walferry {
namespace {

// A flag byte of which only the bits in `known` have a meaning. Another bit would be one that the options in
// force do not provide for: the message cannot be understood.
std::uint8_t ReadFlags(WireReader& reader, std::uint8_t known) {
  const std::size_t at = reader.offset();
  const std::uint8_t flags = reader.Int8();
  if ((flags & ~known) != 0) reader.Fail("unknown flag", at);
  return flags;
}

void ReadUnusedFlags(WireReader& reader) {
  ReadFlags(reader, 0);
}
Lsn ReadLsn(WireReader& reader) {
  return Lsn{reader.Int64()};
}
TimestampMicros ReadTime(WireReader& reader) {
  return static_cast<TimestampMicros>(reader.Int64());
}

// The server sends "" for its own schema (logicalrep_write_namespace in proto.c).
std::string_view ReadSchema(WireReader& reader) {
  const std::string_view schema = reader.String();
  return schema.empty() ? std::string_view("pg_catalog") : schema;
}

std::optional<Xid> ReadStreamXid(WireReader& reader, bool in_stream) {
  if (!in_stream) return std::nullopt;
  return reader.Int32();
}

std::uint16_t ReadColumnCount(WireReader& reader) {
  const std::size_t at = reader.offset();
  const std::uint16_t count = reader.Int16();
  if (count > INT16_MAX) reader.Fail("negative number of columns", at);
  return count;
}

TupleView ReadTuple(WireReader& reader) {
  const std::uint16_t count = ReadColumnCount(reader);
  const std::size_t begin = reader.offset();
  for (std::uint16_t i = 0; i < count && reader.ok(); ++i) {
    switch (static_cast<ColumnKind>(reader.Int8())) {
      case ColumnKind::kText:
      case ColumnKind::kBinary:
        reader.Bytes(reader.Int32());
        break;
      case ColumnKind::kNull:
      case ColumnKind::kUnchangedToast:
        break;
      default:
        reader.Fail("unknown column tag", reader.offset() - 1);
    }
  }
  if (!reader.ok()) return {};
  return TupleView(reader.Since(begin), count);
}

BeginMessage ReadBegin(WireReader& reader) {
  BeginMessage message;
  message.final_lsn = ReadLsn(reader);
  message.commit_time = ReadTime(reader);
  message.xid = reader.Int32();
  return message;
}

CommitMessage ReadCommit(WireReader& reader) {
  CommitMessage message;
  ReadUnusedFlags(reader);
  message.commit_lsn = ReadLsn(reader);
  message.end_lsn = ReadLsn(reader);
  message.commit_time = ReadTime(reader);
  return message;
}

OriginMessage ReadOrigin(WireReader& reader) {
  OriginMessage message;
  message.origin_lsn = ReadLsn(reader);
  message.name = reader.String();
  return message;
}

ReplicaIdentity ReadReplicaIdentity(WireReader& reader) {
  const std::size_t at = reader.offset();
  const auto identity = static_cast<ReplicaIdentity>(reader.Int8());
  switch (identity) {
    case ReplicaIdentity::kDefault:
    case ReplicaIdentity::kNothing:
    case ReplicaIdentity::kFull:
    case ReplicaIdentity::kIndex:
      return identity;
  }
  reader.Fail("unknown replica identity", at);
  return ReplicaIdentity::kNothing;
}

RelationColumnsView ReadRelationColumns(WireReader& reader) {
  const std::uint16_t count = ReadColumnCount(reader);
  const std::size_t begin = reader.offset();
  for (std::uint16_t i = 0; i < count && reader.ok(); ++i) {
    ReadFlags(reader, 1);  // part of the replica identity
    reader.String();       // name
    reader.Int32();        // type
    reader.Int32();        // typmod
  }
  if (!reader.ok()) return {};
  return RelationColumnsView(reader.Since(begin), count);
}

RelationMessage ReadRelation(WireReader& reader, bool in_stream) {
  RelationMessage message;
  message.stream_xid = ReadStreamXid(reader, in_stream);
  message.relation_id = reader.Int32();
  message.schema = ReadSchema(reader);
  message.name = reader.String();
  message.replica_identity = ReadReplicaIdentity(reader);
  message.columns = ReadRelationColumns(reader);
  return message;
}

TypeMessage ReadType(WireReader& reader, bool in_stream) {
  TypeMessage message;
  message.stream_xid = ReadStreamXid(reader, in_stream);
  message.type_oid = reader.Int32();
  message.schema = ReadSchema(reader);
  message.name = reader.String();
  return message;
}

void ExpectNewTuple(WireReader& reader) {
  const std::size_t at = reader.offset();
  if (reader.Int8() != 'N') reader.Fail("expected the tag 'N' of a new tuple", at);
}

InsertMessage ReadInsert(WireReader& reader, bool in_stream) {
  InsertMessage message;
  message.stream_xid = ReadStreamXid(reader, in_stream);
  message.relation_id = reader.Int32();
  ExpectNewTuple(reader);
  message.new_tuple = ReadTuple(reader);
  return message;
}

UpdateMessage ReadUpdate(WireReader& reader, bool in_stream) {
  UpdateMessage message;
  message.stream_xid = ReadStreamXid(reader, in_stream);
  message.relation_id = reader.Int32();
  const std::size_t at = reader.offset();
  const std::uint8_t tag = reader.Int8();
  if (tag == 'K' || tag == 'O') {
    message.old_kind = static_cast<OldTuple>(tag);
    message.old_tuple = ReadTuple(reader);
    ExpectNewTuple(reader);
  } else if (tag != 'N') {
    reader.Fail("expected the tag 'K', 'O' or 'N' of a tuple", at);
  }
  message.new_tuple = ReadTuple(reader);
  return message;
}

DeleteMessage ReadDelete(WireReader& reader, bool in_stream) {
  DeleteMessage message;
  message.stream_xid = ReadStreamXid(reader, in_stream);
  message.relation_id = reader.Int32();
  const std::size_t at = reader.offset();
  const std::uint8_t tag = reader.Int8();
  if (tag != 'K' && tag != 'O') reader.Fail("expected the tag 'K' or 'O' of an old tuple", at);
  message.old_kind = static_cast<OldTuple>(tag);
  message.old_tuple = ReadTuple(reader);
  return message;
}

TruncateMessage ReadTruncate(WireReader& reader, bool in_stream) {
  constexpr std::uint8_t kCascade = 1;
  constexpr std::uint8_t kRestartIdentity = 2;
  TruncateMessage message;
  message.stream_xid = ReadStreamXid(reader, in_stream);
  const std::size_t relation_count = reader.Int32();
  const std::uint8_t flags = ReadFlags(reader, kCascade | kRestartIdentity);
  message.cascade = (flags & kCascade) != 0;
  message.restart_identity = (flags & kRestartIdentity) != 0;
  message.relation_ids = OidListView(reader.Bytes(relation_count * sizeof(Oid)));
  return message;
}

LogicalMessage ReadLogicalMessage(WireReader& reader, bool in_stream) {
  LogicalMessage message;
  message.stream_xid = ReadStreamXid(reader, in_stream);
  message.transactional = ReadFlags(reader, 1) != 0;
  message.lsn = ReadLsn(reader);
  message.prefix = reader.String();
  message.content = reader.Bytes(reader.Int32());
  return message;
}

StreamStartMessage ReadStreamStart(WireReader& reader) {
  StreamStartMessage message;
  message.xid = reader.Int32();
  message.first_segment = ReadFlags(reader, 1) != 0;
  return message;
}

StreamCommitMessage ReadStreamCommit(WireReader& reader) {
  StreamCommitMessage message;
  message.xid = reader.Int32();
  ReadUnusedFlags(reader);
  message.commit_lsn = ReadLsn(reader);
  message.end_lsn = ReadLsn(reader);
  message.commit_time = ReadTime(reader);
  return message;
}

// The position is keyed on the option, not on the protocol version (pgoutput_stream_abort in pgoutput.c). The
// message itself may arrive without streaming having been asked for: version 18 sends it on protocol 1.
StreamAbortMessage ReadStreamAbort(WireReader& reader, Streaming streaming) {
  StreamAbortMessage message;
  message.xid = reader.Int32();
  message.subxid = reader.Int32();
  if (streaming == Streaming::kParallel) {
    message.abort_lsn = ReadLsn(reader);
    message.abort_time = ReadTime(reader);
  }
  return message;
}

template <typename PrepareKind>
PrepareKind ReadPrepareFields(WireReader& reader) {
  PrepareKind message;
  message.prepare_lsn = ReadLsn(reader);
  message.end_lsn = ReadLsn(reader);
  message.prepare_time = ReadTime(reader);
  message.xid = reader.Int32();
  message.gid = reader.String();
  return message;
}

template <typename PrepareKind>
PrepareKind ReadFlaggedPrepareFields(WireReader& reader) {
  ReadUnusedFlags(reader);
  return ReadPrepareFields<PrepareKind>(reader);
}

CommitPreparedMessage ReadCommitPrepared(WireReader& reader) {
  CommitPreparedMessage message;
  ReadUnusedFlags(reader);
  message.commit_lsn = ReadLsn(reader);
  message.end_lsn = ReadLsn(reader);
  message.commit_time = ReadTime(reader);
  message.xid = reader.Int32();
  message.gid = reader.String();
  return message;
}

RollbackPreparedMessage ReadRollbackPrepared(WireReader& reader) {
  RollbackPreparedMessage message;
  ReadUnusedFlags(reader);
  message.prepare_end_lsn = ReadLsn(reader);
  message.rollback_end_lsn = ReadLsn(reader);
  message.prepare_time = ReadTime(reader);
  message.rollback_time = ReadTime(reader);
  message.xid = reader.Int32();
  message.gid = reader.String();
  return message;
}

// What may stand between Stream Start and Stream Stop; everything else stands outside only.
bool BelongsInStream(MessageType type) {
  switch (type) {
    case MessageType::kOrigin:
    case MessageType::kRelation:
    case MessageType::kType:
    case MessageType::kInsert:
    case MessageType::kUpdate:
    case MessageType::kDelete:
    case MessageType::kTruncate:
    case MessageType::kMessage:
    case MessageType::kStreamStop:
      return true;
    default:
      return false;
  }
}

Message ReadMessage(WireReader& reader, MessageType type, bool in_stream, Streaming streaming) {
  switch (type) {
    case MessageType::kBegin:
      return ReadBegin(reader);
    case MessageType::kCommit:
      return ReadCommit(reader);
    case MessageType::kOrigin:
      return ReadOrigin(reader);
    case MessageType::kRelation:
      return ReadRelation(reader, in_stream);
    case MessageType::kType:
      return ReadType(reader, in_stream);
    case MessageType::kInsert:
      return ReadInsert(reader, in_stream);
    case MessageType::kUpdate:
      return ReadUpdate(reader, in_stream);
    case MessageType::kDelete:
      return ReadDelete(reader, in_stream);
    case MessageType::kTruncate:
      return ReadTruncate(reader, in_stream);
    case MessageType::kMessage:
      return ReadLogicalMessage(reader, in_stream);
    case MessageType::kStreamStart:
      return ReadStreamStart(reader);
    case MessageType::kStreamStop:
      return StreamStopMessage();
    case MessageType::kStreamCommit:
      return ReadStreamCommit(reader);
    case MessageType::kStreamAbort:
      return ReadStreamAbort(reader, streaming);
    case MessageType::kBeginPrepare:
      return ReadPrepareFields<BeginPrepareMessage>(reader);
    case MessageType::kPrepare:
      return ReadFlaggedPrepareFields<PrepareMessage>(reader);
    case MessageType::kCommitPrepared:
      return ReadCommitPrepared(reader);
    case MessageType::kRollbackPrepared:
      return ReadRollbackPrepared(reader);
    case MessageType::kStreamPrepare:
      return ReadFlaggedPrepareFields<StreamPrepareMessage>(reader);
  }
  reader.Fail("unknown message type", 0);
  return {};
}

absl::Status Malformed(std::string_view payload, Lsn lsn, const char* reason, std::size_t offset) {
  if (payload.empty()) {
    return Errorf(absl::StatusCode::kDataLoss, "malformed message at LSN %s: empty, no type at offset 0",
                  lsn.ToString());
  }
  const auto type = static_cast<MessageType>(payload[0]);
  return Errorf(absl::StatusCode::kDataLoss,
                "malformed %s message (type 0x%02x) at LSN %s: %s, at offset %d of %d", NameOf(type),
                static_cast<unsigned char>(payload[0]), lsn.ToString(), reason, offset, payload.size());
}

}  // namespace

absl::StatusOr<Message> Decoder::Decode(std::string_view payload, Lsn lsn) {
  WireReader reader(payload);
  const auto type = static_cast<MessageType>(reader.Int8());
  Message message = ReadMessage(reader, type, in_stream_, options_.streaming);
  if (!reader.at_end()) reader.Fail("trailing bytes", reader.offset());
  if (in_stream_ && !BelongsInStream(type)) reader.Fail("not allowed inside a stream block", 0);
  if (!in_stream_ && type == MessageType::kStreamStop) reader.Fail("no stream block is open", 0);
  if (!reader.ok()) return Malformed(payload, lsn, reader.failure(), reader.offset());
  if (type == MessageType::kStreamStart) in_stream_ = true;
  if (type == MessageType::kStreamStop) in_stream_ = false;
  return message;
}

}  // namespace walferry
