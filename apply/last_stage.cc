// Tested by tests/apply/last_stage_test.cc.
#include "apply/last_stage.h"

#include <algorithm>
#include <set>
#include <utility>

#include "apply/schema_script.h"

namespace walferry {
namespace {

// In one message: a round trip for so many objects, where all of them can be made.
constexpr std::size_t kObjectsPerMessage = 100;

constexpr std::string_view kOnly = "ALTER TABLE ONLY ";
constexpr std::string_view kAdd = "ADD CONSTRAINT ";
constexpr std::string_view kNotValid = " NOT VALID";

// The end of the first statement: its semicolon. A foreign key has no literals, only quoted names.
std::size_t EndOfStatement(const std::string& sql) {
  bool quoted = false;
  for (std::size_t i = 0; i < sql.size(); ++i) {
    if (sql[i] == '"') quoted = !quoted;
    if (sql[i] == ';' && !quoted) return i;
  }
  return sql.size();
}

// pg_dump leaves ONLY out for a partitioned table.
bool CanComeNotValid(const std::string& sql) {
  const std::string statement = sql.substr(0, EndOfStatement(sql));
  return statement.starts_with(kOnly) && statement.find(kAdd) != std::string::npos &&
         !statement.ends_with(kNotValid);
}

// The identifier at the beginning of `text`, as it stands there.
std::string_view LeadingIdentifier(std::string_view text) {
  bool quoted = false;
  std::size_t end = 0;
  for (; end < text.size(); ++end) {
    if (text[end] == '"') quoted = !quoted;
    if (!quoted && (text[end] == ' ' || text[end] == '\n')) break;
  }
  return text.substr(0, end);
}

bool LacksAnotherObject(const absl::Status& status) {
  static const std::set<std::string> kCodes = {"42P01", "42704", "42883", "42803"};
  return kCodes.contains(SqlstateOf(status));
}

std::string StatementOf(const SchemaObject& object) {
  return object.stage == ObjectStage::kForeignKey ? WithNotValid(object.sql) : object.sql;
}

// One message with a savepoint of its own. The connection stands before it where it failed.
absl::Status MakeTogether(Connection& target, const std::vector<SchemaObject>& objects, std::size_t begin,
                          std::size_t end) {
  std::string sql = "SAVEPOINT walferry;\n";
  for (std::size_t i = begin; i < end; ++i) sql += StatementOf(objects[i]) + "\n;\n";
  sql += "RELEASE SAVEPOINT walferry";
  const absl::Status made = target.Execute(sql).status();
  if (!made.ok() && target.alive()) (void)target.Execute("ROLLBACK TO SAVEPOINT walferry");
  return made;
}

// Those that were not made because they lack another one stay in `objects`.
absl::Status MakeOneByOne(Connection& target, std::vector<SchemaObject>& objects, absl::Status& lacking) {
  std::vector<SchemaObject> deferred;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const absl::Status made = MakeTogether(target, objects, i, i + 1);
    if (made.ok()) continue;
    const absl::Status named = Annotate(made, objects[i].kind + " " + objects[i].name);
    if (!LacksAnotherObject(made)) return named;
    lacking = named;
    deferred.push_back(std::move(objects[i]));
  }
  objects = std::move(deferred);
  return absl::OkStatus();
}

absl::Status MakeAll(Connection& target, const std::vector<SchemaObject>& objects) {
  std::vector<SchemaObject> left;
  for (std::size_t begin = 0; begin < objects.size(); begin += kObjectsPerMessage) {
    const std::size_t end = std::min(objects.size(), begin + kObjectsPerMessage);
    if (MakeTogether(target, objects, begin, end).ok()) continue;
    if (!target.alive()) return target.LastError();
    left.insert(left.end(), objects.begin() + static_cast<std::ptrdiff_t>(begin),
                objects.begin() + static_cast<std::ptrdiff_t>(end));
  }
  while (!left.empty()) {
    const std::size_t before = left.size();
    absl::Status lacking;
    WF_RETURN_IF_ERROR(MakeOneByOne(target, left, lacking));
    if (left.size() == before) return lacking;
  }
  return absl::OkStatus();
}

}  // namespace

std::string WithNotValid(const std::string& foreign_key_sql) {
  if (!CanComeNotValid(foreign_key_sql)) return foreign_key_sql;
  std::string sql = foreign_key_sql;
  sql.insert(EndOfStatement(sql), kNotValid);
  return sql;
}

std::string ValidationOf(const std::string& foreign_key_sql) {
  if (!CanComeNotValid(foreign_key_sql)) return {};
  const std::string_view rest = std::string_view(foreign_key_sql).substr(kOnly.size());
  const std::string_view table = LeadingIdentifier(rest);
  const std::string_view constraint =
      LeadingIdentifier(rest.substr(rest.find(kAdd, table.size()) + kAdd.size()));
  return absl::StrFormat("ALTER TABLE %s VALIDATE CONSTRAINT %s;", table, constraint);
}

LastStage PlanLastStage(const std::vector<SchemaObject>& objects, const ObjectCatalog& there) {
  LastStage stage;
  for (const SchemaObject& object : objects) {
    if (object.kind == kRefreshKind) {
      stage.refreshes.push_back(object);
      continue;
    }
    const bool is_there = there.IsThere(object);
    if (object.kind == kEventTriggerKind) {
      if (!is_there) stage.event_triggers.push_back(object);
      continue;
    }
    if (object.stage < ObjectStage::kForeignKey) continue;
    if (!is_there) stage.switching.push_back(object);
    if (object.stage != ObjectStage::kForeignKey || (is_there && !there.IsUnvalidated(object))) continue;
    SchemaObject validation = object;
    validation.sql = ValidationOf(object.sql);
    if (!validation.sql.empty()) stage.validations.push_back(std::move(validation));
  }
  return stage;
}

absl::Status MakeInTransaction(Connection& target, const std::string& migration, const LastStage& stage) {
  WF_RETURN_IF_ERROR(MakeAll(target, stage.switching));
  std::set<std::int64_t> unvalidated;
  for (const SchemaObject& object : stage.validations) unvalidated.insert(object.id);
  std::vector<std::int64_t> done;
  for (const SchemaObject& object : stage.switching) {
    if (!object.done && !unvalidated.contains(object.id)) done.push_back(object.id);
  }
  return MarkObjectsDone(target, migration, done);
}

}  // namespace walferry
