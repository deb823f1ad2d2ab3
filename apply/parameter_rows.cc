// Tested by tests/apply/state_test.cc.
#include "apply/parameter_rows.h"

namespace walferry {

std::string ParameterRows(std::size_t rows, std::size_t columns, std::size_t first) {
  std::string sql;
  std::size_t number = first;
  for (std::size_t row = 0; row < rows; ++row) {
    sql += row == 0 ? "(" : ",(";
    for (std::size_t column = 0; column < columns; ++column) {
      if (column > 0) sql += ',';
      sql += '$';
      sql += std::to_string(number++);
    }
    sql += ')';
  }
  return sql;
}

}  // namespace walferry
