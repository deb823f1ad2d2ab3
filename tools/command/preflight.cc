#include "tools/command/preflight.h"

#include "tools/check.h"
#include "tools/log.h"

namespace walferry {

absl::StatusOr<bool> NothingBlocks(const CommandContext& context, const MigrationOptions& options,
                                   bool streams) {
  CheckOptions check;
  check.source = options.source;
  check.target = options.target;
  check.name = options.name;
  check.tables = options.tables;
  check.copy_schema = options.copy_schema;
  check.inserts_only = options.inserts_only;
  check.leaves_large_objects = options.leaves_large_objects;
  check.allow_insecure_target = options.allow_insecure_target;
  check.streams = streams;
  WF_ASSIGN_OR_RETURN(const CheckReport report, RunChecks(check, context.stop));
  for (const Check& found : report.checks) {
    if (found.level == CheckLevel::kPass) continue;
    const LogLevel level = found.level == CheckLevel::kBlock ? LogLevel::kError : LogLevel::kWarn;
    Log(level, found.fix.empty()
                   ? absl::StrFormat("%s: %s", found.subject, found.evidence)
                   : absl::StrFormat("%s: %s. Fix: %s", found.subject, found.evidence, found.fix));
  }
  if (!report.ok()) LogError("the checks found blockers: nothing was changed on either side");
  return report.ok();
}

}  // namespace walferry
