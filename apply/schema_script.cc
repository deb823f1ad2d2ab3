// Tested by tests/apply/schema_script_test.cc.
#include "apply/schema_script.h"

#include <array>
#include <cctype>

#include "stream/quote.h"

namespace walferry {
namespace {

constexpr std::string_view kHeader = "--\n-- Name: ";
constexpr std::string_view kEnd = "--\n-- PostgreSQL database dump complete\n";
// pg_dump sets them before the header of the first entry that needs another value than the one before.
constexpr std::string_view kEntrySetting = "SET default_";
// stream/session_settings.h
constexpr std::string_view kSettingOfEverySession = "SET default_table_access_method = heap;";

bool IsIdentifierCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || (c & 0x80) != 0;
}

// Walks over SQL text, knowing what is inside of a literal, a quoted identifier or a comment.
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html
class ScriptScanner {
 public:
  explicit ScriptScanner(std::string_view text) : text_(text) {}

  std::size_t position() const { return position_; }
  bool at_end() const { return position_ >= text_.size(); }
  // Whether `prefix` begins here, at the beginning of a line.
  bool AtLine(std::string_view prefix) const {
    return (position_ == 0 || text_[position_ - 1] == '\n') && text_.substr(position_).starts_with(prefix);
  }
  void SkipLine() { position_ = After("\n", position_); }

  // Over the next token, or one character of it.
  void Step() {
    const std::string_view rest = text_.substr(position_);
    if (rest.starts_with("--")) return SkipLine();
    if (rest.starts_with("/*")) return SkipBlockComment();
    if (rest.front() == '\'') return SkipLiteral();
    if (rest.front() == '"') return SkipTo("\"");
    if (rest.front() == '$' && SkipDollarQuoted()) return;
    ++position_;
  }

 private:
  std::size_t After(std::string_view what, std::size_t from) const {
    const std::size_t found = text_.find(what, from);
    return found == std::string_view::npos ? text_.size() : found + what.size();
  }
  void SkipTo(std::string_view closing) { position_ = After(closing, position_ + 1); }

  void SkipBlockComment() {
    int depth = 0;
    do {
      const std::string_view rest = text_.substr(position_);
      const bool opens = rest.starts_with("/*");
      const bool closes = rest.starts_with("*/");
      depth += opens ? 1 : closes ? -1 : 0;
      position_ += opens || closes ? 2 : 1;
    } while (depth > 0 && !at_end());
  }

  // '…', where '' is two literals side by side for our purpose, or E'…' with backslashes.
  void SkipLiteral() {
    const bool escapes = position_ > 0 && (text_[position_ - 1] | 0x20) == 'e' &&
                         (position_ == 1 || !IsIdentifierCharacter(text_[position_ - 2]));
    for (++position_; !at_end() && text_[position_] != '\''; ++position_) {
      if (escapes && text_[position_] == '\\') ++position_;
    }
    ++position_;
  }

  bool SkipDollarQuoted() {
    if (position_ > 0 && IsIdentifierCharacter(text_[position_ - 1])) return false;
    std::size_t end = position_ + 1;
    while (end < text_.size() && text_[end] != '$' && IsIdentifierCharacter(text_[end])) ++end;
    if (end >= text_.size() || text_[end] != '$') return false;
    const std::string_view tag = text_.substr(position_, end + 1 - position_);
    position_ = After(tag, end + 1);
    return true;
  }

  std::string_view text_;
  std::size_t position_ = 0;
};

std::string_view Trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \n") + 1 - first);
}

// Takes the settings of the next entry from the end of `sql`.
std::string_view TakeEntrySettings(std::string_view& sql) {
  std::size_t begin = sql.size();
  while (true) {
    const std::string_view before = Trimmed(sql.substr(0, begin));
    const std::size_t line = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
    if (!before.substr(line).starts_with(kEntrySetting)) break;
    begin = static_cast<std::size_t>(before.data() - sql.data()) + line;
  }
  const std::string_view settings = Trimmed(sql.substr(begin));
  sql = Trimmed(sql.substr(0, begin));
  return settings;
}

