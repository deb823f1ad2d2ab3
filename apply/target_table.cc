// Tested by tests/apply/applier_tables_test.cc.
#include "apply/target_table.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <span>

#include "apply/parameter_rows.h"
#include "stream/catalog_version.h"
#include "stream/quote.h"

namespace walferry {
namespace {

// %s: a list of (schema, name).
constexpr char kRelationsSql[] =
    "SELECT c.oid, c.relkind, n.nspname, c.relname FROM (VALUES %s) w (schema_name, table_name) "
    "JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name::pg_catalog.name "
    "JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.table_name::pg_catalog.name";

// The others are about relations by oid, which comes first in each row. %s: whether the column is generated,
// and whether its collation is deterministic.
constexpr char kColumnsSql[] =
    "SELECT a.attrelid, a.attname, a.attnum, a.atttypid, n.nspname, t.typname, %s, a.attidentity = 'a', %s, "
    "a.atttypmod "
    "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
    "LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation "
    "WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND a.attnum > 0 AND NOT a.attisdropped "
    "ORDER BY a.attrelid, a.attnum";

// Key columns only (an INCLUDE column identifies nothing), and only where the index means by "equal" what the
// column's own comparison means. %1$s: how many columns of the index are key columns.
constexpr char kKeysSql[] =
    "SELECT i.indrelid, i.indisprimary, pg_catalog.array_to_string(ARRAY("
    "  SELECT k.attnum FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n) "
    "  WHERE k.n <= i.%1$s ORDER BY k.n), ',') "
    "FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "
    "WHERE i.indrelid = ANY ($1::pg_catalog.oid[]) AND i.indisunique AND i.indisvalid AND i.indimmediate AND "
    "i.indpred IS NULL "
    "AND i.indexprs IS NULL AND NOT EXISTS ("
    "  SELECT FROM unnest(i.indkey::int2[], i.indcollation::oid[], i.indclass::oid[]) "
    "    WITH ORDINALITY k(attnum, coll, opc, n) "
    "  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum "
    "  JOIN pg_catalog.pg_opclass o ON o.oid = k.opc "
    "  WHERE k.n <= i.%1$s AND (k.coll <> a.attcollation OR NOT o.opcdefault)) "
    "ORDER BY i.indrelid, i.indisprimary DESC, i.%1$s, c.relname";

// Partitions may have triggers and unique indexes that the partitioned table does not.
constexpr char kQuirksSql[] =
    "WITH RECURSIVE tree(root, oid) AS (SELECT o, o FROM pg_catalog.unnest($1::pg_catalog.oid[]) o UNION "
    "  SELECT tree.root, h.inhrelid FROM pg_catalog.pg_inherits h JOIN tree ON h.inhparent = tree.oid) "
    "SELECT tree.root, pg_catalog.bool_or(x.fires_always), pg_catalog.sum(x.constraining) FROM tree, LATERAL "
    "("
    "  SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = tree.oid "
    "      AND t.tgenabled IN ('A', 'R')) "
    "    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = tree.oid "
    "      AND r.ev_enabled IN ('A', 'R')) AS fires_always, "
    "  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = tree.oid "
    "    AND (i.indisunique OR i.indisexclusion) AND (tree.oid = tree.root OR NOT EXISTS ("
    "      SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.indexrelid))) AS constraining) x "
    "GROUP BY tree.root";

// The types of the columns, and what domains and arrays are made of. For a base type: the equality operator
// of its default btree or hash operator class, or of the class of a type that it may be read as (varchar as
// text). An array is found by its element: typarray has no index. %s: MATERIALIZED, where that is a word
// (before, every such query was).
constexpr char kTypesSql[] =
    "WITH RECURSIVE needed(oid) AS (SELECT DISTINCT a.atttypid FROM pg_catalog.pg_attribute a "
    "  WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND a.attnum > 0 AND NOT a.attisdropped "
    "UNION SELECT CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END "
    "  FROM needed JOIN pg_catalog.pg_type t ON t.oid = needed.oid "
    "  WHERE t.typtype = 'd' OR EXISTS (SELECT FROM pg_catalog.pg_type e "
    "    WHERE e.oid = t.typelem AND e.typarray = t.oid)), "
    "facts AS %s (SELECT t.oid, t.typtype, t.typbasetype, t.typelem, t.typname, t.typarray, t.typdelim, "
    "t.typtypmod, n.nspname FROM needed JOIN pg_catalog.pg_type t ON t.oid = "
    "needed.oid "
    "  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace) "
    "SELECT t.oid, CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_type e "
    "    WHERE e.oid = t.typelem AND e.typarray = t.oid) THEN 'A' "
    "  ELSE t.typtype END, CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END, t.nspname, "
    "t.typname, "
    "  e.nspname, e.oprname, t.typarray <> 0 AND t.typdelim = ',', t.typtypmod "
    "FROM facts t LEFT JOIN LATERAL (SELECT pn.nspname, p.oprname FROM pg_catalog.pg_opclass c "
    "  JOIN pg_catalog.pg_am am ON am.oid = c.opcmethod AND am.amname IN ('btree', 'hash') "
    "  JOIN pg_catalog.pg_amop o ON o.amopfamily = c.opcfamily AND o.amoplefttype = c.opcintype "
    "    AND o.amoprighttype = c.opcintype AND o.amopstrategy = CASE am.amname WHEN 'btree' THEN 3 ELSE 1 "
    "END "
    "  JOIN pg_catalog.pg_operator p ON p.oid = o.amopopr "
    "  JOIN pg_catalog.pg_namespace pn ON pn.oid = p.oprnamespace "
    "  WHERE c.opcdefault AND (c.opcintype = t.oid OR EXISTS (SELECT FROM pg_catalog.pg_cast k "
    "    WHERE k.castsource = t.oid AND k.casttarget = c.opcintype AND k.castmethod = 'b' AND k.castcontext "
    "= 'i')) "
    "  ORDER BY c.opcintype = t.oid DESC, am.amname LIMIT 1) e ON t.typtype = 'b'";

struct TypeFacts {
  char kind = 'b';  // pg_type.typtype, or 'A' for arrays
  Oid inner = 0;    // Base type of a domain, element of an array.
  std::string sql;
  std::string equals;
  bool has_array = false;
  int typmod = -1;  // That a domain gives to its base type.
};
using TypeMap = std::map<Oid, TypeFacts>;

std::string OperatorSql(std::string_view schema, std::string_view name) {
  if (schema.empty()) return {};
  if (schema == "pg_catalog") return std::string(name);
  return "OPERATOR(" + QuoteIdentifier(schema) + "." + std::string(name) + ")";
}

// Tables that are being read, by the oid of the relation as text.
struct Reading {
  TargetTable table;
  std::map<int, std::size_t> by_number;  // attnum to the index into TargetTable::columns.
};
using Readings = std::map<std::string, Reading, std::less<>>;

TypeMap ReadTypes(const Result& rows) {
  TypeMap types;
  for (int row = 0; row < rows.rows(); ++row) {
    TypeFacts& facts = types[static_cast<Oid>(rows.GetInt(row, 0))];
    facts.kind = rows.Get(row, 1).front();
    facts.inner = static_cast<Oid>(rows.GetInt(row, 2));
    facts.sql = QuoteName(rows.Get(row, 3), rows.Get(row, 4));
    facts.equals = OperatorSql(rows.Get(row, 5), rows.Get(row, 6));
    facts.has_array = rows.GetBool(row, 7) && facts.kind != 'A';
    facts.typmod = static_cast<int>(rows.GetInt(row, 8));
  }
  return types;
}

// The operator by which two values of the type are compared, or nothing.
std::string EqualityOf(const TypeMap& types, Oid type) {
  const auto found = types.find(type);
  if (found == types.end()) return {};
  switch (found->second.kind) {
    case 'd':
      return EqualityOf(types, found->second.inner);
    case 'A':  // array_eq asks the element type for its own, wherever that lives.
      return EqualityOf(types, found->second.inner).empty() ? "" : "=";
    case 'e':
    case 'r':
    case 'm':
      return "=";
    case 'b':
      return found->second.equals;
    default:  // Composites: a member without equality would be an error at run time only.
      return {};
  }
}

struct BaseType {
  Oid oid = 0;
  int typmod = -1;
};

BaseType BaseOf(const TypeMap& types, Oid type, int typmod) {
  auto found = types.find(type);
  while (found != types.end() && found->second.kind == 'd') {
    typmod = found->second.typmod;
    type = found->second.inner;
    found = types.find(type);
  }
  return {type, typmod};
}

// "(10,2)", or nothing. Of all types that a value can be rounded to, numeric alone says that the value and
// the rounded one are equal (1.5 and 1.50) though their texts differ. src/backend/utils/adt/numeric.c has the
// bits.
std::string NumericModifier(const BaseType& type) {
  constexpr Oid kNumeric = 1700;
  constexpr Oid kNumericArray = 1231;
  constexpr int kHeaderBytes = 4;
  if ((type.oid != kNumeric && type.oid != kNumericArray) || type.typmod < kHeaderBytes) return {};
  const int bits = type.typmod - kHeaderBytes;
  return absl::StrFormat("(%d,%d)", (bits >> 16) & 0xFFFF, ((bits & 0x7FF) ^ 1024) - 1024);
}

bool EqualIsIdentical(const TypeMap& types, Oid base_type, bool deterministic_collation) {
  // bool bytea "char" name int8 int2 int4 text oid varchar date time timestamp timestamptz uuid pg_lsn xid8
  static constexpr std::array<Oid, 17> kTypes = {16,   17,   18,   19,   20,   21,   23,   25,  26,
                                                 1043, 1082, 1083, 1114, 1184, 2950, 3220, 5069};
  const auto found = types.find(base_type);
  if (found != types.end() && found->second.kind == 'e') return true;
  return deterministic_collation && std::find(kTypes.begin(), kTypes.end(), base_type) != kTypes.end();
}

// text varchar bpchar json name, and enums: their receive functions take what their input functions take.
bool BinaryIsText(const TypeMap& types, Oid base_type) {
  static constexpr std::array<Oid, 5> kTypes = {25, 1043, 1042, 114, 19};
  const auto found = types.find(base_type);
  if (found != types.end() && found->second.kind == 'e') return true;
  return std::find(kTypes.begin(), kTypes.end(), base_type) != kTypes.end();
}

void ReadColumns(const Result& rows, const TypeMap& types, Readings& readings) {
  for (int row = 0; row < rows.rows(); ++row) {
    Reading& reading = readings.find(rows.Get(row, 0))->second;
    TargetColumn column;
    column.name = rows.Get(row, 1);
    column.sql_name = QuoteIdentifier(column.name);
    column.type_oid = static_cast<Oid>(rows.GetInt(row, 3));
    column.type_sql = QuoteName(rows.Get(row, 4), rows.Get(row, 5));
    column.generated = rows.GetBool(row, 6);
    column.identity_always = rows.GetBool(row, 7);
    const BaseType base_type = BaseOf(types, column.type_oid, static_cast<int>(rows.GetInt(row, 9)));
    const Oid base = base_type.oid;
    const auto facts = types.find(base);
    column.compare_type_sql =
        (facts == types.end() ? column.type_sql : facts->second.sql) + NumericModifier(base_type);
    column.equals = EqualityOf(types, column.type_oid);
    column.equal_is_identical = EqualIsIdentical(types, base, rows.GetBool(row, 8));
    if (facts != types.end() && facts->second.has_array) column.array_sql = facts->second.sql + "[]";
    column.element_oid = base;
    column.binary_is_text = BinaryIsText(types, base);
    reading.by_number[static_cast<int>(rows.GetInt(row, 2))] = reading.table.columns.size();
    reading.table.columns.push_back(std::move(column));
  }
}

void ReadKeys(const Result& rows, Readings& readings) {
  for (int row = 0; row < rows.rows(); ++row) {
    Reading& reading = readings.find(rows.Get(row, 0))->second;
    UniqueKey key;
    key.primary = rows.GetBool(row, 1);
    std::string_view list = rows.Get(row, 2);
    bool complete = true;
    while (!list.empty()) {
      int number = 0;
      std::from_chars(list.data(), list.data() + list.size(), number);
      const auto column = reading.by_number.find(number);
      complete = complete && column != reading.by_number.end();
      if (column != reading.by_number.end()) key.columns.push_back(column->second);
      list.remove_prefix(
          std::min(list.size(), list.find(',') == list.npos ? list.size() : list.find(',') + 1));
    }
    if (complete && !key.columns.empty()) reading.table.keys.push_back(std::move(key));
  }
}

void ReadQuirks(const Result& rows, Readings& readings) {
  for (int row = 0; row < rows.rows(); ++row) {
    TargetTable& table = readings.find(rows.Get(row, 0))->second.table;
    table.fires_always = rows.GetBool(row, 1);
    table.constraining_indexes = static_cast<int>(rows.GetInt(row, 2));
  }
}

std::string ColumnsSql(int server_version) {
  return server_version >= 120000
             ? absl::StrFormat(kColumnsSql, "a.attgenerated <> ''", "coalesce(c.collisdeterministic, true)")
             : absl::StrFormat(kColumnsSql, "false", "true");
}

absl::Status ReadAbout(Connection& target, const std::string& oids, Readings& readings) {
  const int version = target.server_version();
  const std::string types = absl::StrFormat(kTypesSql, version >= 120000 ? "MATERIALIZED" : "");
  const std::string keys = absl::StrFormat(kKeysSql, KeyColumnCount(version));
  WF_ASSIGN_OR_RETURN(
      const auto results,
      target.ExecuteEach(std::vector<Connection::Statement>{
          {types, {oids}}, {ColumnsSql(version), {oids}}, {keys, {oids}}, {kQuirksSql, {oids}}}));
  for (const absl::StatusOr<Result>& result : results) WF_RETURN_IF_ERROR(result.status());
  ReadColumns(*results[1], ReadTypes(*results[0]), readings);
  ReadKeys(*results[2], readings);
  ReadQuirks(*results[3], readings);
  return absl::OkStatus();
}

absl::StatusOr<Result> ReadRelations(Connection& target, std::span<const TableName> names) {
  std::vector<Parameter> parameters;
  for (const TableName& name : names) parameters.insert(parameters.end(), {name.schema, name.name});
  return target.Execute(absl::StrFormat(kRelationsSql, ParameterRows(names.size(), 2, 1)), parameters);
}

// At most kRowsPerStatement.
absl::Status ReadSome(Connection& target, std::span<const TableName> names,
                      std::map<TableName, TargetTable>& tables) {
  WF_ASSIGN_OR_RETURN(const Result relations, ReadRelations(target, names));
  Readings readings;
  std::string oids;
  for (int row = 0; row < relations.rows(); ++row) {
    const char kind = relations.Get(row, 1).front();
    if (kind != 'r' && kind != 'p') continue;
    const std::string oid(relations.Get(row, 0));
    oids += (oids.empty() ? "{" : ",") + oid;
    TargetTable& table = readings[oid].table;
    table.name = {std::string(relations.Get(row, 2)), std::string(relations.Get(row, 3))};
    table.sql_name = QuoteName(table.name.schema, table.name.name);
    table.partitioned = kind == 'p';
  }
  if (readings.empty()) return absl::OkStatus();
  oids += '}';
  WF_RETURN_IF_ERROR(ReadAbout(target, oids, readings));
  for (auto& [oid, reading] : readings) {
    TableName name = reading.table.name;
    tables.emplace(std::move(name), std::move(reading.table));
  }
  return absl::OkStatus();
}

absl::Status NoSuchTable(Connection& target, const TableName& name) {
  WF_ASSIGN_OR_RETURN(const Result relation, ReadRelations(target, {&name, 1}));
  if (relation.rows() == 0) {
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "table %s is not on the target: create it there with the columns that the source publishes, or "
        "leave it out with --exclude-tables",
        name.ToString());
  }
  return Errorf(absl::StatusCode::kFailedPrecondition,
                "%s is not a table on the target (relkind %s): changes can be applied to tables only",
                name.ToString(), relation.Get(0, 1));
}

}  // namespace

std::optional<std::size_t> TargetTable::FindColumn(const std::string& column) const {
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].name == column) return i;
  }
  return std::nullopt;
}

absl::StatusOr<std::map<TableName, TargetTable>> ReadTargetTables(Connection& target,
                                                                  const std::vector<TableName>& names) {
  std::map<TableName, TargetTable> tables;
  for (std::size_t begin = 0; begin < names.size(); begin += kRowsPerStatement) {
    const std::size_t count = std::min(kRowsPerStatement, names.size() - begin);
    WF_RETURN_IF_ERROR(ReadSome(target, std::span(names).subspan(begin, count), tables));
  }
  return tables;
}

absl::StatusOr<TargetTable> ReadTargetTable(Connection& target, const TableName& name) {
  WF_ASSIGN_OR_RETURN(auto tables, ReadTargetTables(target, {name}));
  if (tables.empty()) return NoSuchTable(target, name);
  return std::move(tables.begin()->second);
}

}  // namespace walferry
