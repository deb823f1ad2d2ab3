#include "tools/dump_json.h"

#include "absl/strings/escaping.h"
#include "absl/time/time.h"
#include "tools/binary_value.h"
#include "tools/json_text.h"

namespace walferry {
namespace {

std::string TimeText(TimestampMicros micros) {
  constexpr std::int64_t kEpochMicros = 946'684'800'000'000;  // 2000-01-01 since 1970-01-01
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::FromUnixMicros(micros + kEpochMicros),
                          absl::UTCTimeZone());
}

void AppendBinary(std::string_view bytes, std::string& out) {
  out += "{\"binary\":\"";
  out += absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
  out += "\"}";
}

void AppendText(std::string_view text, std::string& out) {
  if (IsUtf8(text)) {
    AppendJsonString(text, out);
  } else {
    AppendBinary(text, out);
  }
}

void AppendValue(const ColumnView& column, Oid type, std::string& out) {
  switch (column.kind) {
    case ColumnKind::kNull:
      out += "null";
      return;
    case ColumnKind::kUnchangedToast:
      out += "{\"unchanged_toast\":true}";
      return;
    case ColumnKind::kText:
      AppendText(column.value, out);
      return;
    case ColumnKind::kBinary:
      if (const std::optional<std::string> text = BinaryValueText(type, column.value)) {
        AppendText(*text, out);
      } else {
        AppendBinary(column.value, out);
      }
      return;
  }
}

// One object, field by field.
class Line {
 public:
  void Text(std::string_view name, std::string_view value) {
    Name(name);
    AppendText(value, out_);
  }
  void Number(std::string_view name, std::int64_t value) {
    Name(name);
    out_ += std::to_string(value);
  }
  void Flag(std::string_view name, bool value) {
    Name(name);
    out_ += value ? "true" : "false";
  }
  void Position(std::string_view name, Lsn lsn) { Text(name, lsn.ToString()); }
  void Time(std::string_view name, TimestampMicros micros) { Text(name, TimeText(micros)); }

  // keys_only: the tuple holds values for the columns of the replica identity alone, and NULLs for the
  // others.
  void Tuple(std::string_view name, const TupleView& tuple, const Relation* relation, bool keys_only) {
    Name(name);
    out_ += '{';
    std::size_t index = 0;
    bool first = true;
    for (const ColumnView column : tuple) {
      const RelationColumn* description =
          relation != nullptr && index < relation->columns.size() ? &relation->columns[index] : nullptr;
      ++index;
      if (keys_only && description != nullptr && !description->is_key) continue;
      if (!first) out_ += ',';
      first = false;
      AppendText(description != nullptr ? description->name : std::to_string(index), out_);
      out_ += ':';
      AppendValue(column, description != nullptr ? description->type_oid : 0, out_);
    }
    out_ += '}';
  }
  // `append(std::string&)` writes the value.
  template <typename Append>
  void Raw(std::string_view name, Append append) {
    Name(name);
    append(out_);
  }

  std::string Finish() {
    out_ += '}';
    return std::move(out_);
  }

 private:
  void Name(std::string_view name) {
    out_ += out_.empty() ? "{" : ",";
    AppendJsonString(name, out_);
    out_ += ':';
  }
  std::string out_;
};

// The fields of each kind of message, behind those that all have.
class Fields {
 public:
  Fields(const DumpedMessage& dumped, Line& line) : dumped_(dumped), line_(line) {}