// "-- Name: a; Type: b; Schema: c; Owner: d[; Tablespace: e]": the name may hold anything but a line break,
// the rest is searched from the right.
ScriptEntry ParseHeader(std::string_view line) {
  constexpr std::string_view kName = "-- Name: ";
  constexpr std::string_view kType = "; Type: ";
  constexpr std::string_view kSchema = "; Schema: ";
  constexpr std::string_view kOwner = "; Owner: ";
  const std::size_t owner = line.rfind(kOwner);
  const std::size_t schema = line.rfind(kSchema, owner);
  const std::size_t type = line.rfind(kType, schema);
  if (owner == std::string_view::npos || schema == std::string_view::npos || type == std::string_view::npos)
    return {};
  ScriptEntry entry;
  entry.name = line.substr(kName.size(), type - kName.size());
  entry.type = line.substr(type + kType.size(), schema - type - kType.size());
  entry.schema = line.substr(schema + kSchema.size(), owner - schema - kSchema.size());
  return entry;
}

bool ExistsElsewhere(const ScriptEntry& entry) {
  if (entry.type == "SCHEMA") return entry.name == "public";
  if (entry.type == "COMMENT") return entry.name == "SCHEMA public" || entry.name.starts_with("EXTENSION ");
  return entry.type == "EXTENSION" && entry.name == "plpgsql";
}

template <std::size_t n>
bool Contains(const std::array<std::string_view, n>& list, std::string_view type) {
  for (const std::string_view each : list) {
    if (each == type) return true;
  }
  return false;
}

ObjectStage StageOf(std::string_view type) {
  constexpr std::array<std::string_view, 9> kLast = {"TRIGGER", "RULE",         "EVENT TRIGGER",
                                                     "POLICY",  "ROW SECURITY", "DEFAULT ACL",
                                                     "ACL",     "SUBSCRIPTION", "PUBLICATION"};
  if (type == "INDEX ATTACH") return ObjectStage::kAttach;
  if (type == "FK CONSTRAINT") return ObjectStage::kForeignKey;
  return Contains(kLast, type) ? ObjectStage::kTrigger : ObjectStage::kIndex;
}

std::string NameOf(const ScriptEntry& entry) {
  return entry.schema == "-" ? entry.name : entry.schema + "." + entry.name;
}

bool BelongsToPrevious(std::string_view type) {
  return type == "COMMENT" || type == "SECURITY LABEL";
}

// "FUNCTION f(integer)" of type ACL.
bool IsGrantOn(const std::set<DumpedObject>& objects, const ScriptEntry& entry) {
  const std::size_t space = entry.name.find(' ');
  return entry.type == "ACL" && space != std::string::npos &&
         objects.contains({entry.name.substr(0, space), entry.schema, entry.name.substr(space + 1)});
}

// Takes `word` from the beginning of `text`.
bool TakeWord(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

// Takes an identifier, quoted or not; empty where there is none.
std::string TakeIdentifier(std::string_view& text) {
  std::string name;
  if (!TakeWord(text, "\"")) {
    while (!text.empty() && IsIdentifierCharacter(text.front())) {
      name += text.front();
      text.remove_prefix(1);
    }
    return name;
  }
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '"' && !TakeWord(text, "\"")) return name;
    name += c;
  }
  return {};
}

std::optional<TableName> TakeTable(std::string_view& text) {
  TableName table;
  table.schema = TakeIdentifier(text);
  if (!TakeWord(text, ".")) return std::nullopt;
  table.name = TakeIdentifier(text);
  const bool ends = TakeWord(text, " ") || TakeWord(text, "\n");
  if (table.schema.empty() || table.name.empty() || !ends) return std::nullopt;
  return table;
}

// Where it is not a part of a longer word.
void ReplaceWord(std::string& text, const std::string& word, const std::string& replacement) {
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at)) {
    const std::size_t end = at + word.size();
    const bool begins =
        at == 0 || !(IsIdentifierCharacter(text[at - 1]) || text[at - 1] == '.' || text[at - 1] == '"');
    const bool ends = end == text.size() || !(IsIdentifierCharacter(text[end]) || text[end] == '"');
    if (begins && ends) text.replace(at, word.size(), replacement);
    at += begins && ends ? replacement.size() : word.size();
  }
}

