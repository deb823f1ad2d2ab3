#include <type_traits>

#include "tests/decoder/reference_decoder.h"

namespace walferry {
namespace {

class FieldWriter {
 public:
  explicit FieldWriter(FieldList& fields) : fields_(fields) {}

  void operator()(const BeginMessage& m) {
    Add("final_lsn", m.final_lsn).Add("time", m.commit_time).Add("xid", m.xid);
  }
  void operator()(const CommitMessage& m) { Commit(m.commit_lsn, m.end_lsn, m.commit_time); }
  void operator()(const OriginMessage& m) { Add("lsn", m.origin_lsn).Add("name", m.name); }
  void operator()(const RelationMessage& m) {
    Sub(m.stream_xid).Add("relation", m.relation_id).Add("schema", m.schema).Add("name", m.name);
    const char identity = static_cast<char>(m.replica_identity);
    Add("identity", std::string_view(&identity, 1)).Add("columns", m.columns.size());
    m.columns.ForEach([this](const RelationColumnView& column) {
      Add("key", column.is_key ? 1 : 0).Add("name", column.name).Add("type", column.type_oid);
      Add("typmod", static_cast<std::uint32_t>(column.typmod));
    });
  }
  void operator()(const TypeMessage& m) {
    Sub(m.stream_xid).Add("type", m.type_oid).Add("schema", m.schema).Add("name", m.name);
  }
  void operator()(const InsertMessage& m) {
    Sub(m.stream_xid).Add("relation", m.relation_id);
    Tuple("new", m.new_tuple);
  }
  void operator()(const UpdateMessage& m) {
    Sub(m.stream_xid).Add("relation", m.relation_id);
    Old(m.old_kind, m.old_tuple);
    Tuple("new", m.new_tuple);
  }
  void operator()(const DeleteMessage& m) {
    Sub(m.stream_xid).Add("relation", m.relation_id);
    Old(m.old_kind, m.old_tuple);
  }
  void operator()(const TruncateMessage& m) {
    Sub(m.stream_xid).Add("relations", m.relation_ids.size());
    Add("flags", (m.cascade ? 1 : 0) + (m.restart_identity ? 2 : 0));
    for (std::size_t i = 0; i < m.relation_ids.size(); ++i) Add("relation", m.relation_ids[i]);
  }
  void operator()(const LogicalMessage& m) {
    Sub(m.stream_xid).Add("transactional", m.transactional ? 1 : 0).Add("lsn", m.lsn);
    Add("prefix", m.prefix).Add("content", m.content);
  }
  void operator()(const StreamStartMessage& m) { Add("xid", m.xid).Add("first", m.first_segment ? 1 : 0); }
  void operator()(const StreamStopMessage&) {}
  void operator()(const StreamCommitMessage& m) {
    Add("xid", m.xid);
    Commit(m.commit_lsn, m.end_lsn, m.commit_time);
  }
  void operator()(const StreamAbortMessage& m) {
    Add("xid", m.xid).Add("subxid", m.subxid).Add("lsn", m.abort_lsn).Add("time", m.abort_time);
  }
  void operator()(const PrepareFields& m) {
    Add("prepare_lsn", m.prepare_lsn).Add("end_lsn", m.end_lsn).Add("time", m.prepare_time);
    Add("xid", m.xid).Add("gid", m.gid);
  }
  void operator()(const CommitPreparedMessage& m) {
    Commit(m.commit_lsn, m.end_lsn, m.commit_time);
    Add("xid", m.xid).Add("gid", m.gid);
  }
  void operator()(const RollbackPreparedMessage& m) {
    Add("prepare_end", m.prepare_end_lsn).Add("rollback_end", m.rollback_end_lsn);
    Add("prepare_time", m.prepare_time)
        .Add("rollback_time", m.rollback_time)
        .Add("xid", m.xid)
        .Add("gid", m.gid);
  }

 private:
  // Integers as the unsigned number that their bytes are.
  template <typename T>
  FieldWriter& Add(std::string_view name, T value) {
    if constexpr (std::is_integral_v<T>) {
      fields_.push_back(std::string(name) + "=" + std::to_string(static_cast<std::uint64_t>(value)));
    } else if constexpr (std::is_same_v<T, Lsn>) {
      fields_.push_back(std::string(name) + "=" + std::to_string(value.value));
    } else {
      fields_.push_back(std::string(name) + "=" + std::string(value));
    }
    return *this;
  }
  FieldWriter& Sub(const std::optional<Xid>& xid) {
    return xid.has_value() ? Add("sub", *xid) : Add("sub", "none");
  }
  void Commit(Lsn commit_lsn, Lsn end_lsn, TimestampMicros time) {
    Add("commit_lsn", commit_lsn).Add("end_lsn", end_lsn).Add("time", time);
  }
  void Old(OldTuple kind, const TupleView& tuple) {
    const char tag = static_cast<char>(kind);
    Add("old_kind", kind == OldTuple::kNone ? std::string_view("none") : std::string_view(&tag, 1));
    Tuple("old", tuple);
  }
  void Tuple(std::string_view name, const TupleView& tuple) {
    Add(name, tuple.size());
    for (const ColumnView column : tuple) {
      const char tag = static_cast<char>(column.kind);
      Add(std::string_view(&tag, 1), column.value);
    }
  }

  FieldList& fields_;
};

}  // namespace

FieldList FieldsOf(const Message& message) {
  FieldList fields;
  std::visit(
      [&fields](const auto& m) {
        fields.emplace_back(1, static_cast<char>(m.kType));
        FieldWriter writer(fields);
        writer(m);
      },
      message);
  return fields;
}

}  // namespace walferry
