#include "tools/table_match.h"

#include <nlohmann/json.hpp>
#include <set>

namespace walferry {
namespace {

constexpr std::size_t kNamedAtMost = 5;

std::string Join(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kNamedAtMost; ++i) {
    if (i > 0) text += ", ";
    text += names[i];
  }
  if (names.size() > kNamedAtMost) text += absl::StrFormat(" and %d more", names.size() - kNamedAtMost);
  return text;
}

}  // namespace

absl::Status CheckPatternsMatch(Connection& source, const TableFilter& filter) {
  WF_ASSIGN_OR_RETURN(const std::vector<SourceTable> tables, ListSourceTables(source));
  const std::vector<std::string> unmatched = filter.Unmatched(tables);
  if (unmatched.empty()) return absl::OkStatus();
  return Errorf(absl::StatusCode::kFailedPrecondition,
                "no table of the source matches %s: correct --tables and --exclude-tables (names are "
                "case-sensitive; * is a wildcard)",
                Join(unmatched));
}

absl::StatusOr<TablePairs> ReadTablePairs(Connection& source, Connection& target,
                                          const std::vector<TableName>& tables) {
  TablePairs pairs;
  WF_ASSIGN_OR_RETURN(pairs.source, ReadTableFacts(source, tables));
  WF_ASSIGN_OR_RETURN(pairs.target, ReadTableFacts(target, tables));
  return pairs;
}

absl::StatusOr<PublishedColumns> ReadPublishedColumns(Connection& source, const std::string& publications) {
  constexpr int kFirstVersionWithLists = 150000;
  PublishedColumns published;
  if (source.server_version() < kFirstVersionWithLists) return published;
  WF_ASSIGN_OR_RETURN(const std::vector<std::string> names, ParsePublicationList(publications));
  WF_ASSIGN_OR_RETURN(const Result rows, source.Execute(R"sql(
SELECT t.schemaname, t.tablename, a.name,
       t.attnames <> first_value(t.attnames) OVER (PARTITION BY t.schemaname, t.tablename ORDER BY t.pubname)
FROM pg_catalog.pg_publication_tables t CROSS JOIN LATERAL pg_catalog.unnest(t.attnames) a (name)
WHERE t.pubname IN (SELECT pg_catalog.json_array_elements_text($1::text::json)))sql",
                                                        {nlohmann::json(names).dump()}));
  for (int row = 0; row < rows.rows(); ++row) {
    const TableName table = {std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1))};
    if (rows.GetBool(row, 3)) {
      return Errorf(
          absl::StatusCode::kFailedPrecondition,
          "publications %s have different column lists for table %s, which the source cannot decode: "
          "give it the same list in each (ALTER PUBLICATION … SET TABLE), or name fewer publications",
          publications, table.ToString());
    }
    published[table].emplace(rows.Get(row, 2));
  }
  return published;
}

absl::Status KeepPublishedColumns(Connection& source, const std::string& publications, TablePairs& tables) {
  WF_ASSIGN_OR_RETURN(const PublishedColumns published, ReadPublishedColumns(source, publications));
  for (auto& [table, facts] : tables.source) {
    const auto found = published.find(table);
    if (found == published.end()) continue;
    std::erase_if(facts.columns,
                  [&](const ColumnFacts& column) { return !found->second.contains(column.name); });
  }
  return absl::OkStatus();
}

absl::Status CheckTablesMatch(const TablePairs& tables) {
  std::vector<std::string> missing_tables;
  std::vector<std::string> missing_columns;
  std::vector<std::string> generated_columns;
  std::string drop_expression;  // For the first of them.
  for (const auto& [table, facts] : tables.source) {
    const auto found = tables.target.find(table);
    if (found == tables.target.end()) {
      missing_tables.push_back(table.ToString());
      continue;
    }
    for (const ColumnFacts& column : facts.columns) {
      if (column.generated) continue;
      const ColumnFacts* const other = found->second.FindColumn(column.name);
      if (other == nullptr) {
        missing_columns.push_back(table.ToString() + "." + column.name + " (" + column.type + ")");
      } else if (other->generated) {
        generated_columns.push_back(table.ToString() + "." + column.name);
        if (!drop_expression.empty()) continue;
        drop_expression = absl::StrFormat("ALTER TABLE %s ALTER COLUMN %s DROP EXPRESSION",
                                          QuoteName(table.schema, table.name), QuoteIdentifier(column.name));
      }
    }
  }
  if (!missing_tables.empty()) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "the target lacks %s: create it there first (pg_dump --schema-only), or leave it out with "
                  "--exclude-tables",
                  Join(missing_tables));
  }
  if (!missing_columns.empty()) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "the target lacks %s: add it there with ALTER TABLE … ADD COLUMN first",
                  Join(missing_columns));
  }
  if (!generated_columns.empty()) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "the target generates %s, which the source has as plain columns: run there %s%s",
                  Join(generated_columns), drop_expression,
                  generated_columns.size() > 1 ? ", and likewise for the others" : "");
  }
  return absl::OkStatus();
}

bool BinarySuits(const TablePairs& tables) {
  for (const auto& [table, facts] : tables.source) {
    const auto found = tables.target.find(table);
    if (found == tables.target.end()) continue;
    for (const ColumnFacts& column : facts.columns) {
      const ColumnFacts* const other = found->second.FindColumn(column.name);
      if (column.generated || other == nullptr) continue;
      const bool is_array = column.type.ends_with("[]");
      if (is_array || column.wire_format.empty() || column.wire_format != other->wire_format) return false;
    }
  }
  return true;
}

}  // namespace walferry