void AddRefreshes(const std::vector<ScriptEntry>& entries, std::vector<SchemaObject>& objects) {
  for (const ScriptEntry& entry : entries) {
    if (entry.type != "MATERIALIZED VIEW") continue;
    const std::string name = QuoteName(entry.schema, entry.name);
    objects.push_back({.id = static_cast<std::int64_t>(objects.size()) + 1,
                       .stage = ObjectStage::kTrigger,
                       .kind = std::string(kRefreshKind),
                       .name = entry.schema + "." + entry.name,
                       .sql = "REFRESH MATERIALIZED VIEW " + name + ";"});
  }
}

}  // namespace

std::vector<ScriptEntry> SplitScript(std::string_view text) {
  std::vector<ScriptEntry> entries;
  std::size_t begin = 0;      // Of the statements under the header at hand.
  std::string_view settings;  // Of the entry at hand.
  const auto finish = [&](std::size_t end) {
    std::string_view sql = Trimmed(text.substr(begin, end - begin));
    const std::string_view next = TakeEntrySettings(sql);
    if (!entries.empty())
      entries.back().sql.append(settings).append(settings.empty() ? "" : "\n\n").append(sql);
    settings = next;
  };
  ScriptScanner scanner(text);
  while (!scanner.at_end()) {
    if (scanner.AtLine(kEnd)) break;
    if (!scanner.AtLine(kHeader)) {
      scanner.Step();
      continue;
    }
    finish(scanner.position());
    scanner.SkipLine();
    const std::size_t header = scanner.position();
    scanner.SkipLine();
    entries.push_back(ParseHeader(text.substr(header, scanner.position() - 1 - header)));
    scanner.SkipLine();
    begin = scanner.position();
  }
  finish(scanner.position());
  return entries;
}

absl::Status CheckScriptSettings(std::string_view text) {
  const std::string_view header = text.substr(0, text.find(kHeader));
  if (header.find("\nSET standard_conforming_strings = on;\n") != header.npos) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "pg_dump's session on the source has standard_conforming_strings off, so its script would change "
      "backslashes: ALTER DATABASE or ALTER ROLE ... RESET standard_conforming_strings there, or connect to "
      "the server without a pooler");
}

std::optional<TableName> TableOfIndex(const SchemaObject& object) {
  std::string_view sql = object.sql;
  if (object.kind == "CONSTRAINT") {
    return TakeWord(sql, "ALTER TABLE ONLY ") ? TakeTable(sql) : std::nullopt;
  }
  if (object.kind != "INDEX" || !TakeWord(sql, "CREATE ")) return std::nullopt;
  TakeWord(sql, "UNIQUE ");
  if (!TakeWord(sql, "INDEX ") || TakeIdentifier(sql).empty() || !TakeWord(sql, " ON ")) return std::nullopt;
  TakeWord(sql, "ONLY ");
  return TakeTable(sql);
}

std::optional<AttachedIndex> AttachedIndexOf(const SchemaObject& object) {
  if (object.kind != "INDEX ATTACH") return std::nullopt;
  std::string sql = object.sql.substr(0, object.sql.find(";\n"));
  if (sql.ends_with(";")) sql.pop_back();
  sql += " ";
  std::string_view rest = sql;
  if (!TakeWord(rest, "ALTER INDEX ")) return std::nullopt;
  std::optional<TableName> parent = TakeTable(rest);
  if (!parent || !TakeWord(rest, "ATTACH PARTITION ")) return std::nullopt;
  std::optional<TableName> index = TakeTable(rest);
  if (!index) return std::nullopt;
  return AttachedIndex{*std::move(parent), *std::move(index)};
}

