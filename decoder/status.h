// The error vocabulary of all folders, and the only place that bridges Abseil's views and std's
// (Debian 12's absl::string_view is not std::string_view).
//
//   kDataLoss            malformed bytes from the wire: the text names LSN, offset and message type
//   kFailedPrecondition  the operator must act (slot lost, wal_level, missing privilege, schema mismatch)
//   kInvalidArgument     wrong usage
//   kUnavailable         a connection was refused or lost: worth trying again
//   kAborted             another writer won, or the position is not the expected one
//   kResourceExhausted   a limit was hit (disk full, memory budget)
//   kCancelled           a stop was requested
//   kInternal            a bug of ours
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"

namespace walferry {

// Builds a status from a printf-like format. std::string_view arguments are fine.
template <typename... Args>
absl::Status Errorf(absl::StatusCode code, const absl::FormatSpec<Args...>& format, const Args&... args) {
  return absl::Status(code, absl::StrFormat(format, args...));
}

inline std::string_view MessageOf(const absl::Status& status) {
  return std::string_view(status.message().data(), status.message().size());
}

// The same code and payloads, with `context` and ": " put before the text.
inline absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrFormat("%s: %s", context, MessageOf(status)));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& value) { annotated.SetPayload(url, value); });
  return annotated;
}

}  // namespace walferry

#define WF_CONCAT_INNER(a, b) a##b
#define WF_CONCAT(a, b) WF_CONCAT_INNER(a, b)

#define WF_RETURN_IF_ERROR(expression)                                            \
  do {                                                                            \
    if (absl::Status wf_status = (expression); !wf_status.ok()) return wf_status; \
  } while (false)

#define WF_ASSIGN_OR_RETURN(declaration, expression)                                          \
  auto WF_CONCAT(wf_result_, __LINE__) = (expression);                                        \
  if (!WF_CONCAT(wf_result_, __LINE__).ok()) return WF_CONCAT(wf_result_, __LINE__).status(); \
  declaration = *std::move(WF_CONCAT(wf_result_, __LINE__))
