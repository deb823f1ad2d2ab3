// Tested by tests/apply/statement_test.cc.
#include "apply/statement.h"

#include "absl/strings/str_format.h"
#include "stream/quote.h"

namespace walferry {
namespace {

const TargetColumn& ColumnOf(const RowStatement& statement, std::size_t published) {
  return statement.table->target.columns[statement.table->target_column[published]];
}

std::size_t CountSet(const RowStatement& statement) {
  std::size_t count = 0;
  for (const char mark : statement.set) count += mark == 's' ? 1 : 0;
  return count;
}

// Byte by byte: the column's own collation may take different texts for equal.
std::string AsText(const std::string& expression) {
  return "(" + expression + ")::pg_catalog.text COLLATE pg_catalog.\"C\"";
}

// "TRUE" where there are none. A composite whose fields are all NULL "IS NULL", too, but is no NULL.
std::string Conditions(const RowStatement& statement, std::size_t first_parameter) {
  std::string where;
  std::size_t parameter = first_parameter;
  for (std::size_t i = 0; i < statement.where.size(); ++i) {
    if (statement.where[i] == RowStatement::kIgnored) continue;
    const TargetColumn& column = ColumnOf(statement, i);
    if (!where.empty()) where += " AND ";
    if (statement.where[i] == RowStatement::kIsNull) {
      where += column.sql_name + " IS NOT DISTINCT FROM NULL";
      continue;
    }
    const std::string value = absl::StrFormat("$%d::%s", parameter++, column.compare_type_sql);
    if (!column.equals.empty()) where += column.sql_name + " " + column.equals + " " + value;
    // Where no key of the target decides, a row that is equal and not the same (1.0 and 1.00) is another row.
    const bool equal_decides = statement.match == RowStatement::kByKey || column.equal_is_identical;
    if (!column.equals.empty() && equal_decides) continue;
    if (!column.equals.empty()) where += " AND ";
    where += AsText(column.sql_name) + " = " + AsText(value);
  }
  return where.empty() ? "TRUE" : where;
}

// "WHERE …", such that one row is meant where several may fit. A row's address is unique within one table
// only, so the leaf is named with it. Without LIMIT the server refuses to choose: SQLSTATE 21000.
std::string WhereClause(const RowStatement& statement, std::size_t first_parameter) {
  const std::string conditions = Conditions(statement, first_parameter);
  if (statement.match == RowStatement::kByKey) return " WHERE " + conditions;
  const TargetTable& target = statement.table->target;
  const std::string address = target.partitioned ? "tableoid, ctid" : "ctid";
  return absl::StrFormat(" WHERE %s = (SELECT %s FROM %s WHERE %s%s)",
                         target.partitioned ? "(" + address + ")" : address, address, target.RowSource(),
                         conditions, statement.match == RowStatement::kAnyAlike ? " LIMIT 1" : "");
}

std::string InsertSql(const RowStatement& statement) {
  std::string columns;
  std::string values;
  std::size_t parameter = 1;
  for (std::size_t i = 0; i < statement.set.size(); ++i) {
    if (statement.set[i] != 's') continue;
    if (!columns.empty()) columns += ", ";
    if (!values.empty()) values += ", ";
    columns += ColumnOf(statement, i).sql_name;
    values += absl::StrFormat("$%d", parameter++);
  }
  const std::string& table = statement.table->target.sql_name;
  if (columns.empty()) return "INSERT INTO " + table + " DEFAULT VALUES";
  return absl::StrFormat("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE VALUES (%s)", table, columns, values);
}

std::string UpdateSql(const RowStatement& statement) {
  std::string set;
  std::size_t parameter = 1;
  for (std::size_t i = 0; i < statement.set.size(); ++i) {
    if (statement.set[i] != 's') continue;
    if (!set.empty()) set += ", ";
    set += absl::StrFormat("%s = $%d", ColumnOf(statement, i).sql_name, parameter++);
  }
  return "UPDATE " + statement.table->target.RowSource() + " SET " + set + WhereClause(statement, parameter);
}

std::string ReplaceSql(const RowStatement& statement) {
  const MappedTable& table = *statement.table;
  std::vector<std::size_t> parameter_of(statement.set.size(), 0);
  std::size_t parameter = 1;
  for (std::size_t i = 0; i < statement.set.size(); ++i) {
    if (statement.set[i] == 's') parameter_of[i] = parameter++;
  }
  std::string columns;
  std::string values;
  for (std::size_t i = 0; i < table.target.columns.size(); ++i) {
    const TargetColumn& column = table.target.columns[i];
    if (column.generated) continue;
    const std::size_t published = table.published_column[i];
    const bool given = published != kNoColumn && parameter_of[published] != 0;
    if (!columns.empty()) columns += ", ";
    if (!values.empty()) values += ", ";
    columns += column.sql_name;
    values += given ? absl::StrFormat("$%d::%s", parameter_of[published], column.type_sql)
                    : "old_row." + column.sql_name;
  }
  return absl::StrFormat(
      "WITH old_row AS (DELETE FROM %s%s RETURNING *) INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s "
      "FROM "
      "old_row",
      table.target.RowSource(), WhereClause(statement, parameter), table.target.sql_name, columns, values);
}

}  // namespace

std::string StatementSql(const RowStatement& statement) {
  switch (statement.form) {
    case Form::kInsert:
      return InsertSql(statement);
    case Form::kUpdate:
      return UpdateSql(statement);
    case Form::kReplace:
      return ReplaceSql(statement);
    case Form::kProbe:
      return "SELECT 1 FROM " + statement.table->target.RowSource() +
             WhereClause(statement, CountSet(statement) + 1);
    case Form::kDelete:
      return "DELETE FROM " + statement.table->target.RowSource() + WhereClause(statement, 1);
  }
  return {};
}

std::string TruncateSql(const std::vector<const MappedTable*>& tables, bool restart_identity, bool partly) {
  std::string list;
  std::string deletes;
  for (const MappedTable* table : tables) {
    list += (list.empty() ? "" : ", ") + table->target.RowSource();
    deletes += " DELETE FROM " + table->target.RowSource() + ";";
  }
  const std::string truncate =
      "TRUNCATE " + list + (restart_identity ? " RESTART IDENTITY" : " CONTINUE IDENTITY");
  if (!partly) return truncate;
  return "DO " +
         QuoteLiteral("BEGIN " + truncate + "; EXCEPTION WHEN feature_not_supported THEN" + deletes + " END");
}

}  // namespace walferry
