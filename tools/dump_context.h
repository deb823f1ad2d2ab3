// What the messages before a message say about it: its transaction and the shape of its relation.
#pragma once

#include <optional>
#include <vector>

#include "decoder/message.h"
#include "decoder/relation.h"

namespace walferry {

// One message of the stream in its context. Views borrow the message's payload; relations live as long as the
// DumpContext.
struct DumpedMessage {
  Lsn lsn;  // Zero for messages that have no place of their own in the WAL (relation, type).
  const Message& message;
  std::optional<Xid> xid;  // Of the top-level transaction that it belongs to.
  // Known beforehand for transactions that are not streamed in progress.
  std::optional<Lsn> commit_lsn;
  std::optional<TimestampMicros> commit_time;
  const Relation* relation = nullptr;      // Of an insert, update, delete or relation message.
  std::vector<const Relation*> truncated;  // Of a truncate; nullptr for what was never described.
};

class DumpContext {
 public:
  // In the order of the stream.
  DumpedMessage Place(Lsn lsn, const Message& message);

  // Between the messages of one transaction: nothing may be confirmed.
  bool in_transaction() const { return transaction_.has_value() || stream_xid_.has_value(); }

 private:
  struct Transaction {
    Xid xid = 0;
    Lsn commit_lsn;
    TimestampMicros commit_time = 0;
  };

  const Relation* Find(Oid relation_id) const;
  void Open(const Message& message);
  void Describe(const Message& message, DumpedMessage& placed);
  void Close(const Message& message, DumpedMessage& placed);

  RelationCache relations_;
  std::optional<Transaction> transaction_;  // Between begin and commit, or begin_prepare and prepare.
  std::optional<Xid> stream_xid_;           // Between stream_start and stream_stop.
};

}  // namespace walferry
