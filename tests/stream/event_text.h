// Events as lines of text, for tests that compare what came out with what should have.
#pragma once

#include <string>
#include <vector>

#include "stream/segment.h"

namespace walferry {

inline std::string TupleText(const TupleView& tuple) {
  std::string text = "(";
  for (const ColumnView column : tuple) {
    if (text.size() > 1) text += ",";
    if (column.kind == ColumnKind::kNull) {
      text += "null";
    } else if (column.kind == ColumnKind::kUnchangedToast) {
      text += "unchanged";
    } else {
      text += column.value;
    }
  }
  return text + ")";
}

// "begin 7 at 0/100", "insert s.t (1,x)", "update s.t (1)->(2)", "truncate s.t s.u", "commit 7 at 0/120"
inline std::string EventText(const Event& event, const Segment& segment) {
  switch (event.kind) {
    case EventKind::kBegin:
      return "begin " + std::to_string(event.xid) + " at " + event.lsn.ToString();
    case EventKind::kCommit:
      return "commit " + std::to_string(event.xid) + " at " + event.lsn.ToString();
    case EventKind::kInsert:
      return "insert " + event.relation->FullName() + " " + TupleText(event.new_tuple);
    case EventKind::kUpdate:
      return "update " + event.relation->FullName() + " " +
             (event.old_kind == OldTuple::kNone ? "" : TupleText(event.old_tuple) + "->") +
             TupleText(event.new_tuple);
    case EventKind::kDelete:
      return "delete " + event.relation->FullName() + " " + TupleText(event.old_tuple);
    case EventKind::kTruncate: {
      std::string text = "truncate";
      for (std::uint32_t i = 0; i < event.truncate_count; ++i) {
        text += " " + segment.truncated[event.truncate_first + i]->FullName();
      }
      return text + (event.cascade ? " cascade" : "") + (event.restart_identity ? " restart" : "");
    }
  }
  return "?";
}

inline void AppendEventTexts(const Segment& segment, std::vector<std::string>& texts) {
  for (const Event& event : segment.events) texts.push_back(EventText(event, segment));
}

}  // namespace walferry
