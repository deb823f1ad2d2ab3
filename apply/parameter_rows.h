// Placeholders for a list of rows, so that many rows travel as parameters of one statement.
#pragma once

#include <cstddef>
#include <string>

namespace walferry {

// A statement takes 65535 parameters at most; rows beyond this number go into the next statement.
inline constexpr std::size_t kRowsPerStatement = 2000;

// "($2,$3),($4,$5)": `rows` rows of `columns` parameters, numbered from `first`.
std::string ParameterRows(std::size_t rows, std::size_t columns, std::size_t first);

}  // namespace walferry
