// Tested by tests/apply/state_test.cc.
#include "apply/state.h"

#include <algorithm>
#include <array>

#include "apply/parameter_rows.h"

namespace walferry {
namespace {

constexpr std::array<std::string_view, 10> kPhaseNames = {
    "check", "publication", "slot", "schema", "copy", "indexes", "catch-up", "follow", "cutover", "done"};
constexpr std::array<std::string_view, 4> kTablePhaseNames = {"waiting", "copying", "copied", "dropped"};
constexpr std::array<std::string_view, 5> kObjectStageNames = {"pre-data", "index", "attach", "foreign key",
                                                               "trigger"};

// First half of the key of the writer's advisory lock; the second is a hash of the migration's name.
constexpr std::string_view kWriterLock = "2002871925, pg_catalog.hashtext($1)";

template <typename Enum, std::size_t n>
absl::StatusOr<Enum> ParseName(const std::array<std::string_view, n>& names, std::string_view name,
                               std::string_view what) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    return Errorf(absl::StatusCode::kFailedPrecondition, "unknown %s \"%s\" in schema walferry", what, name);
  }
  return static_cast<Enum>(found - names.begin());
}

absl::StatusOr<Lsn> GetLsn(const Result& result, int row, int column) {
  return Lsn::Parse(result.Get(row, column));
}

std::string_view BoolText(bool value) {
  return value ? "true" : "false";
}

absl::Status ExpectOneRow(const absl::StatusOr<Result>& result, const std::string& name) {
  if (!result.ok()) return result.status();
  if (result->affected() == 1) return absl::OkStatus();
  return Errorf(absl::StatusCode::kFailedPrecondition,
                "the state of migration \"%s\" is gone from schema walferry of the target", name);
}

absl::Status ExpectTable(const absl::StatusOr<Result>& result, const std::string& name,
                         const TableName& table) {
  if (!result.ok()) return result.status();
  if (result->affected() == 1) return absl::OkStatus();
  return Errorf(absl::StatusCode::kFailedPrecondition, "table %s is not part of migration \"%s\"",
                table.ToString(), name);
}

