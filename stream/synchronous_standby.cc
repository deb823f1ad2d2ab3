// Tested by tests/stream/session_settings_test.cc and tests/stream/session_refusal_test.cc
#include "stream/synchronous_standby.h"

#include <cctype>

#include "absl/strings/match.h"

namespace walferry {
namespace {

bool IsSeparator(char c) {
  return c == ',' || c == '(' || c == ')' || std::isspace(static_cast<unsigned char>(c)) != 0;
}

// The next name, number or word of the setting; empty at its end. syncrep_scanner.l
std::string TakeToken(std::string_view& text) {
  while (!text.empty() && IsSeparator(text.front())) text.remove_prefix(1);
  std::string token;
  const bool quoted = text.starts_with('"');
  if (quoted) text.remove_prefix(1);
  while (!text.empty()) {
    const char c = text.front();
    if (!quoted && (IsSeparator(c) || c == '"')) break;
    text.remove_prefix(1);
    if (quoted && c == '"' && !text.starts_with('"')) break;
    if (quoted && c == '"') text.remove_prefix(1);
    token += c;
  }
  return token;
}

}  // namespace

// Names are compared without regard to case, and * stands for all, quoted or not (SyncRepGetStandbyPriority).
// Words and numbers of the syntax count as names, too: an application of that name is an odd one.
bool NamesAsSynchronousStandby(std::string_view synchronous_standby_names,
                               std::string_view application_name) {
  const absl::string_view wanted(application_name.data(), application_name.size());
  std::string_view rest = synchronous_standby_names;
  for (std::string token = TakeToken(rest); !token.empty(); token = TakeToken(rest)) {
    if (token == "*" || absl::EqualsIgnoreCase(token, wanted)) return true;
  }
  return false;
}

absl::Status CheckNotSynchronousStandby(Connection& source, const std::string& application_name) {
  WF_ASSIGN_OR_RETURN(const Result row, source.Execute("SHOW synchronous_standby_names"));
  const std::string_view names = row.Get(0, 0);
  if (!NamesAsSynchronousStandby(names, application_name)) return absl::OkStatus();
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "synchronous_standby_names of the source is '%s', which takes walferry's connection (%s) for a "
      "synchronous standby, so that commits on the source would wait for the target: name the real "
      "standbys there one by one instead (ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 "
      "(name, …)'; SELECT pg_reload_conf())",
      names, application_name);
}

absl::StatusOr<std::string> ApplicationNameInForce(Connection& connection) {
  WF_ASSIGN_OR_RETURN(const Result row, connection.Execute("SHOW application_name"));
  return std::string(row.Get(0, 0));
}

}  // namespace walferry
