#include "tools/table_filter.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "stream/quote.h"

namespace walferry {
namespace {

// pg_partition_ancestors() is of version 12; the recursion does the same on all.
constexpr const char* kTablesSql = R"(
WITH RECURSIVE ancestor(leaf, parent, depth) AS (
  SELECT i.inhrelid, i.inhparent, 1
  FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
  WHERE c.relispartition
  UNION ALL
  SELECT a.leaf, i.inhparent, a.depth + 1
  FROM ancestor a
  JOIN pg_catalog.pg_class c ON c.oid = a.parent AND c.relispartition
  JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.parent
)
SELECT n.nspname, c.relname, c.oid, pg_catalog.pg_table_size(c.oid), c.reltuples::bigint, c.relreplident,
       EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND x.indisprimary),
       c.relreplident = 'f' OR EXISTS (
         SELECT FROM pg_catalog.pg_index x
         WHERE x.indrelid = c.oid AND x.indisvalid AND x.indimmediate
           AND CASE c.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END),
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(an.nspname, ac.relname) ORDER BY a.depth)
        FROM ancestor a
        JOIN pg_catalog.pg_class ac ON ac.oid = a.parent
        JOIN pg_catalog.pg_namespace an ON an.oid = ac.relnamespace
        WHERE a.leaf = c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'walferry') AND n.nspname NOT LIKE 'pg\_toast%'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0
                    AND d.deptype = 'e')
ORDER BY n.nspname::text COLLATE "C", c.relname::text COLLATE "C")";

std::vector<TableName> ParseAncestors(std::string_view json) {
  std::vector<TableName> ancestors;
  if (json.empty()) return ancestors;
  for (const auto& pair : nlohmann::json::parse(json)) {
    ancestors.push_back({pair.at(0).get<std::string>(), pair.at(1).get<std::string>()});
  }
  return ancestors;
}

}  // namespace

absl::StatusOr<std::vector<SourceTable>> ListSourceTables(Connection& source) {
  WF_ASSIGN_OR_RETURN(const Result rows, source.Execute(kTablesSql));
  std::vector<SourceTable> tables;
  tables.reserve(static_cast<std::size_t>(rows.rows()));
  for (int i = 0; i < rows.rows(); ++i) {
    SourceTable& table = tables.emplace_back();
    table.name = {std::string(rows.Get(i, 0)), std::string(rows.Get(i, 1))};
    table.oid = static_cast<Oid>(rows.GetInt(i, 2));
    table.size_bytes = rows.GetInt(i, 3);
    table.estimated_rows = rows.GetInt(i, 4);
    table.replica_identity = static_cast<ReplicaIdentity>(rows.Get(i, 5).front());
    table.has_primary_key = rows.GetBool(i, 6);
    table.has_identity = rows.GetBool(i, 7);
    table.ancestors = ParseAncestors(rows.Get(i, 8));
  }
  return tables;
}

absl::StatusOr<TableFilter> TableFilter::Parse(const std::vector<std::string>& tables,
                                               const std::vector<std::string>& exclude_tables) {
  TableFilter filter;
  for (const std::string& list : tables) WF_RETURN_IF_ERROR(ParseList(list, filter.included_));
  for (const std::string& list : exclude_tables) WF_RETURN_IF_ERROR(ParseList(list, filter.excluded_));
  return filter;
}

std::string TableFilter::ToText() const {
  nlohmann::json text = {{"tables", nlohmann::json::array()}, {"exclude", nlohmann::json::array()}};
  for (const Pattern& pattern : included_) text["tables"].push_back(pattern.given);
  for (const Pattern& pattern : excluded_) text["exclude"].push_back(pattern.given);
  return text.dump();
}

absl::StatusOr<TableFilter> TableFilter::FromText(const std::string& text) {
  const nlohmann::json found = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!found.is_object()) return TableFilter();
  return Parse(found.value("tables", std::vector<std::string>()),
               found.value("exclude", std::vector<std::string>()));
}

TableFilter TableFilter::Without(const TableFilter& more) const {
  TableFilter filter = *this;
  filter.excluded_.insert(filter.excluded_.end(), more.excluded_.begin(), more.excluded_.end());
  return filter;
}