// Runs `before` VALUES … `after` with the rows as parameters, some thousand a statement.
absl::Status ExecuteWithRows(Connection& target, const std::string& name, const std::string& before,
                             const std::vector<std::vector<std::string>>& rows, const std::string& after) {
  for (std::size_t begin = 0; begin < rows.size(); begin += kRowsPerStatement) {
    const std::size_t end = std::min(rows.size(), begin + kRowsPerStatement);
    std::vector<Parameter> parameters = {name};
    for (std::size_t row = begin; row < end; ++row) {
      parameters.insert(parameters.end(), rows[row].begin(), rows[row].end());
    }
    const std::string sql =
        before + " (VALUES " + ParameterRows(end - begin, rows[begin].size(), 2) + ") " + after;
    WF_RETURN_IF_ERROR(target.Execute(sql, parameters).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<MigrationRecord> ReadMigration(const Result& row) {
  MigrationRecord record;
  record.name = row.Get(0, 0);
  WF_ASSIGN_OR_RETURN(record.phase, ParsePhase(row.Get(0, 1)));
  record.system_id = row.Get(0, 2);
  record.timeline = row.GetInt(0, 3);
  record.source_database = row.Get(0, 4);
  record.slot = row.Get(0, 5);
  record.publication = row.Get(0, 6);
  record.owns_slot = row.GetBool(0, 7);
  record.owns_publication = row.GetBool(0, 8);
  record.copies_schema = row.GetBool(0, 9);
  record.lanes = static_cast<int>(row.GetInt(0, 10));
  WF_ASSIGN_OR_RETURN(record.slot_lsn, GetLsn(row, 0, 11));
  WF_ASSIGN_OR_RETURN(record.confirmed, GetLsn(row, 0, 12));
  WF_ASSIGN_OR_RETURN(record.copy_lsn, GetLsn(row, 0, 13));
  record.stop_requested = row.GetBool(0, 14);
  record.heartbeat_age_ms = row.IsNull(0, 15) ? -1 : row.GetInt(0, 15);
  record.runtime = row.Get(0, 16);
  record.choice = row.Get(0, 17);
  record.publication_catalog = row.Get(0, 18);
  record.insert_publication = row.Get(0, 19);
  return record;
}

}  // namespace

std::string_view PhaseName(Phase phase) {
  return kPhaseNames[static_cast<std::size_t>(phase)];
}

absl::StatusOr<Phase> ParsePhase(std::string_view name) {
  return ParseName<Phase>(kPhaseNames, name, "phase");
}

std::string_view TablePhaseName(TablePhase phase) {
  return kTablePhaseNames[static_cast<std::size_t>(phase)];
}

std::string_view ObjectStageName(ObjectStage stage) {
  return kObjectStageNames[static_cast<std::size_t>(stage)];
}

TableCounters& TableCounters::operator+=(const TableCounters& other) {
  inserts += other.inserts;
  updates += other.updates;
  deletes += other.deletes;
  truncates += other.truncates;
  missing_rows += other.missing_rows;
  conflicts += other.conflicts;
  one_by_one += other.one_by_one;
  return *this;
}

absl::StatusOr<bool> TryLockMigration(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(
      Result row,
      target.Execute(absl::StrFormat("SELECT pg_catalog.pg_try_advisory_lock(%s)", kWriterLock), {name}));
  return row.GetBool(0, 0);
}

absl::StatusOr<bool> MigrationIsLocked(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(
      Result row,
      target.Execute(
          "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted "
          "AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) "
          "AND classid = 2002871925 AND objid = pg_catalog.hashtext($1)::oid AND objsubid = 2)",
          {name}));
  return row.GetBool(0, 0);
}

absl::StatusOr<std::optional<MigrationRecord>> LoadMigration(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(
      Result row,
      target.Execute(
          "SELECT name, phase, system_id, timeline, source_database, slot, publication, owns_slot, "
          "owns_publication, copies_schema, lanes, slot_lsn, confirmed, copy_lsn, stop_requested, "
          "(extract(epoch FROM pg_catalog.clock_timestamp() - heartbeat) * 1000)::bigint, runtime, "
          "choice, publication_catalog, insert_publication "
          "FROM walferry.migration WHERE name = $1",
          {name}));
  if (row.rows() == 0) return std::nullopt;
  WF_ASSIGN_OR_RETURN(MigrationRecord record, ReadMigration(row));
  return record;
}

absl::Status InsertMigration(Connection& target, const MigrationRecord& record) {
  return target
      .Execute(
          "INSERT INTO walferry.migration (name, phase, system_id, timeline, source_database, slot, "
          "publication, "
          "owns_slot, owns_publication, copies_schema, lanes, slot_lsn, confirmed, copy_lsn, choice, "
          "publication_catalog, insert_publication) "
          "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
          {record.name, PhaseName(record.phase), record.system_id, std::to_string(record.timeline),
           record.source_database, record.slot, record.publication, BoolText(record.owns_slot),
           BoolText(record.owns_publication), BoolText(record.copies_schema), std::to_string(record.lanes),
           record.slot_lsn.ToString(), record.confirmed.ToString(), record.copy_lsn.ToString(), record.choice,
           record.publication_catalog, record.insert_publication})
      .status();
}

absl::Status UpdateMigration(Connection& target, const MigrationRecord& record) {
  return ExpectOneRow(
      target.Execute(
          "UPDATE walferry.migration SET phase = $2, owns_slot = $3, owns_publication = $4, slot_lsn = $5, "
          "copy_lsn = $6, slot = $7, publication = $8, choice = $9, publication_catalog = $10, "
          "insert_publication = $11 WHERE name = $1",
          {record.name, PhaseName(record.phase), BoolText(record.owns_slot),
           BoolText(record.owns_publication), record.slot_lsn.ToString(), record.copy_lsn.ToString(),
           record.slot, record.publication, record.choice, record.publication_catalog,
           record.insert_publication}),
      record.name);
}

absl::Status RequestStop(Connection& target, const std::string& name, bool requested) {
  return ExpectOneRow(target.Execute("UPDATE walferry.migration SET stop_requested = $2 WHERE name = $1",
                                     {name, BoolText(requested)}),
                      name);
}

absl::StatusOr<bool> WriteHeartbeat(Connection& target, const std::string& name, const std::string& runtime) {
  absl::StatusOr<Result> row = target.Execute(
      "UPDATE walferry.migration SET heartbeat = pg_catalog.clock_timestamp(), runtime = $2 WHERE name = $1 "
      "RETURNING stop_requested",
      {name, runtime});
  WF_RETURN_IF_ERROR(ExpectOneRow(row, name));
  return row->GetBool(0, 0);
}

std::vector<TableName> NamesOf(const std::vector<TableRecord>& tables) {
  std::vector<TableName> names;
  for (const TableRecord& table : tables) names.push_back(table.table);
  return names;
}

absl::StatusOr<std::vector<TableRecord>> LoadTables(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(
      Result rows,
      target.Execute("SELECT schema_name, table_name, phase, position, rows, bytes, inserts, updates, "
                     "deletes, truncates, missing_rows, conflicts, one_by_one, source_oid, catalog, "
                     "needs_copy FROM walferry.table_state "
                     "WHERE migration = $1 ORDER BY schema_name, table_name",
                     {name}));
  std::vector<TableRecord> tables;
  for (int row = 0; row < rows.rows(); ++row) {
    TableRecord record;
    record.table = {std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1))};
    WF_ASSIGN_OR_RETURN(record.phase,
                        ParseName<TablePhase>(kTablePhaseNames, rows.Get(row, 2), "table phase"));
    WF_ASSIGN_OR_RETURN(record.position, GetLsn(rows, row, 3));
    record.rows = rows.GetInt(row, 4);
    record.bytes = rows.GetInt(row, 5);
    record.counters = {rows.GetInt(row, 6),  rows.GetInt(row, 7),  rows.GetInt(row, 8), rows.GetInt(row, 9),
                       rows.GetInt(row, 10), rows.GetInt(row, 11), rows.GetInt(row, 12)};
    record.source_oid = static_cast<Oid>(rows.GetInt(row, 13));
    record.catalog = rows.Get(row, 14);
    record.needs_copy = rows.Get(row, 15);
    tables.push_back(std::move(record));
  }
  return tables;
}

