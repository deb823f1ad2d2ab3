// Every view that a decoded message holds: for tests which prove that views stay inside of their message.
#pragma once

#include <string_view>
#include <variant>

#include "decoder/message.h"

namespace walferry {

// Calls `visit(std::string_view)` for each view into the payload, walking tuples, columns and lists to their
// end.
template <typename Visit>
class MessageViews {
 public:
  explicit MessageViews(Visit visit) : visit_(visit) {}

  void Of(const Message& message) const {
    std::visit([this](const auto& m) { (*this)(m); }, message);
  }

  void operator()(const BeginMessage&) const {}
  void operator()(const CommitMessage&) const {}
  void operator()(const OriginMessage& m) const { visit_(m.name); }
  void operator()(const RelationMessage& m) const {
    Schema(m.schema);
    visit_(m.name);
    m.columns.ForEach([this](const RelationColumnView& column) { visit_(column.name); });
  }
  void operator()(const TypeMessage& m) const {
    Schema(m.schema);
    visit_(m.name);
  }
  void operator()(const InsertMessage& m) const { Tuple(m.new_tuple); }
  void operator()(const UpdateMessage& m) const {
    Tuple(m.old_tuple);
    Tuple(m.new_tuple);
  }
  void operator()(const DeleteMessage& m) const { Tuple(m.old_tuple); }
  void operator()(const TruncateMessage& m) const {
    Oid all = 0;
    for (std::size_t i = 0; i < m.relation_ids.size(); ++i) all ^= m.relation_ids[i];
    [[maybe_unused]] const volatile Oid read = all;
  }
  void operator()(const LogicalMessage& m) const {
    visit_(m.prefix);
    visit_(m.content);
  }
  void operator()(const StreamStartMessage&) const {}
  void operator()(const StreamStopMessage&) const {}
  void operator()(const StreamCommitMessage&) const {}
  void operator()(const StreamAbortMessage&) const {}
  void operator()(const PrepareFields& m) const { visit_(m.gid); }
  void operator()(const CommitPreparedMessage& m) const { visit_(m.gid); }
  void operator()(const RollbackPreparedMessage& m) const { visit_(m.gid); }

 private:
  // The one view that may be a literal.
  void Schema(std::string_view schema) const {
    if (schema != "pg_catalog") visit_(schema);
  }
  void Tuple(const TupleView& tuple) const {
    if (!tuple.empty()) visit_(tuple.bytes());
    for (const ColumnView column : tuple) {
      if (!column.value.empty()) visit_(column.value);
    }
  }

  Visit visit_;
};

}  // namespace walferry
