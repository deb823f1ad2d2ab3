#include "tools/dump_writer.h"

#include <algorithm>
#include <type_traits>

#include "decoder/describe.h"
#include "tools/dump_json.h"

namespace walferry {
namespace {

bool Opens(const Message& message) {
  return std::holds_alternative<BeginMessage>(message) ||
         std::holds_alternative<BeginPrepareMessage>(message) ||
         std::holds_alternative<StreamStartMessage>(message);
}

}  // namespace

DumpWriter::DumpWriter(const DumpOptions& options, const std::vector<SourceTable>& known_tables,
                       std::ostream& out)
    : options_(options), out_(out) {
  for (const SourceTable& table : known_tables) known_.emplace(table.name, &table);
}

bool DumpWriter::Chosen(const Relation* relation) const {
  if (relation == nullptr) return true;  // Nothing is known about it: better shown than lost.
  const TableName name{relation->schema, relation->name};
  const auto known = known_.find(name);
  return known != known_.end() ? options_.tables.Matches(*known->second) : options_.tables.Matches(name);
}

DumpWriter::Verdict DumpWriter::Judge(const DumpedMessage& message) const {
  if (options_.xid && message.xid != options_.xid) return Verdict::kHide;
  if (options_.tables.selects_all()) return Verdict::kShow;
  const bool shown = std::visit(
      [&](const auto& m) {
        using Kind = std::decay_t<decltype(m)>;
        if constexpr (std::is_same_v<Kind, InsertMessage> || std::is_same_v<Kind, UpdateMessage> ||
                      std::is_same_v<Kind, DeleteMessage> || std::is_same_v<Kind, RelationMessage>) {
          return Chosen(message.relation);
        } else if constexpr (std::is_same_v<Kind, TruncateMessage>) {
          return std::any_of(message.truncated.begin(), message.truncated.end(),
                             [this](const Relation* relation) { return Chosen(relation); });
        } else {
          return false;
        }
      },
      message.message);
  if (shown) return Verdict::kShow;
  return message.relation == nullptr && message.truncated.empty() ? Verdict::kFrame : Verdict::kHide;
}

void DumpWriter::Write(const DumpedMessage& message, std::size_t payload_bytes) {
  switch (Judge(message)) {
    case Verdict::kHide:
      return;
    case Verdict::kFrame:
      WriteFrame(message, payload_bytes);
      return;
    case Verdict::kShow:
      out_ << waiting_;
      waiting_.clear();
      if (message.xid) shown_.insert(*message.xid);
      Emit(message, payload_bytes);
      return;
  }
}

void DumpWriter::WriteFrame(const DumpedMessage& message, std::size_t payload_bytes) {
  if (!message.xid) return;  // A logical message outside of transactions is of no table.
  if (options_.stats) {
    stats_.Count(message, payload_bytes);
    return;
  }
  if (Opens(message.message)) {
    waiting_ = Line(message);
  } else if (!waiting_.empty() && std::holds_alternative<OriginMessage>(message.message)) {
    waiting_ += Line(message);
  } else if (!waiting_.empty() && !std::holds_alternative<TypeMessage>(message.message) &&
             !std::holds_alternative<LogicalMessage>(message.message)) {
    waiting_.clear();
  } else if (waiting_.empty() && shown_.contains(*message.xid)) {
    Emit(message, payload_bytes);
  }
}

void DumpWriter::Emit(const DumpedMessage& message, std::size_t payload_bytes) {
  if (options_.stats) {
    stats_.Count(message, payload_bytes);
  } else {
    out_ << Line(message);
  }
}

std::string DumpWriter::Line(const DumpedMessage& message) const {
  if (options_.format == DumpFormat::kJson) return DumpJson(message) + "\n";
  std::string line = absl::StrFormat("%-14s %s", message.lsn.valid() ? message.lsn.ToString() : "-",
                                     Describe(message.message, message.relation));
  for (const Relation* relation : message.truncated) {
    if (relation != nullptr) line += " " + relation->FullName();
  }
  line += '\n';
  return line;
}

void DumpWriter::Finish() {
  if (options_.stats) out_ << (options_.format == DumpFormat::kJson ? stats_.Json() : stats_.Text());
}

}  // namespace walferry