absl::Status AddTables(Connection& target, const std::string& name, const std::vector<TableRecord>& tables) {
  std::vector<std::vector<std::string>> rows;
  for (const TableRecord& table : tables) {
    rows.push_back({table.table.schema, table.table.name, std::string(TablePhaseName(table.phase)),
                    table.position.ToString(), std::to_string(table.source_oid), table.catalog});
  }
  return ExecuteWithRows(
      target, name,
      "INSERT INTO walferry.table_state (migration, schema_name, table_name, phase, position, "
      "source_oid, catalog) SELECT $1, v.s, v.t, v.p, v.l::pg_lsn, v.o::oid, v.c FROM",
      rows, "v (s, t, p, l, o, c) ON CONFLICT DO NOTHING");
}

absl::Status ReplaceTables(Connection& target, const std::string& name,
                           const std::vector<TableRecord>& tables) {
  WF_RETURN_IF_ERROR(
      target.Execute("DELETE FROM walferry.table_state WHERE migration = $1", {name}).status());
  return AddTables(target, name, tables);
}

absl::Status UpdateTableCatalog(Connection& target, const std::string& name, const TableName& table,
                                const TableRecord& record) {
  absl::StatusOr<Result> updated = target.Execute(
      "UPDATE walferry.table_state SET schema_name = $4, table_name = $5, phase = $6, source_oid = $7, "
      "catalog = $8, needs_copy = $9 WHERE migration = $1 AND schema_name = $2 AND table_name = $3",
      {name, table.schema, table.name, record.table.schema, record.table.name, TablePhaseName(record.phase),
       std::to_string(record.source_oid), record.catalog, record.needs_copy});
  return ExpectTable(updated, name, table);
}

absl::Status UpdateTable(Connection& target, const std::string& name, const TableRecord& record) {
  absl::StatusOr<Result> updated = target.Execute(
      "UPDATE walferry.table_state SET phase = $4, position = $5, rows = $6, bytes = $7 "
      "WHERE migration = $1 AND schema_name = $2 AND table_name = $3",
      {name, record.table.schema, record.table.name, TablePhaseName(record.phase), record.position.ToString(),
       std::to_string(record.rows), std::to_string(record.bytes)});
  return ExpectTable(updated, name, record.table);
}

absl::Status BeginTableCopy(Connection& target, const std::string& name, const TableName& table,
                            Lsn position) {
  absl::StatusOr<Result> updated = target.Execute(
      "UPDATE walferry.table_state SET phase = 'copying', position = $4, rows = 0, bytes = 0, ranges = '{}' "
      "WHERE migration = $1 AND schema_name = $2 AND table_name = $3",
      {name, table.schema, table.name, position.ToString()});
  return ExpectTable(updated, name, table);
}

absl::Status FinishCopyRange(Connection& target, const std::string& name, const TableName& table,
                             Lsn position, const CopiedRange& range) {
  WF_ASSIGN_OR_RETURN(
      Result updated,
      target.Execute("UPDATE walferry.table_state SET ranges = ranges || $5::integer, rows = rows + $7, "
                     "bytes = bytes + $8, "
                     "phase = CASE WHEN pg_catalog.cardinality(ranges) + 1 = $6 THEN 'copied' ELSE phase END "
                     "WHERE migration = $1 AND schema_name = $2 AND table_name = $3 AND position = $4 "
                     "AND phase = 'copying' AND $5::integer <> ALL (ranges)",
                     {name, table.schema, table.name, position.ToString(), std::to_string(range.number),
                      std::to_string(range.of), std::to_string(range.rows), std::to_string(range.bytes)}));
  if (updated.affected() == 1) return absl::OkStatus();
  return Errorf(absl::StatusCode::kAborted, "another walferry copies table %s of migration \"%s\", too",
                table.ToString(), name);
}

