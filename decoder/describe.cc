#include "decoder/describe.h"

#include <chrono>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

namespace walferry {
namespace {

// Quotes, backslashes and control characters are escaped, so that the text stays on one line.
std::string Escaped(std::string_view text) {
  return absl::Utf8SafeCEscape(absl::string_view(text.data(), text.size()));
}

std::string Quoted(std::string_view text) {
  return "'" + Escaped(text) + "'";
}

// For bytes in no known encoding: everything beyond ASCII is escaped too.
std::string QuotedBytes(std::string_view bytes) {
  return "'" + absl::CEscape(absl::string_view(bytes.data(), bytes.size())) + "'";
}

std::string Hex(std::string_view bytes) {
  return "\\x" + absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
}

// ISO 8601 in UTC. What no calendar of four-digit years holds comes from damaged bytes and is shown as the
// number.
std::string TimeText(TimestampMicros micros) {
  using std::chrono::microseconds;
  using std::chrono::sys_days;
  constexpr sys_days kEpoch = std::chrono::year(2000) / 1 / 1;
  constexpr microseconds kFirst = sys_days(std::chrono::year(1) / 1 / 1) - kEpoch;
  constexpr microseconds kEnd = sys_days(std::chrono::year(10000) / 1 / 1) - kEpoch;
  const microseconds since_epoch(micros);
  if (since_epoch < kFirst || since_epoch >= kEnd) return absl::StrFormat("%dus", micros);
  const auto days = std::chrono::floor<std::chrono::days>(since_epoch);
  const std::chrono::year_month_day date(kEpoch + days);
  const std::chrono::hh_mm_ss time(since_epoch - days);
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", static_cast<int>(date.year()),
                         static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                         time.hours().count(), time.minutes().count(), time.seconds().count(),
                         time.subseconds().count());
}

std::string ValueText(const ColumnView& column) {
  switch (column.kind) {
    case ColumnKind::kNull:
      return "null";
    case ColumnKind::kUnchangedToast:
      return "unchanged_toast";
    case ColumnKind::kText:
      return Quoted(column.value);
    case ColumnKind::kBinary:
      return Hex(column.value);
  }
  return "";
}

// "(id='1', note=null)"; without names where the relation is unknown or has fewer columns.
std::string TupleText(const TupleView& tuple, const Relation* relation) {
  std::string text = "(";
  std::size_t index = 0;
  for (const ColumnView column : tuple) {
    if (index > 0) text += ", ";
    if (relation != nullptr && index < relation->columns.size())
      text += Escaped(relation->columns[index].name) + "=";
    text += ValueText(column);
    ++index;
  }
  return text + ")";
}

std::string RelationText(Oid relation_id, const Relation* relation) {
  if (relation == nullptr) return absl::StrFormat("relation=%d", relation_id);
  return absl::StrFormat("relation=%d %s", relation_id, Escaped(relation->FullName()));
}

std::string OldTupleText(OldTuple kind, const TupleView& tuple, const Relation* relation) {
  switch (kind) {
    case OldTuple::kNone:
      return "";
    case OldTuple::kKey:
      return " key" + TupleText(tuple, relation);
    case OldTuple::kFull:
      return " old" + TupleText(tuple, relation);
  }
  return "";
}

// The fields of each message behind its name; `relation` as given to Describe().
class FieldsText {
 public:
  explicit FieldsText(const Relation* relation) : relation_(relation) {}