void EraseEntries(const std::set<DumpedObject>& objects, std::vector<ScriptEntry>& entries) {
  bool follows = false;  // The entry before was taken out.
  std::erase_if(entries, [&](const ScriptEntry& entry) {
    if (BelongsToPrevious(entry.type)) return follows;
    follows = objects.contains({entry.type, entry.schema, entry.name}) || IsGrantOn(objects, entry);
    return follows;
  });
}

std::string WithTablesRenamed(std::string sql, const TableRenames& renames) {
  // Two tables may exchange their names: no new name stands there before all old ones are gone.
  const auto placeholder = [](std::size_t number) { return absl::StrFormat("\x01%d\x01", number); };
  for (std::size_t i = 0; i < renames.size(); ++i) {
    const TableName& old = renames[i].first;
    for (const std::string& schema : {old.schema, QuoteIdentifier(old.schema)}) {
      for (const std::string& name : {old.name, QuoteIdentifier(old.name)}) {
        ReplaceWord(sql, schema + "." + name, placeholder(i));
      }
    }
  }
  for (std::size_t i = 0; i < renames.size(); ++i) {
    const TableName& table = renames[i].second;
    ReplaceWord(sql, placeholder(i), QuoteName(table.schema, table.name));
  }
  return sql;
}

SchemaObject WithTablesRenamed(SchemaObject object, const TableRenames& renames) {
  const std::optional<TableName> indexed = object.kind == "INDEX" ? TableOfIndex(object) : std::nullopt;
  object.sql = WithTablesRenamed(std::move(object.sql), renames);
  for (const auto& [old, now] : renames) {
    const std::string of_table = old.ToString() + " ";
    if (object.name.starts_with(of_table)) {
      object.name = now.ToString() + " " + object.name.substr(of_table.size());
      break;
    }
    // An index goes with its table to another schema.
    if (indexed == old && object.name.starts_with(old.schema + ".")) {
      object.name = now.schema + object.name.substr(old.schema.size());
      break;
    }
  }
  return object;
}

std::vector<SchemaObject> PreDataObjects(const std::vector<ScriptEntry>& entries) {
  std::vector<SchemaObject> objects;
  std::string settings;  // That hold by now.
  for (const ScriptEntry& entry : entries) {
    if (ExistsElsewhere(entry) || entry.sql.empty()) continue;
    constexpr std::string_view kCreateSchema = "CREATE SCHEMA ";
    std::string sql = entry.sql;
    if (entry.type == "SCHEMA" && sql.starts_with(kCreateSchema)) {
      sql = "CREATE SCHEMA IF NOT EXISTS " + sql.substr(kCreateSchema.size());
    }
    if (sql.starts_with(kEntrySetting)) {
      settings = sql.substr(0, sql.find("\n\n"));
    } else if (!settings.empty() && settings != kSettingOfEverySession) {
      sql = settings + "\n\n" + sql;
    }
    objects.push_back(
        {.stage = ObjectStage::kPreData, .kind = entry.type, .name = NameOf(entry), .sql = std::move(sql)});
  }
  for (std::size_t i = 0; i < objects.size(); ++i) {
    objects[i].id = static_cast<std::int64_t>(i) - static_cast<std::int64_t>(objects.size());
  }
  return objects;
}

std::string PreDataSql(const std::vector<ScriptEntry>& entries) {
  std::string sql;
  for (const SchemaObject& object : PreDataObjects(entries)) sql += object.sql + "\n\n";
  return sql;
}

std::vector<SchemaObject> PostDataObjects(const std::vector<ScriptEntry>& pre_data,
                                          const std::vector<ScriptEntry>& post_data) {
  std::vector<SchemaObject> objects;
  for (const ScriptEntry& entry : post_data) {
    if (BelongsToPrevious(entry.type) && !objects.empty()) {
      objects.back().sql.append("\n").append(entry.sql);
      continue;
    }
    objects.push_back({.id = static_cast<std::int64_t>(objects.size()) + 1,
                       .stage = StageOf(entry.type),
                       .kind = entry.type,
                       .name = NameOf(entry),
                       .sql = entry.sql});
  }
  AddRefreshes(pre_data, objects);
  AddRefreshes(post_data, objects);
  return objects;
}

}  // namespace walferry
