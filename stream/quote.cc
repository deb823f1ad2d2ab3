#include "stream/quote.h"

namespace walferry {

std::string QuoteIdentifier(std::string_view identifier) {
  std::string out = "\"";
  for (const char c : identifier) {
    if (c == '"') out += '"';
    out += c;
  }
  return out += '"';
}

std::string QuoteLiteral(std::string_view literal) {
  std::string out = literal.find('\\') == std::string_view::npos ? "'" : "E'";
  for (const char c : literal) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out += '\'';
}

std::string QuoteName(std::string_view schema, std::string_view name) {
  return QuoteIdentifier(schema) + "." + QuoteIdentifier(name);
}

}  // namespace walferry