absl::StatusOr<bool> CopyRangeIsDone(Connection& target, const std::string& name, const TableName& table,
                                     int number) {
  WF_ASSIGN_OR_RETURN(Result row,
                      target.Execute("SELECT $4::integer = ANY (ranges) FROM walferry.table_state "
                                     "WHERE migration = $1 AND schema_name = $2 AND table_name = $3 "
                                     "FOR UPDATE",
                                     {name, table.schema, table.name, std::to_string(number)}));
  return row.rows() == 1 && row.GetBool(0, 0);
}

absl::Status FinishTables(Connection& target, const std::string& name, Lsn position,
                          const std::vector<CopiedTable>& tables) {
  std::vector<Parameter> parameters = {name};
  const std::string at = position.ToString();
  std::vector<std::string> numbers;
  numbers.reserve(2 * tables.size());  // The parameters are views into it.
  for (const CopiedTable& copied : tables) {
    numbers.push_back(std::to_string(copied.rows));
    numbers.push_back(std::to_string(copied.bytes));
    parameters.insert(parameters.end(),
                      {copied.table.schema, copied.table.name, at, *(numbers.end() - 2), numbers.back()});
  }
  WF_ASSIGN_OR_RETURN(
      Result updated,
      target.Execute("UPDATE walferry.table_state t SET phase = 'copied', position = v.position::pg_lsn, "
                     "rows = v.rows::bigint, bytes = v.bytes::bigint, ranges = '{0}' FROM (VALUES " +
                         ParameterRows(tables.size(), 5, 2) +
                         ") v (schema_name, table_name, position, rows, bytes) WHERE t.migration = $1 "
                         "AND t.schema_name = v.schema_name AND t.table_name = v.table_name "
                         "AND t.phase <> 'copied'",
                     parameters));
  if (updated.affected() == static_cast<std::int64_t>(tables.size())) return absl::OkStatus();
  return Errorf(absl::StatusCode::kAborted, "another walferry copies table %s of migration \"%s\", too",
                tables.front().table.ToString(), name);
}

absl::StatusOr<bool> TableIsCopied(Connection& target, const std::string& name, const TableName& table) {
  WF_ASSIGN_OR_RETURN(Result row,
                      target.Execute("SELECT phase = 'copied' FROM walferry.table_state WHERE migration = $1 "
                                     "AND schema_name = $2 AND table_name = $3 FOR UPDATE",
                                     {name, table.schema, table.name}));
  return row.rows() == 1 && row.GetBool(0, 0);
}

absl::Status AddCounters(Connection& target, const std::string& name,
                         const std::map<TableName, TableCounters>& counters) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [table, counted] : counters) {
    rows.push_back({table.schema, table.name, std::to_string(counted.inserts),
                    std::to_string(counted.updates), std::to_string(counted.deletes),
                    std::to_string(counted.truncates), std::to_string(counted.missing_rows),
                    std::to_string(counted.conflicts), std::to_string(counted.one_by_one)});
  }
  return ExecuteWithRows(
      target, name,
      "UPDATE walferry.table_state t SET inserts = t.inserts + v.inserts::bigint, "
      "updates = t.updates + v.updates::bigint, deletes = t.deletes + v.deletes::bigint, "
      "truncates = t.truncates + v.truncates::bigint, missing_rows = t.missing_rows + "
      "v.missing_rows::bigint, "
      "conflicts = t.conflicts + v.conflicts::bigint, one_by_one = t.one_by_one + v.one_by_one::bigint FROM",
      rows,
      "v (schema_name, table_name, inserts, updates, deletes, truncates, missing_rows, conflicts, "
      "one_by_one) "
      "WHERE t.migration = $1 AND t.schema_name = v.schema_name AND t.table_name = v.table_name");
}

absl::Status InsertObjects(Connection& target, const std::string& name,
                           const std::vector<SchemaObject>& objects) {
  std::vector<std::vector<std::string>> rows;
  for (const SchemaObject& object : objects) {
    rows.push_back({std::to_string(object.id), std::string(ObjectStageName(object.stage)), object.kind,
                    object.name, object.sql, std::string(BoolText(object.done))});
  }
  return ExecuteWithRows(target, name,
                         "INSERT INTO walferry.schema_object (migration, id, stage, kind, name, sql, done) "
                         "SELECT $1, v.id::bigint, v.stage, v.kind, v.name, v.sql, v.done::boolean FROM",
                         rows, "v (id, stage, kind, name, sql, done)");
}

