// Tested by tests/apply/object_difference_test.cc.
#include "apply/object_difference.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "apply/schema_script.h"
#include "stream/quote.h"

namespace walferry {
namespace {

using Key = std::pair<std::string, std::string>;

Key KeyOf(const SchemaObject& object) {
  return {object.kind, object.name};
}

// Several may have the same name (default privileges of several roles): those that are equal come first.
template <typename IsSame>
void Pair(std::vector<SchemaObject>& recorded, std::vector<SchemaObject>& dumped, const IsSame& is_same,
          std::vector<ChangedObject>& pairs) {
  std::multimap<Key, SchemaObject> by_key;
  for (SchemaObject& object : recorded) by_key.emplace(KeyOf(object), std::move(object));
  std::erase_if(dumped, [&](SchemaObject& object) {
    const auto [begin, end] = by_key.equal_range(KeyOf(object));
    const auto found =
        std::find_if(begin, end, [&](const auto& other) { return is_same(other.second, object); });
    if (found == end) return false;
    ChangedObject& pair = pairs.emplace_back();
    pair.before = std::move(found->second);
    pair.after = std::move(object);
    pair.after.id = pair.before.id;
    pair.after.done = pair.before.done;
    by_key.erase(found);
    return true;
  });
  recorded.clear();
  for (auto& [key, object] : by_key) recorded.push_back(std::move(object));
}

// "schema.table name", as the headers have it, in its parts.
std::optional<std::pair<std::string, std::string>> TableAndName(const SchemaObject& object) {
  const std::size_t space = object.name.rfind(' ');
  const std::size_t dot = object.name.find('.');
  if (space == std::string::npos || dot == std::string::npos || dot > space) return std::nullopt;
  return std::pair(QuoteName(object.name.substr(0, dot), object.name.substr(dot + 1, space - dot - 1)),
                   QuoteIdentifier(object.name.substr(space + 1)));
}

// The statement without the name of what it makes; empty for a kind that need not be told by another name.
std::string WithoutOwnName(const SchemaObject& object) {
  const bool is_index = object.kind == "INDEX";
  if (!is_index && object.kind != "CONSTRAINT") return {};
  std::string sql = FirstStatement(object.sql);
  const std::string_view before = is_index ? "INDEX " : "ADD CONSTRAINT ";
  const std::size_t found = sql.find(before);
  if (found == std::string::npos) return {};
  const std::size_t begin = found + before.size();
  std::size_t end = begin;
  for (bool quoted = false; end < sql.size() && (quoted || sql[end] != ' '); ++end) {
    if (sql[end] == '"') quoted = !quoted;
  }
  return sql.erase(begin, end - begin);
}

// pg_dump names the table of a constraint, too.
bool IsRenamed(const SchemaObject& before, const SchemaObject& after) {
  return before.kind == after.kind && !WithoutOwnName(before).empty() &&
         WithoutOwnName(before) == WithoutOwnName(after);
}

void TakeRenamed(const ObjectCatalog& there, ObjectDifference& difference) {
  std::erase_if(difference.added, [&](const SchemaObject& after) {
    if (there.IsThere(after)) return false;
    const auto before = std::find_if(difference.gone.begin(), difference.gone.end(), [&](const auto& object) {
      return there.Has(object).value_or(false) && IsRenamed(object, after);
    });
    if (before == difference.gone.end()) return false;
    difference.renamed.push_back({*before, after});
    difference.gone.erase(before);
    return true;
  });
}

}  // namespace

ObjectDifference CompareObjects(const std::vector<SchemaObject>& recorded,
                                const std::vector<SchemaObject>& dumped, const ObjectCatalog& there) {
  ObjectDifference difference;
  std::vector<SchemaObject> before;
  for (const SchemaObject& object : recorded) {
    // No dump has it by itself.
    (object.kind == kCommentKind ? difference.kept : before).push_back(object);
  }
  std::vector<SchemaObject> after = dumped;
  std::vector<ChangedObject> same;
  std::vector<ChangedObject> other;
  Pair(
      before, after, [](const auto& a, const auto& b) { return a.sql == b.sql; }, same);
  Pair(
      before, after, [](const auto&, const auto&) { return true; }, other);
  for (ChangedObject& pair : same) difference.kept.push_back(std::move(pair.before));
  for (ChangedObject& pair : other) {
    const bool is_there = there.IsThere(pair.before);
    (is_there ? difference.different : difference.changed).push_back(std::move(pair));
  }
  difference.gone = std::move(before);
  for (SchemaObject& object : after) {
    object.id = 0;
    difference.added.push_back(std::move(object));
  }
  TakeRenamed(there, difference);
  return difference;
}

void EraseAttachedOtherwise(const ObjectCatalog& there, std::vector<SchemaObject>& dumped) {
  std::map<TableName, TableName> tables;  // Of indexes, by their names.
  for (const SchemaObject& object : dumped) {
    const std::optional<TableName> table = TableOfIndex(object);
    if (!table) continue;
    const std::size_t begin = object.kind == "INDEX" ? object.name.find('.') : object.name.rfind(' ');
    if (begin != std::string::npos) tables[{table->schema, object.name.substr(begin + 1)}] = *table;
  }
  std::set<TableName> needless;
  std::erase_if(dumped, [&](const SchemaObject& object) {
    const std::optional<AttachedIndex> attached = AttachedIndexOf(object);
    if (!attached || there.Has(object).value_or(true) || !tables.contains(attached->index)) return false;
    if (!there.HasPartOf(attached->parent, tables.at(attached->index))) return false;
    needless.insert(attached->index);
    return true;
  });
  std::erase_if(dumped, [&](const SchemaObject& object) {
    const std::optional<TableName> table = TableOfIndex(object);
    if (!table) return false;
    const std::size_t begin = object.kind == "INDEX" ? object.name.find('.') : object.name.rfind(' ');
    return begin != std::string::npos && needless.contains({table->schema, object.name.substr(begin + 1)});
  });
}

std::string DropOf(const SchemaObject& object) {
  if (object.kind == "INDEX" || object.kind == "STATISTICS") {
    const std::size_t dot = object.name.find('.');
    if (dot == std::string::npos) return {};
    return absl::StrFormat("DROP %s %s;", object.kind,
                           QuoteName(object.name.substr(0, dot), object.name.substr(dot + 1)));
  }
  const auto parts = TableAndName(object);
  if (!parts) return {};
  const auto& [table, name] = *parts;
  if (object.kind.ends_with("CONSTRAINT")) {
    return absl::StrFormat("ALTER TABLE %s DROP CONSTRAINT %s;", table, name);
  }
  if (object.kind != "TRIGGER" && object.kind != "RULE" && object.kind != "POLICY") return {};
  return absl::StrFormat("DROP %s %s ON %s;", object.kind, name, table);
}

std::string CommentsOf(const std::string& sql) {
  constexpr std::string_view kComment = "\nCOMMENT ON ";
  const std::size_t found = sql.find(kComment);
  return found == std::string::npos ? std::string() : sql.substr(found + 1);
}

std::string FirstStatement(const std::string& sql) {
  char quote = 0;
  for (std::size_t i = 0; i < sql.size(); ++i) {
    if (quote != 0) {
      if (sql[i] == quote) quote = 0;
    } else if (sql[i] == '\'' || sql[i] == '"') {
      quote = sql[i];
    } else if (sql[i] == ';') {
      return sql.substr(0, i + 1);
    }
  }
  return sql;
}

}  // namespace walferry
