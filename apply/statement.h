// The SQL text of statements. Every name is quoted and has its schema; every value is a parameter.
#pragma once

#include <string>
#include <vector>

#include "apply/plan.h"

namespace walferry {

// For preparing: the parameters' types are left to the server, which takes the columns'.
std::string StatementSql(const RowStatement& statement);

// One TRUNCATE of all tables; never CASCADE: what the source's cascade reached is in the list.
// partly: the source truncated others with them whose copies are younger. They may refer to these by foreign
// keys, with which a TRUNCATE is refused; then the rows are deleted.
std::string TruncateSql(const std::vector<const MappedTable*>& tables, bool restart_identity, bool partly);

}  // namespace walferry
