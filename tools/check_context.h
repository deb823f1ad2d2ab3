// What the single checks share. Each group of checks is one file: check_source_server.cc,
// check_source_tables.cc, check_target_server.cc, check_target_tables.cc, check_schema.cc (of the source),
// check_schema_target.cc, check_left_behind.cc (what is not carried).
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apply/state.h"
#include "stream/connection.h"
#include "tools/check.h"
#include "tools/provider.h"

namespace walferry {

inline constexpr char kCheckApplicationName[] = "walferry check";

struct CheckContext {
  const CheckOptions& options;
  const StopSignal& stop;
  Connection& source;
  Connection* target;  // nullptr where none was given.
  Provider source_provider = Provider::kSelfHosted;
  Provider target_provider = Provider::kSelfHosted;
  std::vector<SourceTable> all_tables = {};
  std::vector<SourceTable> tables = {};                     // Those chosen.
  std::optional<MigrationRecord> migration = std::nullopt;  // This migration's own state, if it has begun.
  CheckReport& report;
};

// One check, while it runs: adds its outcome to the report.
class CheckRun {
 public:
  CheckRun(CheckReport& report, std::string id, CheckSide side, std::string subject)
      : report_(report), id_(std::move(id)), side_(side), subject_(std::move(subject)) {}

  void Pass(std::string evidence) { Add(CheckLevel::kPass, std::move(evidence), ""); }
  void Warn(std::string evidence, std::string fix) {
    Add(CheckLevel::kWarn, std::move(evidence), std::move(fix));
  }
  void Block(std::string evidence, std::string fix) {
    Add(CheckLevel::kBlock, std::move(evidence), std::move(fix));
  }

 private:
  void Add(CheckLevel level, std::string evidence, std::string fix) {
    report_.checks.push_back({id_, side_, level, subject_, std::move(evidence), std::move(fix)});
  }

  CheckReport& report_;
  const std::string id_;
  const CheckSide side_;
  const std::string subject_;
};

// What a check is for: a first copy as well as a stream, or the stream alone.
enum class CheckNeed { kCopy, kStream };

struct CheckDefinition {
  const char* id;
  CheckSide side;
  const char* subject;
  absl::Status (*run)(CheckContext& context, CheckRun& check);
  CheckNeed need = CheckNeed::kCopy;
};

std::span<const CheckDefinition> SourceServerChecks();
std::span<const CheckDefinition> SourceTableChecks();
std::span<const CheckDefinition> TargetServerChecks();
std::span<const CheckDefinition> TargetTableChecks();
std::span<const CheckDefinition> SourceSchemaChecks();
std::span<const CheckDefinition> TargetSchemaChecks();
std::span<const CheckDefinition> LeftBehindChecks();
// All of them, by group. Which step of a migration needs which check stands in migration_steps.cc.
std::vector<CheckDefinition> AllChecks();

// "a, b, c and 4 more": the first few of many, for evidence.
std::string ListSome(const std::vector<std::string>& items, std::size_t at_most = 5);

// The oids of the chosen tables as a literal of an array: "{16385,16390}".
std::string ChosenOids(const CheckContext& context);
// The names of the chosen tables as JSON, [["schema","name"],…], for json_array_elements.
std::string ChosenNames(const CheckContext& context);

// How many sessions more the server gives to this one's user in this database: what max_connections, and the
// limits of the role and of the database, leave.
struct SessionRoom {
  std::int64_t free = 0;
  std::string limit;  // What leaves so few: "max_connections", "CONNECTION LIMIT of role app".
};
absl::StatusOr<SessionRoom> FindSessionRoom(Connection& connection);

// Ends `session`, and waits, for two seconds at most, until `watcher` does not see its server process any
// more: a server counts a session for a while after its client has closed it, and what is free would be told
// too low.
absl::Status EndSession(Connection session, Connection& watcher);

// Whether what is behind `connection` hands out a server session per transaction (PgBouncer and its kin): a
// second session is opened from `conninfo` and found on the first one's backend. The reason, or empty where
// it is not so.
absl::StatusOr<std::string> FindTransactionPooler(Connection& connection, const std::string& conninfo,
                                                  const StopSignal& stop);

}  // namespace walferry