  std::string operator()(const BeginMessage& m) const {
    return absl::StrFormat(" xid=%d final_lsn=%s time=%s", m.xid, m.final_lsn.ToString(),
                           TimeText(m.commit_time));
  }
  std::string operator()(const CommitMessage& m) const {
    return CommitText(m.commit_lsn, m.end_lsn, m.commit_time);
  }
  std::string operator()(const OriginMessage& m) const {
    return absl::StrFormat(" lsn=%s name=%s", m.origin_lsn.ToString(), Quoted(m.name));
  }
  std::string operator()(const RelationMessage& m) const {
    std::string text =
        absl::StrFormat("%s relation=%d %s.%s identity=%c (", XidText(m.stream_xid), m.relation_id,
                        Escaped(m.schema), Escaped(m.name), static_cast<char>(m.replica_identity));
    std::string_view separator = "";
    m.columns.ForEach([&](const RelationColumnView& column) {
      absl::StrAppendFormat(&text, "%s%s type=%d typmod=%d%s", separator, Escaped(column.name),
                            column.type_oid, column.typmod, column.is_key ? " key" : "");
      separator = ", ";
    });
    return text + ")";
  }
  std::string operator()(const TypeMessage& m) const {
    return absl::StrFormat("%s type=%d %s.%s", XidText(m.stream_xid), m.type_oid, Escaped(m.schema),
                           Escaped(m.name));
  }
  std::string operator()(const InsertMessage& m) const {
    return absl::StrFormat("%s %s new%s", XidText(m.stream_xid), RelationText(m.relation_id, relation_),
                           TupleText(m.new_tuple, relation_));
  }
  std::string operator()(const UpdateMessage& m) const {
    return absl::StrFormat("%s %s%s new%s", XidText(m.stream_xid), RelationText(m.relation_id, relation_),
                           OldTupleText(m.old_kind, m.old_tuple, relation_),
                           TupleText(m.new_tuple, relation_));
  }
  std::string operator()(const DeleteMessage& m) const {
    return absl::StrFormat("%s %s%s", XidText(m.stream_xid), RelationText(m.relation_id, relation_),
                           OldTupleText(m.old_kind, m.old_tuple, relation_));
  }
  std::string operator()(const TruncateMessage& m) const {
    std::string text = XidText(m.stream_xid);
    for (std::size_t i = 0; i < m.relation_ids.size(); ++i) {
      absl::StrAppendFormat(&text, "%s%d", i == 0 ? " relations=" : ",", m.relation_ids[i]);
    }
    if (m.cascade) text += " cascade";
    if (m.restart_identity) text += " restart_identity";
    return text;
  }
  std::string operator()(const LogicalMessage& m) const {
    return absl::StrFormat("%s %s lsn=%s prefix=%s content=%s", XidText(m.stream_xid),
                           m.transactional ? "transactional" : "non_transactional", m.lsn.ToString(),
                           Quoted(m.prefix), QuotedBytes(m.content));
  }
  std::string operator()(const StreamStartMessage& m) const {
    return absl::StrFormat(" xid=%d%s", m.xid, m.first_segment ? " first_segment" : "");
  }
  std::string operator()(const StreamStopMessage&) const { return ""; }
  std::string operator()(const StreamCommitMessage& m) const {
    return absl::StrFormat(" xid=%d%s", m.xid, CommitText(m.commit_lsn, m.end_lsn, m.commit_time));
  }
  std::string operator()(const StreamAbortMessage& m) const {
    std::string text = absl::StrFormat(" xid=%d subxid=%d", m.xid, m.subxid);
    if (m.abort_lsn.valid()) {
      absl::StrAppendFormat(&text, " abort_lsn=%s time=%s", m.abort_lsn.ToString(), TimeText(m.abort_time));
    }
    return text;
  }
  std::string operator()(const PrepareFields& m) const {
    return absl::StrFormat(" xid=%d gid=%s prepare_lsn=%s end_lsn=%s time=%s", m.xid, Quoted(m.gid),
                           m.prepare_lsn.ToString(), m.end_lsn.ToString(), TimeText(m.prepare_time));
  }
  std::string operator()(const CommitPreparedMessage& m) const {
    return absl::StrFormat(" xid=%d gid=%s%s", m.xid, Quoted(m.gid),
                           CommitText(m.commit_lsn, m.end_lsn, m.commit_time));
  }
  std::string operator()(const RollbackPreparedMessage& m) const {
    return absl::StrFormat(
        " xid=%d gid=%s prepare_end_lsn=%s rollback_end_lsn=%s prepare_time=%s rollback_time=%s", m.xid,
        Quoted(m.gid), m.prepare_end_lsn.ToString(), m.rollback_end_lsn.ToString(), TimeText(m.prepare_time),
        TimeText(m.rollback_time));
  }

 private:
  static std::string XidText(const std::optional<Xid>& xid) {
    return xid.has_value() ? absl::StrFormat(" xid=%d", *xid) : "";
  }
  static std::string CommitText(Lsn commit_lsn, Lsn end_lsn, TimestampMicros time) {
    return absl::StrFormat(" commit_lsn=%s end_lsn=%s time=%s", commit_lsn.ToString(), end_lsn.ToString(),
                           TimeText(time));
  }

  const Relation* relation_;
};

}  // namespace

std::string Describe(const Message& message, const Relation* relation) {
  return std::visit([&](const auto& m) { return std::string(NameOf(m.kType)) + FieldsText(relation)(m); },
                    message);
}

}  // namespace walferry
