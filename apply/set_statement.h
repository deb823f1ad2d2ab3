// The SQL text of statements about any number of rows of one table: each column is one array parameter.
//
//   INSERT INTO t (id, a) … SELECT unnest($1::int8[]), unnest($2::text[])
//   UPDATE ONLY t AS t SET a = s.v2 FROM (SELECT unnest($1::int8[]) AS v1, …) AS s WHERE t.id = s.v1
//   DELETE FROM ONLY t AS t USING (SELECT unnest($1::int8[]) AS v1) AS s WHERE t.id = s.v1
//
// unnest() in the select list hands out row after row, in FROM it would put each array into a tuplestore
// first. A type without arrays travels as text and is cast, row by row.
#pragma once

#include <string>
#include <vector>

#include "apply/table_map.h"

namespace walferry {

enum class SetForm : char { kInsert = 'I', kUpdate = 'U', kDelete = 'D' };

struct SetStatement {
  const MappedTable* table = nullptr;
  SetForm form = SetForm::kInsert;
  // By published column: 's' is written (kUpdate), 'k' finds the row, '-' is not used. Those used are the
  // parameters, in order; an insert has 's' only, a delete 'k' only.
  std::string roles;

  // Equal for statements with the same SQL text, and never that of a RowStatement. Replaces the content of
  // `key`.
  void MakeKey(std::string& key) const;
};

std::string SetStatementSql(const SetStatement& statement);

}  // namespace walferry