std::string TableFilter::PatternOf(const TableName& table) {
  bool plain = true;
  std::string pattern;
  for (const std::string* part : {&table.schema, &table.name}) {
    const bool quoted = part->find_first_of(",.*\" ") != std::string::npos;
    pattern += (pattern.empty() ? "" : ".") + (quoted ? QuoteIdentifier(*part) : *part);
    plain = plain && std::all_of(part->begin(), part->end(), [](unsigned char c) {
              return std::isalnum(c) != 0 || c == '_' || c >= 0x80;
            });
  }
  if (plain) return pattern;
  std::string argument = "'";
  for (const char c : pattern) c == '\'' ? argument += "'\\''" : argument += c;
  return argument + "'";
}

absl::Status TableFilter::ParseList(std::string_view list, std::vector<Pattern>& patterns) {
  Pattern pattern;
  bool in_name = false;
  bool quoted = false;
  const auto finish = [&]() -> absl::Status {
    while (!pattern.given.empty() && pattern.given.back() == ' ') pattern.given.pop_back();
    if (quoted || !in_name || pattern.schema.empty() || pattern.name.empty()) {
      return Errorf(absl::StatusCode::kInvalidArgument,
                    "\"%s\" in a list of tables is not of the form schema.table (wildcard *)", pattern.given);
    }
    patterns.push_back(std::exchange(pattern, {}));
    in_name = false;
    return absl::OkStatus();
  };
  const auto add = [&](char c) {
    std::vector<Piece>& pieces = in_name ? pattern.name : pattern.schema;
    if (pieces.empty() || pieces.back().wildcard) pieces.emplace_back();
    pieces.back().text.push_back(c);
  };
  for (std::size_t i = 0; i < list.size(); ++i) {
    const char c = list[i];
    if (c == ',' && !quoted) {
      WF_RETURN_IF_ERROR(finish());
      continue;
    }
    if (pattern.given.empty() && c == ' ') continue;
    pattern.given.push_back(c);
    if (c == '"' && quoted && i + 1 < list.size() && list[i + 1] == '"') {
      add(list[++i]);
      pattern.given.push_back(c);
    } else if (c == '"') {
      quoted = !quoted;
    } else if (quoted) {
      add(c);
    } else if (c == '.' && !in_name) {
      in_name = true;
    } else if (c == '*') {
      (in_name ? pattern.name : pattern.schema).push_back({.wildcard = true, .text = ""});
    } else if (c != ' ') {
      add(c);
    }
  }
  return finish();
}

bool TableFilter::PieceMatches(const std::vector<Piece>& pieces, std::size_t index, std::string_view text) {
  if (index == pieces.size()) return text.empty();
  const Piece& piece = pieces[index];
  if (!piece.wildcard) {
    return text.starts_with(piece.text) && PieceMatches(pieces, index + 1, text.substr(piece.text.size()));
  }
  for (std::size_t skip = 0; skip <= text.size(); ++skip) {
    if (PieceMatches(pieces, index + 1, text.substr(skip))) return true;
  }
  return false;
}

bool TableFilter::PatternMatches(const Pattern& pattern, const SourceTable& table) {
  const auto matches = [&](const TableName& name) {
    return PieceMatches(pattern.schema, 0, name.schema) && PieceMatches(pattern.name, 0, name.name);
  };
  return matches(table.name) || std::any_of(table.ancestors.begin(), table.ancestors.end(), matches);
}

bool TableFilter::AnyMatches(const std::vector<Pattern>& patterns, const SourceTable& table) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const Pattern& pattern) { return PatternMatches(pattern, table); });
}

bool TableFilter::Matches(const SourceTable& table) const {
  return (included_.empty() || AnyMatches(included_, table)) && !AnyMatches(excluded_, table);
}

bool TableFilter::Matches(const TableName& table) const {
  SourceTable named;
  named.name = table;
  return Matches(named);
}

bool TableFilter::Excludes(const TableName& name) const {
  SourceTable named;
  named.name = name;
  return AnyMatches(excluded_, named);
}

std::vector<SourceTable> TableFilter::Select(const std::vector<SourceTable>& tables) const {
  std::vector<SourceTable> selected;
  std::copy_if(tables.begin(), tables.end(), std::back_inserter(selected),
               [this](const SourceTable& table) { return Matches(table); });
  return selected;
}

std::vector<std::string> TableFilter::Unmatched(const std::vector<SourceTable>& tables) const {
  std::vector<std::string> unmatched;
  for (const auto* patterns : {&included_, &excluded_}) {
    for (const Pattern& pattern : *patterns) {
      const bool found = std::any_of(tables.begin(), tables.end(), [&](const SourceTable& table) {
        return PatternMatches(pattern, table);
      });
      if (!found) unmatched.push_back(pattern.given);
    }
  }
  return unmatched;
}

}  // namespace walferry