absl::Status AppendObjects(Connection& target, const std::string& name, std::vector<SchemaObject> objects) {
  WF_ASSIGN_OR_RETURN(
      const Result last,
      target.Execute(
          "SELECT coalesce(pg_catalog.max(id), 0) FROM walferry.schema_object WHERE migration = $1", {name}));
  std::int64_t id = last.GetInt(0, 0);
  for (SchemaObject& object : objects) object.id = ++id;
  return InsertObjects(target, name, objects);
}

absl::StatusOr<std::vector<SchemaObject>> LoadObjects(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(Result rows,
                      target.Execute("SELECT id, stage, kind, name, sql, done FROM walferry.schema_object "
                                     "WHERE migration = $1 ORDER BY id",
                                     {name}));
  std::vector<SchemaObject> objects;
  for (int row = 0; row < rows.rows(); ++row) {
    SchemaObject object;
    object.id = rows.GetInt(row, 0);
    WF_ASSIGN_OR_RETURN(object.stage, ParseName<ObjectStage>(kObjectStageNames, rows.Get(row, 1), "stage"));
    object.kind = rows.Get(row, 2);
    object.name = rows.Get(row, 3);
    object.sql = rows.Get(row, 4);
    object.done = rows.GetBool(row, 5);
    objects.push_back(std::move(object));
  }
  return objects;
}

absl::Status UpdateObject(Connection& target, const std::string& name, const SchemaObject& object) {
  return target
      .Execute("UPDATE walferry.schema_object SET name = $3, sql = $4 WHERE migration = $1 AND id = $2",
               {name, std::to_string(object.id), object.name, object.sql})
      .status();
}

absl::Status DeleteObjects(Connection& target, const std::string& name,
                           const std::vector<std::int64_t>& ids) {
  for (const std::int64_t id : ids) {
    WF_RETURN_IF_ERROR(target
                           .Execute("DELETE FROM walferry.schema_object WHERE migration = $1 AND id = $2",
                                    {name, std::to_string(id)})
                           .status());
  }
  return absl::OkStatus();
}

absl::Status MarkObjectDone(Connection& target, const std::string& name, std::int64_t id) {
  return ExpectOneRow(
      target.Execute("UPDATE walferry.schema_object SET done = true WHERE migration = $1 AND id = $2",
                     {name, std::to_string(id)}),
      name);
}

absl::Status MarkObjectsDone(Connection& target, const std::string& name,
                             const std::vector<std::int64_t>& ids) {
  if (ids.empty()) return absl::OkStatus();
  std::string list = "{";
  for (const std::int64_t id : ids) absl::StrAppendFormat(&list, "%s%d", list.size() > 1 ? "," : "", id);
  list += "}";
  return target
      .Execute(R"sql(
UPDATE walferry.schema_object SET done = true WHERE migration = $1 AND id = ANY ($2::bigint[]))sql",
               {name, list})
      .status();
}

absl::StatusOr<bool> ObjectIsDone(Connection& target, const std::string& name, std::int64_t id) {
  WF_ASSIGN_OR_RETURN(Result row, target.Execute("SELECT done FROM walferry.schema_object "
                                                 "WHERE migration = $1 AND id = $2 FOR UPDATE",
                                                 {name, std::to_string(id)}));
  return row.rows() == 1 && row.GetBool(0, 0);
}

absl::Status AddEvent(Connection& target, const std::string& name, const std::string& kind,
                      const std::string& detail) {
  return target
      .Execute("INSERT INTO walferry.event (migration, kind, detail) VALUES ($1, $2, $3)",
               {name, kind, detail})
      .status();
}

absl::StatusOr<std::vector<EventRecord>> LoadEvents(Connection& target, const std::string& name, int newest) {
  WF_ASSIGN_OR_RETURN(
      Result rows,
      target.Execute(
          "SELECT pg_catalog.to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), kind, "
          "detail FROM (SELECT * FROM walferry.event WHERE migration = $1 ORDER BY id DESC LIMIT $2) e "
          "ORDER BY id",
          {name, std::to_string(newest)}));
  std::vector<EventRecord> events;
  for (int row = 0; row < rows.rows(); ++row) {
    events.push_back(
        {std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1)), std::string(rows.Get(row, 2))});
  }
  return events;
}

}  // namespace walferry
