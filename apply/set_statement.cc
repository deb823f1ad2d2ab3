// Tested by tests/apply/applier_net_test.cc.
#include "apply/set_statement.h"

#include <cstring>

#include "absl/strings/str_format.h"

namespace walferry {
namespace {

constexpr char kTextArray[] = "\"pg_catalog\".\"text\"[]";

void AddTo(std::string& list, std::string_view separator, const std::string& item) {
  if (!list.empty()) list += separator;
  list += item;
}

std::string Unnest(const TargetColumn& column, std::size_t parameter) {
  if (!column.array_sql.empty()) return absl::StrFormat("unnest($%d::%s)", parameter, column.array_sql);
  return absl::StrFormat("unnest($%d::%s)::%s", parameter, kTextArray, column.type_sql);
}

struct Parts {
  std::string columns;  // "a", "b"
  std::string source;   // SELECT unnest($1::…) AS v1, …
  std::string set;      // "a" = s.v1, …
  std::string where;    // t."id" = s.v2 AND …
};

Parts MakeParts(const SetStatement& statement) {
  Parts parts;
  std::size_t parameter = 0;
  for (std::size_t i = 0; i < statement.roles.size(); ++i) {
    if (statement.roles[i] == '-') continue;
    const TargetColumn& column = statement.table->target.columns[statement.table->target_column[i]];
    ++parameter;
    AddTo(parts.columns, ", ", column.sql_name);
    AddTo(parts.source, ", ", absl::StrFormat("pg_catalog.%s AS v%d", Unnest(column, parameter), parameter));
    if (statement.roles[i] == 's') {
      AddTo(parts.set, ", ", absl::StrFormat("%s = s.v%d", column.sql_name, parameter));
    } else {
      AddTo(parts.where, " AND ",
            absl::StrFormat("t.%s %s s.v%d", column.sql_name, column.equals, parameter));
    }
  }
  return parts;
}

}  // namespace

void SetStatement::MakeKey(std::string& key) const {
  key.resize(sizeof(const Relation*));
  std::memcpy(key.data(), &table->relation, sizeof(const Relation*));
  key.push_back(static_cast<char>(form));
  key.append(roles);
}

std::string SetStatementSql(const SetStatement& statement) {
  const TargetTable& target = statement.table->target;
  const Parts parts = MakeParts(statement);
  switch (statement.form) {
    case SetForm::kInsert:
      return absl::StrFormat("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s", target.sql_name,
                             parts.columns, parts.source);
    case SetForm::kUpdate:
      return absl::StrFormat("UPDATE %s AS t SET %s FROM (SELECT %s) AS s WHERE %s", target.RowSource(),
                             parts.set, parts.source, parts.where);
    case SetForm::kDelete:
      return absl::StrFormat("DELETE FROM %s AS t USING (SELECT %s) AS s WHERE %s", target.RowSource(),
                             parts.source, parts.where);
  }
  return {};
}

}  // namespace walferry
