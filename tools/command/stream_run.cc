#include "tools/command/stream_run.h"

#include <nlohmann/json.hpp>

#include "tools/follow_display.h"
#include "tools/log.h"
#include "tools/quantity.h"

namespace walferry {
namespace {

void Report(const CommandContext& context, const Migration& migration, const FollowResult& result) {
  if (context.globals.json) {
    const nlohmann::ordered_json json = {
        {"name", migration.record().name},   {"phase", PhaseName(migration.record().phase)},
        {"stopped", result.stopped},         {"confirmed", result.runtime.confirmed.ToString()},
        {"changes", result.runtime.changes}, {"transactions", result.runtime.transactions}};
    context.out << json.dump() << "\n";
    return;
  }
  LogInfo("%s at %s after %s changes in %s transactions; everything before is durable on the target",
          result.stopped ? "stopped" : "done", result.runtime.confirmed.ToString(),
          FormatCount(static_cast<std::int64_t>(result.runtime.changes)),
          FormatCount(static_cast<std::int64_t>(result.runtime.transactions)));
}

}  // namespace

absl::StatusOr<ExitCode> StreamAndReport(const StreamFlags& flags, const CommandContext& context,
                                         Migration& migration) {
  WF_ASSIGN_OR_RETURN(const FollowUntil until, MakeUntil(context.globals, flags));
  WF_ASSIGN_OR_RETURN(const std::unique_ptr<FollowDisplay> display,
                      FollowDisplay::Start(flags.metrics_listen));
  WF_ASSIGN_OR_RETURN(const FollowResult result,
                      migration.Stream(until, [&](const RuntimeSnapshot& now) { display->Show(now); }));
  Report(context, migration, result);
  return ExitCode::kDone;
}

}  // namespace walferry
