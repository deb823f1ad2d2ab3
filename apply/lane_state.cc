// Tested by tests/apply/state_test.cc.
#include "apply/lane_state.h"

#include <algorithm>

#include "stream/quote.h"

namespace walferry {
namespace {

absl::StatusOr<std::vector<Lsn>> ReadPositions(const absl::StatusOr<Result>& rows) {
  if (!rows.ok()) return rows.status();
  std::vector<Lsn> lanes;
  for (int row = 0; row < rows->rows(); ++row) {
    WF_ASSIGN_OR_RETURN(const Lsn position, Lsn::Parse(rows->Get(row, 0)));
    lanes.push_back(position);
  }
  return lanes;
}

absl::Status ChangeLanes(Connection& target, const std::string& name, int lanes, Lsn position) {
  const std::string count = std::to_string(lanes);
  WF_RETURN_IF_ERROR(InitializeLanes(target, name, lanes, position));
  WF_RETURN_IF_ERROR(
      target.Execute("DELETE FROM walferry.lane WHERE migration = $1 AND lane >= $2", {name, count})
          .status());
  WF_RETURN_IF_ERROR(
      target.Execute("UPDATE walferry.migration SET lanes = $2 WHERE name = $1", {name, count}).status());
  return ClearDealing(target, name);
}

absl::StatusOr<LaneTerms> TermsOfLanesApart(Connection& target, const std::string& name,
                                            const LaneTerms& wanted, int lanes) {
  WF_ASSIGN_OR_RETURN(const std::vector<DealtTable> recorded, LoadDealing(target, name));
  const auto by_rows = std::find_if(recorded.begin(), recorded.end(),
                                    [](const DealtTable& dealt) { return !dealt.key.empty(); });
  return LaneTerms{lanes, by_rows == recorded.end() ? wanted.binary : by_rows->binary};
}

// From whoever moved them before. Their positions.
absl::StatusOr<std::vector<Lsn>> TakeLanes(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(std::vector<Lsn> lanes,
                      ReadPositions(target.Execute("WITH taken AS (UPDATE walferry.lane SET epoch = epoch + "
                                                   "1 WHERE migration = $1 RETURNING lane, position) "
                                                   "SELECT position FROM taken ORDER BY lane",
                                                   {name})));
  if (!lanes.empty()) return lanes;
  return Errorf(absl::StatusCode::kFailedPrecondition,
                "the target does not know the lanes of migration %s: it was cleaned up, or never begun",
                name);
}

bool IsLevel(const std::vector<Lsn>& lanes) {
  return std::count(lanes.begin(), lanes.end(), lanes.front()) == static_cast<std::ptrdiff_t>(lanes.size());
}

// Inside a transaction.
absl::Status ChangeIfLevel(Connection& target, const std::string& name, int wanted) {
  WF_ASSIGN_OR_RETURN(const std::vector<Lsn> lanes, TakeLanes(target, name));
  if (IsLevel(lanes)) return ChangeLanes(target, name, wanted, lanes.front());
  return Errorf(absl::StatusCode::kAborted, "another walferry moves the lanes of migration %s", name);
}

}  // namespace

absl::Status InitializeLanes(Connection& target, const std::string& name, int lanes, Lsn position) {
  return target
      .Execute(
          "INSERT INTO walferry.lane (migration, lane, position, joined) "
          "SELECT $1, lane, $3, $3 FROM pg_catalog.generate_series(0, $2::integer - 1) lane ON CONFLICT DO "
          "NOTHING",
          {name, std::to_string(lanes), position.ToString()})
      .status();
}

absl::StatusOr<std::vector<Lsn>> LoadLanes(Connection& target, const std::string& name) {
  return ReadPositions(
      target.Execute("SELECT position FROM walferry.lane WHERE migration = $1 ORDER BY lane", {name}));
}

absl::Status AddLane(Connection& target, const std::string& name, Lsn position, Lsn joined) {
  return target
      .Execute(
          "WITH added AS (INSERT INTO walferry.lane (migration, lane, position, joined) VALUES ($1, 1, $2, "
          "$3)) "
          "UPDATE walferry.migration SET lanes = 2 WHERE name = $1",
          {name, position.ToString(), joined.ToString()})
      .status();
}

absl::Status RemoveLane(Connection& target, const std::string& name) {
  return target
      .Execute(
          "WITH removed AS (DELETE FROM walferry.lane WHERE migration = $1 AND lane = 1) "
          "UPDATE walferry.migration SET lanes = 1 WHERE name = $1",
          {name})
      .status();
}

absl::StatusOr<Lsn> LoadJoined(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(
      const Result joined,
      target.Execute("SELECT joined FROM walferry.lane WHERE migration = $1 ORDER BY joined DESC LIMIT 1",
                     {name}));
  return joined.rows() == 0 ? Lsn() : Lsn::Parse(joined.Get(0, 0));
}

absl::StatusOr<LaneTerms> AgreeOnLanes(Connection& target, const std::string& name, const LaneTerms& wanted) {
  WF_ASSIGN_OR_RETURN(const std::vector<Lsn> lanes, TakeLanes(target, name));
  const int there = static_cast<int>(lanes.size());
  if (!IsLevel(lanes)) return TermsOfLanesApart(target, name, wanted, there);
  if (there == wanted.lanes) return wanted;
  WF_RETURN_IF_ERROR(target.Execute("BEGIN").status());
  const absl::Status changed = ChangeIfLevel(target, name, wanted.lanes);
  if (target.alive()) {
    WF_RETURN_IF_ERROR(target.Execute(changed.ok() ? "COMMIT" : "ROLLBACK").status());
  }
  WF_RETURN_IF_ERROR(changed);
  return wanted;
}

std::string RecordDealingSql(const std::string& name, const DealtTable& dealt) {
  std::string key;
  for (const std::string& column : dealt.key) key += (key.empty() ? "" : ", ") + QuoteLiteral(column);
  return absl::StrFormat(
      "INSERT INTO walferry.dealing (migration, source_oid, schema_name, table_name, key, wire) "
      "VALUES (%s, %d, %s, %s, ARRAY[%s]::text[], '%s') ON CONFLICT (migration, source_oid) DO UPDATE "
      "SET (schema_name, table_name, key, wire) = ROW (excluded.schema_name, excluded.table_name, "
      "excluded.key, excluded.wire)",
      QuoteLiteral(name), dealt.source_oid, QuoteLiteral(dealt.table.schema), QuoteLiteral(dealt.table.name),
      key, dealt.binary ? "binary" : "text");
}

absl::StatusOr<std::vector<DealtTable>> LoadDealing(Connection& target, const std::string& name) {
  WF_ASSIGN_OR_RETURN(
      const Result rows,
      target.Execute(
          "SELECT d.source_oid, d.schema_name, d.table_name, d.wire, k.name FROM walferry.dealing d "
          "LEFT JOIN LATERAL pg_catalog.unnest(d.key) WITH ORDINALITY k(name, n) ON true "
          "WHERE d.migration = $1 ORDER BY 1, k.n",
          {name}));
  std::vector<DealtTable> tables;
  for (int row = 0; row < rows.rows(); ++row) {
    const auto source_oid = static_cast<Oid>(rows.GetInt(row, 0));
    if (tables.empty() || tables.back().source_oid != source_oid) {
      TableName table = {std::string(rows.Get(row, 1)), std::string(rows.Get(row, 2))};
      tables.push_back({source_oid, std::move(table), {}, rows.Get(row, 3) == "binary"});
    }
    if (!rows.IsNull(row, 4)) tables.back().key.emplace_back(rows.Get(row, 4));
  }
  return tables;
}

absl::Status ClearDealing(Connection& target, const std::string& name) {
  return target.Execute("DELETE FROM walferry.dealing WHERE migration = $1", {name}).status();
}

}  // namespace walferry
