#include "decoder/message.h"

#include "decoder/wire_reader.h"

namespace walferry {

std::string_view NameOf(MessageType type) {
  switch (type) {
    case MessageType::kBegin:
      return "begin";
    case MessageType::kCommit:
      return "commit";
    case MessageType::kOrigin:
      return "origin";
    case MessageType::kRelation:
      return "relation";
    case MessageType::kType:
      return "type";
    case MessageType::kInsert:
      return "insert";
    case MessageType::kUpdate:
      return "update";
    case MessageType::kDelete:
      return "delete";
    case MessageType::kTruncate:
      return "truncate";
    case MessageType::kMessage:
      return "message";
    case MessageType::kStreamStart:
      return "stream_start";
    case MessageType::kStreamStop:
      return "stream_stop";
    case MessageType::kStreamCommit:
      return "stream_commit";
    case MessageType::kStreamAbort:
      return "stream_abort";
    case MessageType::kBeginPrepare:
      return "begin_prepare";
    case MessageType::kPrepare:
      return "prepare";
    case MessageType::kCommitPrepared:
      return "commit_prepared";
    case MessageType::kRollbackPrepared:
      return "rollback_prepared";
    case MessageType::kStreamPrepare:
      return "stream_prepare";
  }
  return "unknown";
}

RelationColumnView RelationColumnsView::Next(std::string_view& rest) {
  WireReader reader(rest);
  RelationColumnView column;
  column.is_key = reader.Int8() != 0;
  column.name = reader.String();
  column.type_oid = reader.Int32();
  column.typmod = static_cast<std::int32_t>(reader.Int32());
  rest.remove_prefix(reader.offset());
  return column;
}

Oid OidListView::operator[](std::size_t i) const {
  return WireReader(bytes_.substr(i * 4, 4)).Int32();
}

}  // namespace walferry
