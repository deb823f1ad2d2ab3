#include "stream/sqlstate.h"

#include <algorithm>
#include <array>

#include "absl/strings/cord.h"

namespace walferry {
namespace {

constexpr char kPayload[] = "walferry/sqlstate";

template <std::size_t n>
bool Contains(const std::array<std::string_view, n>& list, std::string_view sqlstate) {
  return std::find(list.begin(), list.end(), sqlstate) != list.end();
}

// Class 22 are errors about data, except where a setting or the shape of a COPY stream is meant.
bool QuotesData(std::string_view sqlstate) {
  return sqlstate.starts_with("22") && sqlstate != "22023" && sqlstate != "22P04";
}

std::string WithoutQuotedText(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t open = text.find('"');
    out.append(text.substr(0, open));
    if (open == std::string_view::npos) break;
    out.append("\"...\"");
    // The value itself may hold quotes: up to the last one.
    text = text.substr(std::max(text.rfind('"'), open) + 1);
  }
  return out;
}

}  // namespace

std::string SqlstateOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  return payload.has_value() ? std::string(*payload) : std::string();
}

absl::Status WithSqlstate(absl::Status status, std::string_view sqlstate) {
  if (!sqlstate.empty()) status.SetPayload(kPayload, absl::Cord(std::string(sqlstate)));
  return status;
}

absl::StatusCode CodeOfSqlstate(std::string_view sqlstate) {
  // Connection exceptions; the server stops, crashed, starts or ended an idle session; no connection left; a
  // statement that somebody else cancelled.
  static constexpr std::array<std::string_view, 6> kAway = {"57P01", "57P02", "57P03",
                                                            "57P05", "53300", "57014"};
  if (sqlstate.starts_with("08") || Contains(kAway, sqlstate)) return absl::StatusCode::kUnavailable;
  if (sqlstate.starts_with("53")) return absl::StatusCode::kResourceExhausted;
  if (sqlstate.starts_with("40")) return absl::StatusCode::kAborted;
  return absl::StatusCode::kFailedPrecondition;
}

absl::Status OfStatement(const absl::Status& error) {
  const std::string sqlstate = SqlstateOf(error);
  if (!sqlstate.starts_with("08")) return error;
  return WithSqlstate(absl::FailedPreconditionError(error.message()), sqlstate);
}

std::string ServerMessage(std::string_view sqlstate, std::string_view primary, std::string_view detail,
                          std::string_view hint) {
  std::string text = QuotesData(sqlstate) ? WithoutQuotedText(primary) : std::string(primary);
  const bool detail_is_data = QuotesData(sqlstate) || sqlstate.starts_with("23");
  if (!detail.empty() && !detail_is_data) text.append(" (").append(detail).append(")");
  if (!hint.empty() && !detail_is_data) text.append(" Hint: ").append(hint);
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

bool IsUndefinedTable(const absl::Status& status) {
  const std::string sqlstate = SqlstateOf(status);
  return sqlstate == "42P01" || sqlstate == "3F000";
}

bool IsRetryable(const absl::Status& status) {
  if (status.ok() || absl::IsCancelled(status)) return false;
  if (absl::IsUnavailable(status)) return true;
  const std::string sqlstate = SqlstateOf(status);
  // Serialization failure, deadlock, object in use (a slot that its last reader still holds), lock not
  // available, a standby or a primary that became one, disk full, out of memory.
  static constexpr std::array<std::string_view, 7> kPassing = {"40001", "40P01", "55006", "55P03",
                                                               "25006", "53100", "53200"};
  if (Contains(kPassing, sqlstate)) return true;
  // A managed server that runs out of disk refuses writes with an internal error until it has been given
  // more.
  return sqlstate == "XX000" && MessageOf(status).find("read-only") != std::string_view::npos;
}

}  // namespace walferry
