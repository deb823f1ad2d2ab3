#include "tools/dump_context.h"

#include <type_traits>

namespace walferry {

DumpedMessage DumpContext::Place(Lsn lsn, const Message& message) {
  DumpedMessage placed{.lsn = lsn,
                       .message = message,
                       .xid = std::nullopt,
                       .commit_lsn = std::nullopt,
                       .commit_time = std::nullopt,
                       .relation = nullptr,
                       .truncated = {}};
  Open(message);
  if (stream_xid_) {
    placed.xid = stream_xid_;
  } else if (transaction_) {
    placed.xid = transaction_->xid;
    if (transaction_->commit_lsn.valid()) placed.commit_lsn = transaction_->commit_lsn;
    if (transaction_->commit_lsn.valid()) placed.commit_time = transaction_->commit_time;
  }
  Describe(message, placed);
  Close(message, placed);
  return placed;
}

void DumpContext::Open(const Message& message) {
  if (const auto* begin = std::get_if<BeginMessage>(&message)) {
    transaction_ = Transaction{begin->xid, begin->final_lsn, begin->commit_time};
  } else if (const auto* prepare = std::get_if<BeginPrepareMessage>(&message)) {
    transaction_ = Transaction{prepare->xid, Lsn{}, 0};
  } else if (const auto* start = std::get_if<StreamStartMessage>(&message)) {
    stream_xid_ = start->xid;
  }
}

const Relation* DumpContext::Find(Oid relation_id) const {
  return stream_xid_ ? relations_.FindStreamed(*stream_xid_, relation_id) : relations_.Find(relation_id);
}

void DumpContext::Describe(const Message& message, DumpedMessage& placed) {
  std::visit(
      [&](const auto& m) {
        using Kind = std::decay_t<decltype(m)>;
        if constexpr (std::is_same_v<Kind, RelationMessage>) {
          const std::uint64_t arrival = relations_.NextArrival();
          placed.relation =
              stream_xid_ ? relations_.PutStreamed(*stream_xid_, m, arrival) : relations_.Put(m, arrival);
        } else if constexpr (std::is_same_v<Kind, InsertMessage> || std::is_same_v<Kind, UpdateMessage> ||
                             std::is_same_v<Kind, DeleteMessage>) {
          placed.relation = Find(m.relation_id);
        } else if constexpr (std::is_same_v<Kind, TruncateMessage>) {
          for (std::size_t i = 0; i < m.relation_ids.size(); ++i)
            placed.truncated.push_back(Find(m.relation_ids[i]));
        }
      },
      message);
}

void DumpContext::Close(const Message& message, DumpedMessage& placed) {
  if (std::holds_alternative<CommitMessage>(message) || std::holds_alternative<PrepareMessage>(message)) {
    transaction_.reset();
  } else if (std::holds_alternative<StreamStopMessage>(message)) {
    stream_xid_.reset();
  } else if (const auto* commit = std::get_if<StreamCommitMessage>(&message)) {
    relations_.CommitStreamed(commit->xid);
    placed.xid = commit->xid;
    placed.commit_lsn = commit->commit_lsn;
    placed.commit_time = commit->commit_time;
  } else if (const auto* abort = std::get_if<StreamAbortMessage>(&message)) {
    if (abort->xid == abort->subxid) relations_.AbortStreamed(abort->xid);
    placed.xid = abort->xid;
  } else if (const auto* prepare = std::get_if<StreamPrepareMessage>(&message)) {
    relations_.CommitStreamed(prepare->xid);
    placed.xid = prepare->xid;
  } else if (const auto* prepared = std::get_if<CommitPreparedMessage>(&message)) {
    placed.xid = prepared->xid;
    placed.commit_lsn = prepared->commit_lsn;
    placed.commit_time = prepared->commit_time;
  } else if (const auto* rollback = std::get_if<RollbackPreparedMessage>(&message)) {
    placed.xid = rollback->xid;
  }
}

}  // namespace walferry
