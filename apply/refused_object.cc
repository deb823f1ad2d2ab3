// Tested by tests/apply/refused_object_test.cc.
#include "apply/refused_object.h"

#include <optional>
#include <string_view>
#include <vector>

#include "stream/sqlstate.h"

namespace walferry {
namespace {

// The end of the quoted or plain text at `at`: behind the closing bracket that belongs to the one there.
std::size_t AfterBrackets(std::string_view sql, std::size_t at) {
  int depth = 0;
  bool quoted = false;
  for (; at < sql.size(); ++at) {
    if (sql[at] == '"') quoted = !quoted;
    if (quoted) continue;
    if (sql[at] == '(') ++depth;
    if (sql[at] == ')' && --depth == 0) return at + 1;
  }
  return sql.size();
}

// The quoted or plain words up to the next space.
std::string_view Word(std::string_view sql, std::size_t begin) {
  bool quoted = false;
  std::size_t end = begin;
  for (; end < sql.size(); ++end) {
    if (sql[end] == '"') quoted = !quoted;
    if (!quoted && (sql[end] == ' ' || sql[end] == '\n' || sql[end] == '(')) break;
  }
  return sql.substr(begin, end - begin);
}

// What stands in the first brackets behind `word`, in which a quoted name may have some, too; nothing where
// the word is not there.
std::optional<std::string_view> BracketsAfter(std::string_view sql, std::string_view word) {
  const std::size_t found = sql.find(word);
  if (found == sql.npos) return std::nullopt;
  bool quoted = false;
  std::size_t open = found + word.size() - 1;
  for (; open < sql.size() && (quoted || sql[open] != '('); ++open) {
    if (sql[open] == '"') quoted = !quoted;
  }
  if (open >= sql.size()) return std::nullopt;
  return sql.substr(open + 1, AfterBrackets(sql, open) - open - 2);
}

// "a, "b c"": the names as they stand there; empty where it is not a list of names alone.
std::vector<std::string_view> Names(std::string_view list) {
  std::vector<std::string_view> names;
  std::size_t begin = 0;
  bool quoted = false;
  for (std::size_t i = 0; i <= list.size(); ++i) {
    if (i < list.size() && list[i] == '"') quoted = !quoted;
    if (i < list.size() && !quoted && (list[i] == '(' || list[i] == ' ') && i > begin) return {};
    if (i < list.size() && (quoted || list[i] != ',')) continue;
    names.push_back(list.substr(begin, i - begin));
    begin = i + 2;
  }
  return names;
}

// The table of ALTER TABLE [ONLY], CREATE … ON [ONLY].
std::string_view TableAfter(std::string_view sql, std::string_view words) {
  const std::size_t found = sql.find(words);
  if (found == sql.npos) return {};
  const std::string_view rest = sql.substr(found + words.size());
  constexpr std::string_view kOnly = "ONLY ";
  return Word(rest, rest.starts_with(kOnly) ? kOnly.size() : 0);
}

std::string Joined(const std::vector<std::string_view>& names, std::string_view before,
                   std::string_view after, std::string_view between) {
  std::string text;
  for (const std::string_view name : names) {
    if (!text.empty()) text += between;
    text += std::string(before) + std::string(name) + std::string(after);
  }
  return text;
}

std::string QueryOfOrphans(std::string_view sql) {
  const std::string_view table = TableAfter(sql, "ALTER TABLE ");
  const auto referring = BracketsAfter(sql, "FOREIGN KEY (");
  const auto referred = BracketsAfter(sql, ") REFERENCES ");
  if (table.empty() || !referring || !referred) return {};
  const std::string_view parent = Word(sql, sql.find(") REFERENCES ") + 13);
  const std::vector<std::string_view> columns = Names(*referring);
  const std::vector<std::string_view> keys = Names(*referred);
  if (columns.size() != keys.size()) return {};
  std::string match;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    match += absl::StrFormat("%sr.%s = k.%s", i == 0 ? "" : " AND ", columns[i], keys[i]);
  }
  return absl::StrFormat("SELECT r.* FROM %s r WHERE %s AND NOT EXISTS (SELECT FROM %s k WHERE %s);", table,
                         Joined(columns, "r.", " IS NOT NULL", " AND "), parent, match);
}

std::string QueryOfDuplicates(std::string_view table, std::optional<std::string_view> list) {
  if (table.empty() || !list) return {};
  const std::vector<std::string_view> columns = Names(*list);
  if (columns.empty()) return {};
  return absl::StrFormat("SELECT %s, count(*) FROM %s WHERE %s GROUP BY %s HAVING count(*) > 1;", *list,
                         table, Joined(columns, "", " IS NOT NULL", " AND "), *list);
}

}  // namespace

bool IsRefusedByRows(const absl::Status& status) {
  const std::string sqlstate = SqlstateOf(status);
  return sqlstate == "23503" || sqlstate == "23505" || sqlstate == "23P01";
}

std::string QueryOfRefusedRows(const SchemaObject& object) {
  const std::string_view sql = object.sql;
  if (object.kind == "FK CONSTRAINT") return QueryOfOrphans(sql);
  const std::string_view statement = sql.substr(0, sql.find(";\n"));
  if (object.kind == "INDEX") {
    const bool is_partial = statement.find(") WHERE (") != statement.npos;
    const auto list = BracketsAfter(statement, " USING ");
    return is_partial ? std::string() : QueryOfDuplicates(TableAfter(statement, " ON "), list);
  }
  const std::string_view table = TableAfter(statement, "ALTER TABLE ");
  const auto key = BracketsAfter(statement, " PRIMARY KEY (");
  return QueryOfDuplicates(table, key ? key : BracketsAfter(statement, " UNIQUE ("));
}

}  // namespace walferry