  void operator()(const BeginMessage&) const {}
  void operator()(const CommitMessage& m) const { line_.Position("end_lsn", m.end_lsn); }
  void operator()(const OriginMessage& m) const {
    line_.Text("origin", m.name);
    line_.Position("origin_lsn", m.origin_lsn);
  }
  void operator()(const RelationMessage& m) const {
    Subtransaction(m.stream_xid);
    Table(m.relation_id);
    line_.Text("replica_identity", std::string(1, static_cast<char>(m.replica_identity)));
    line_.Raw("columns", [&](std::string& out) { AppendColumns(m, out); });
  }
  void operator()(const TypeMessage& m) const {
    Subtransaction(m.stream_xid);
    line_.Text("schema", m.schema.empty() ? "pg_catalog" : m.schema);
    line_.Text("type", m.name);
    line_.Number("type_oid", m.type_oid);
  }
  void operator()(const InsertMessage& m) const {
    Subtransaction(m.stream_xid);
    Table(m.relation_id);
    New(m.new_tuple);
  }
  void operator()(const UpdateMessage& m) const {
    Subtransaction(m.stream_xid);
    Table(m.relation_id);
    Old(m.old_kind, m.old_tuple);
    New(m.new_tuple);
  }
  void operator()(const DeleteMessage& m) const {
    Subtransaction(m.stream_xid);
    Table(m.relation_id);
    Old(m.old_kind, m.old_tuple);
  }
  void operator()(const TruncateMessage& m) const {
    Subtransaction(m.stream_xid);
    line_.Raw("tables", [&](std::string& out) { AppendTruncated(m, out); });
    line_.Flag("cascade", m.cascade);
    line_.Flag("restart_identity", m.restart_identity);
  }
  void operator()(const LogicalMessage& m) const {
    Subtransaction(m.stream_xid);
    line_.Flag("transactional", m.transactional);
    line_.Position("message_lsn", m.lsn);
    line_.Text("prefix", m.prefix);
    line_.Text("content", m.content);
  }
  void operator()(const StreamStartMessage& m) const { line_.Flag("first_segment", m.first_segment); }
  void operator()(const StreamStopMessage&) const {}
  void operator()(const StreamCommitMessage& m) const { line_.Position("end_lsn", m.end_lsn); }
  void operator()(const StreamAbortMessage& m) const {
    line_.Number("subxid", m.subxid);
    if (!m.abort_lsn.valid()) return;
    line_.Position("abort_lsn", m.abort_lsn);
    line_.Time("abort_time", m.abort_time);
  }
  void operator()(const PrepareFields& m) const {
    line_.Text("gid", m.gid);
    line_.Position("prepare_lsn", m.prepare_lsn);
    line_.Position("end_lsn", m.end_lsn);
    line_.Time("prepare_time", m.prepare_time);
  }
  void operator()(const CommitPreparedMessage& m) const {
    line_.Text("gid", m.gid);
    line_.Position("end_lsn", m.end_lsn);
  }
  void operator()(const RollbackPreparedMessage& m) const {
    line_.Text("gid", m.gid);
    line_.Position("prepare_end_lsn", m.prepare_end_lsn);
    line_.Position("rollback_end_lsn", m.rollback_end_lsn);
    line_.Time("prepare_time", m.prepare_time);
    line_.Time("rollback_time", m.rollback_time);
  }

 private:
  void Subtransaction(const std::optional<Xid>& xid) const {
    if (xid && xid != dumped_.xid) line_.Number("subxid", *xid);
  }
  void Table(Oid relation_id) const {
    if (dumped_.relation != nullptr) {
      line_.Text("schema", dumped_.relation->schema);
      line_.Text("table", dumped_.relation->name);
    } else {
      line_.Number("relation_id", relation_id);
    }
  }
  void Old(OldTuple kind, const TupleView& tuple) const {
    if (kind == OldTuple::kKey) line_.Tuple("key", tuple, dumped_.relation, true);
    if (kind == OldTuple::kFull) line_.Tuple("old", tuple, dumped_.relation, false);
  }
  void New(const TupleView& tuple) const { line_.Tuple("new", tuple, dumped_.relation, false); }

  static void AppendColumns(const RelationMessage& m, std::string& out) {
    out += '[';
    bool first = true;
    m.columns.ForEach([&](const RelationColumnView& column) {
      out += first ? "{\"name\":" : ",{\"name\":";
      first = false;
      AppendText(column.name, out);
      absl::StrAppendFormat(&out, ",\"type_oid\":%d,\"typmod\":%d,\"key\":%s}", column.type_oid,
                            column.typmod, column.is_key ? "true" : "false");
    });
    out += ']';
  }
  void AppendTruncated(const TruncateMessage& m, std::string& out) const {
    out += '[';
    for (std::size_t i = 0; i < dumped_.truncated.size(); ++i) {
      if (i > 0) out += ',';
      Line table;
      if (const Relation* relation = dumped_.truncated[i]) {
        table.Text("schema", relation->schema);
        table.Text("table", relation->name);
      } else {
        table.Number("relation_id", m.relation_ids[i]);
      }
      out += table.Finish();
    }
    out += ']';
  }

  const DumpedMessage& dumped_;
  Line& line_;
};

}  // namespace

std::string DumpJson(const DumpedMessage& dumped) {
  Line line;
  line.Raw("lsn", [&](std::string& out) {
    if (dumped.lsn.valid()) {
      AppendJsonString(dumped.lsn.ToString(), out);
    } else {
      out += "null";
    }
  });
  std::visit([&](const auto& m) { line.Text("kind", NameOf(m.kType)); }, dumped.message);
  if (dumped.xid) line.Number("xid", *dumped.xid);
  if (dumped.commit_lsn) line.Position("commit_lsn", *dumped.commit_lsn);
  if (dumped.commit_time) line.Time("commit_time", *dumped.commit_time);
  std::visit(Fields(dumped, line), dumped.message);
  return line.Finish();
}

}  // namespace walferry
