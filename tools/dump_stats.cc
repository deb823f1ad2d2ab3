#include "tools/dump_stats.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/quantity.h"

namespace walferry {

void DumpStats::Count(const DumpedMessage& message, std::size_t payload_bytes) {
  const auto bytes = static_cast<std::int64_t>(payload_bytes);
  const std::string kind(std::visit([](const auto& m) { return NameOf(m.kType); }, message.message));
  std::string table = message.relation != nullptr ? message.relation->FullName() : "";
  if (table.empty() && !message.truncated.empty() && message.truncated.front() != nullptr) {
    table = message.truncated.front()->FullName();
  }
  for (Sum* sum : {&kinds_[{table, kind}], &all_}) {
    ++sum->messages;
    sum->bytes += bytes;
    sum->largest_bytes = std::max(sum->largest_bytes, bytes);
  }
  if (message.xid) open_bytes_[*message.xid] += bytes;
  CloseTransaction(message);
}

void DumpStats::CloseTransaction(const DumpedMessage& message) {
  if (!message.xid) return;
  const auto* abort = std::get_if<StreamAbortMessage>(&message.message);
  const bool aborted = abort != nullptr && abort->xid == abort->subxid;
  const bool ended = std::holds_alternative<CommitMessage>(message.message) ||
                     std::holds_alternative<StreamCommitMessage>(message.message) ||
                     std::holds_alternative<PrepareMessage>(message.message) ||
                     std::holds_alternative<StreamPrepareMessage>(message.message);
  if (!aborted && !ended) return;
  ++(aborted ? rolled_back_ : transactions_);
  const std::int64_t bytes = open_bytes_[*message.xid];
  open_bytes_.erase(*message.xid);
  if (bytes <= largest_transaction_bytes_) return;
  largest_transaction_bytes_ = bytes;
  largest_transaction_xid_ = *message.xid;
}

std::string DumpStats::Text() const {
  std::string text =
      absl::StrFormat("%-40s %-16s %12s %10s %10s\n", "table", "kind", "messages", "bytes", "largest");
  for (const auto& [key, sum] : kinds_) {
    absl::StrAppendFormat(&text, "%-40s %-16s %12s %10s %10s\n", key.first.empty() ? "-" : key.first,
                          key.second, FormatCount(sum.messages), FormatBytes(static_cast<double>(sum.bytes)),
                          FormatBytes(static_cast<double>(sum.largest_bytes)));
  }
  absl::StrAppendFormat(&text, "%-40s %-16s %12s %10s %10s\n", "all", "", FormatCount(all_.messages),
                        FormatBytes(static_cast<double>(all_.bytes)),
                        FormatBytes(static_cast<double>(all_.largest_bytes)));
  absl::StrAppendFormat(&text, "%s transactions", FormatCount(transactions_));
  if (rolled_back_ > 0)
    absl::StrAppendFormat(&text, ", %s rolled back while streamed", FormatCount(rolled_back_));
  if (largest_transaction_bytes_ > 0) {
    absl::StrAppendFormat(&text, ", the largest is xid %d with %s", largest_transaction_xid_,
                          FormatBytes(static_cast<double>(largest_transaction_bytes_)));
  }
  return text + "\n";
}

std::string DumpStats::Json() const {
  nlohmann::ordered_json kinds = nlohmann::ordered_json::array();
  for (const auto& [key, sum] : kinds_) {
    kinds.push_back(
        {{"table", key.first.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(key.first)},
         {"kind", key.second},
         {"messages", sum.messages},
         {"bytes", sum.bytes},
         {"largest_bytes", sum.largest_bytes}});
  }
  const nlohmann::ordered_json json = {
      {"messages", all_.messages},
      {"bytes", all_.bytes},
      {"transactions", transactions_},
      {"rolled_back", rolled_back_},
      {"largest_transaction", {{"xid", largest_transaction_xid_}, {"bytes", largest_transaction_bytes_}}},
      {"kinds", kinds}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace walferry
