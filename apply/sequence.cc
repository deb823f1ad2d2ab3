// Tested by tests/apply/sequence_test.cc.
#include "apply/sequence.h"

#include <algorithm>
#include <map>
#include <utility>

namespace walferry {
namespace {

constexpr std::size_t kSequencesPerStatement = 200;

struct SequenceShape {
  bool descending = false;
  bool cycles = false;
  std::int64_t start = 0;
};

constexpr char kShapes[] = R"sql(
SELECT n.nspname, c.relname, s.seqincrement < 0, s.seqcycle, s.seqstart
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid)sql";

// A row for each sequence and table that owns or uses it; the table is NULL where there is none.
constexpr char kSequences[] = R"sql(
SELECT n.nspname, c.relname,
  pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_sequence_privilege(c.oid, 'SELECT'),
  pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_sequence_privilege(c.oid, 'UPDATE'),
  tn.nspname, t.relname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN (
  SELECT objid AS sequence_id, refobjid AS table_id FROM pg_catalog.pg_depend
  WHERE classid = 'pg_catalog.pg_class'::regclass AND refclassid = 'pg_catalog.pg_class'::regclass
    AND deptype IN ('a', 'i')
  UNION
  SELECT d.refobjid, a.adrelid FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_attrdef a ON a.oid = d.objid
  WHERE d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
) used ON used.sequence_id = c.oid
LEFT JOIN pg_catalog.pg_class t ON t.oid = used.table_id
LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname <> 'walferry'
  AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend e WHERE e.objid = c.oid
      AND e.classid = 'pg_catalog.pg_class'::regclass AND e.deptype = 'e')
ORDER BY n.nspname::text COLLATE "C", c.relname::text COLLATE "C", 5, 6)sql";

absl::StatusOr<std::map<TableName, SequenceShape>> ReadShapes(Connection& connection) {
  WF_ASSIGN_OR_RETURN(const Result rows, connection.Execute(kShapes));
  std::map<TableName, SequenceShape> sequences;
  for (int row = 0; row < rows.rows(); ++row) {
    sequences[{std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1))}] = {
        rows.GetBool(row, 2), rows.GetBool(row, 3), rows.GetInt(row, 4)};
  }
  return sequences;
}

// From the relations themselves: the catalog's views hide the value of a sequence that was not called yet.
absl::StatusOr<std::vector<SequenceValue>> ReadValues(Connection& connection,
                                                      const std::vector<TableName>& names) {
  std::vector<SequenceValue> values;
  for (std::size_t begin = 0; begin < names.size(); begin += kSequencesPerStatement) {
    const std::size_t end = std::min(names.size(), begin + kSequencesPerStatement);
    std::string sql;
    for (std::size_t i = begin; i < end; ++i) {
      sql += absl::StrFormat("%sSELECT %d, last_value, is_called FROM %s", i == begin ? "" : " UNION ALL ", i,
                             QuoteName(names[i].schema, names[i].name));
    }
    WF_ASSIGN_OR_RETURN(Result rows, connection.Execute(sql));
    for (int row = 0; row < rows.rows(); ++row) {
      values.push_back(
          {names[static_cast<std::size_t>(rows.GetInt(row, 0))], rows.GetInt(row, 1), rows.GetBool(row, 2)});
    }
  }
  return values;
}

// Whether the sequence would give a value behind `wanted`'s next one, in its direction.
bool IsBehind(const SequenceValue& found, const SequenceValue& wanted, const SequenceShape& shape) {
  if (found.last_value == wanted.last_value) return !found.is_called && wanted.is_called;
  // Never called on the target: nothing there has one of its values, and the source's was set elsewhere.
  if (!found.is_called && found.last_value == shape.start) return true;
  // Where values come around again, there is no before and after.
  return shape.cycles || (found.last_value < wanted.last_value) != shape.descending;
}

absl::Status SetValues(Connection& target, const std::vector<SequenceValue>& values) {
  for (std::size_t begin = 0; begin < values.size(); begin += kSequencesPerStatement) {
    const std::size_t end = std::min(values.size(), begin + kSequencesPerStatement);
    std::string sql = "SELECT ";
    for (std::size_t i = begin; i < end; ++i) {
      const SequenceValue& value = values[i];
      sql += absl::StrFormat("%spg_catalog.setval(%s::pg_catalog.regclass, %d, %s)", i == begin ? "" : ", ",
                             QuoteLiteral(QuoteName(value.sequence.schema, value.sequence.name)),
                             value.last_value, value.is_called ? "true" : "false");
    }
    WF_RETURN_IF_ERROR(target.Execute(sql).status());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<SequenceInfo>> ListSequences(Connection& connection) {
  WF_ASSIGN_OR_RETURN(const Result rows, connection.Execute(kSequences));
  std::vector<SequenceInfo> sequences;
  for (int row = 0; row < rows.rows(); ++row) {
    TableName name{std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1))};
    if (sequences.empty() || sequences.back().name != name) {
      sequences.push_back({std::move(name), rows.GetBool(row, 2), rows.GetBool(row, 3), {}});
    }
    if (rows.IsNull(row, 5)) continue;
    sequences.back().tables.push_back({std::string(rows.Get(row, 4)), std::string(rows.Get(row, 5))});
  }
  return sequences;
}

absl::StatusOr<std::vector<SequenceValue>> ReadSequences(Connection& source,
                                                         const std::vector<TableName>& names) {
  return ReadValues(source, names);
}

absl::StatusOr<SequenceReport> SetSequences(Connection& target, const std::vector<SequenceValue>& wanted) {
  WF_ASSIGN_OR_RETURN(const auto shapes, ReadShapes(target));
  SequenceReport report;
  std::map<TableName, SequenceValue> wanted_by_name;
  std::vector<TableName> names;
  for (const SequenceValue& value : wanted) {
    if (!shapes.contains(value.sequence)) {
      report.missing.push_back(value.sequence);
    } else if (wanted_by_name.emplace(value.sequence, value).second) {
      names.push_back(value.sequence);
    }
  }
  WF_ASSIGN_OR_RETURN(const std::vector<SequenceValue> found, ReadValues(target, names));
  std::vector<SequenceValue> behind;
  for (const SequenceValue& value : found) {
    const SequenceValue& goal = wanted_by_name.at(value.sequence);
    if (IsBehind(value, goal, shapes.at(value.sequence))) behind.push_back(goal);
  }
  WF_RETURN_IF_ERROR(SetValues(target, behind));
  report.set = static_cast<int>(behind.size());
  return report;
}

}  // namespace walferry
