// Tested by tests/servers/cutover_gate_test.cc.
#include "tools/last_error.h"

namespace walferry {
namespace {

constexpr char kError[] = "error";
constexpr char kStream[] = "stream";
// Other events that may stand behind it.
constexpr int kEventsMax = 1000;

}  // namespace

absl::Status NoteStreamBegins(Connection& target, const std::string& name) {
  return AddEvent(target, name, kStream, "begun");
}

bool IsLasting(const absl::Status& error) {
  return !error.ok() && !absl::IsCancelled(error) && !absl::IsUnavailable(error);
}

absl::Status NoteStreamError(Connection& target, const std::string& name, const absl::Status& error) {
  return AddEvent(target, name, kError, std::string(MessageOf(error)));
}

absl::StatusOr<std::optional<EventRecord>> LoadLastError(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(const std::vector<EventRecord> events, LoadEvents(target, name, kEventsMax));
  for (auto event = events.rbegin(); event != events.rend(); ++event) {  // The newest is the last.
    if (event->kind == kStream) break;
    if (event->kind == kError) return *event;
  }
  return std::nullopt;
}

}  // namespace walferry
