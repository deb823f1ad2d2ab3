// Names and values as they stand in SQL text.
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html
#pragma once

#include <string>
#include <string_view>

namespace walferry {

// "schema"."table" and 'literal', quoted as SQL needs it (E'' where there are backslashes, so that it does
// not depend on standard_conforming_strings). Inputs are UTF-8 without NUL.
std::string QuoteIdentifier(std::string_view identifier);
std::string QuoteLiteral(std::string_view literal);
std::string QuoteName(std::string_view schema, std::string_view name);

}  // namespace walferry
