// Whether a migration can work, found out beforehand and without changing anything on either side.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "stream/stop_signal.h"
#include "tools/migration_steps.h"
#include "tools/table_filter.h"

namespace walferry {

enum class CheckLevel { kPass, kWarn, kBlock };
std::string_view CheckLevelName(CheckLevel level);  // "PASS", "WARN", "BLOCK"

enum class CheckSide { kSource, kTarget, kBoth };
std::string_view CheckSideName(CheckSide side);  // "source", "target", "both"

struct Check {
  std::string id;  // Stable: "wal-level".
  CheckSide side = CheckSide::kSource;
  CheckLevel level = CheckLevel::kPass;
  std::string subject;   // What was looked at, for people.
  std::string evidence;  // What was found.
  std::string fix;       // What the operator can do about it, for the provider at hand; empty with kPass.
};

struct CheckReport {
  std::vector<Check> checks;
  int count(CheckLevel level) const;
  // No blocker.
  bool ok() const { return count(CheckLevel::kBlock) == 0; }
};

struct CheckOptions {
  std::string source;  // conninfo
  std::string target;  // conninfo; empty: only the source is looked at.
  std::string name = "walferry";
  TableFilter tables;
  bool copy_schema = true;  // --schema copy: tables of the target are made by the migration.
  bool allow_insecure_target = false;
  bool inserts_only = false;              // --no-identity insert-only
  bool leaves_large_objects = false;      // --large-objects leave
  std::vector<MigrationStep> steps = {};  // Only what these need; empty: everything.
  bool streams = true;  // Changes follow. A copy alone needs no decoding, no slot and no publication.
};

// Connects to both sides in read-only sessions with a statement_timeout of 30 s. A check whose query is
// refused becomes a warning that says so; an error is returned only where a side could not be reached.
absl::StatusOr<CheckReport> RunChecks(const CheckOptions& options, const StopSignal& stop);

// For people: a table by side, with a summary at the end. passes: also those that passed.
std::string CheckReportText(const CheckReport& report, bool passes);
// {"ok":bool,"checks":[{"id","side","level","subject","evidence","fix"}]}
std::string CheckReportJson(const CheckReport& report);

}  // namespace walferry
