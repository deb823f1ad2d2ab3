// Tested by tests/tools/column_changes_test.cc.
#include "tools/column_changes.h"

#include <algorithm>
#include <cctype>
#include <iterator>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "stream/quote.h"

namespace walferry {
namespace {

// The value of a default that is a literal: 5, 'open'::text. nullopt for all others.
std::optional<std::string> LiteralValue(const std::string& expression) {
  if (expression.empty()) return std::nullopt;
  if (expression.front() != '\'') {
    const bool plain = std::all_of(expression.begin(), expression.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-';
    });
    return plain ? std::optional(expression) : std::nullopt;
  }
  std::string value;
  std::size_t i = 1;
  for (; i < expression.size(); ++i) {
    if (expression[i] == '\'' && (i + 1 == expression.size() || expression[i + 1] != '\'')) break;
    if (expression[i] == '\'') ++i;
    value.push_back(expression[i]);
  }
  const std::string_view rest = std::string_view(expression).substr(std::min(i + 1, expression.size()));
  const bool only_casts = rest.empty() || (rest.starts_with("::") && rest.find('\'') == rest.npos);
  return only_casts ? std::optional(value) : std::nullopt;
}

// The default with which rows that are there get what the source's have. Where the source wrote none of them
// and has no value for them, they are NULL there, whatever new ones get.
std::string FillingDefault(const SourceColumn& column, bool rewritten) {
  const std::optional<std::string> literal = LiteralValue(column.default_expression);
  if (column.missing_value) {
    return literal == column.missing_value ? column.default_expression
                                           : QuoteLiteral(*column.missing_value) + "::" + column.type;
  }
  return literal && rewritten ? column.default_expression : "";
}

std::vector<SourceColumn> Published(const std::vector<SourceColumn>& columns) {
  std::vector<SourceColumn> published;
  std::copy_if(columns.begin(), columns.end(), std::back_inserter(published),
               [](const SourceColumn& one) { return one.generated.empty(); });
  return published;
}

// Same names and types, but of other columns.
bool LookAlike(const std::vector<SourceColumn>& a, const std::vector<SourceColumn>& b) {
  const bool same_look = std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.name == y.name && x.type_oid == y.type_oid;
  });
  return same_look && !std::equal(a.begin(), a.end(), b.begin(), b.end(),
                                  [](const auto& x, const auto& y) { return x.attnum == y.attnum; });
}

// A change of type without a rewrite keeps the source's bytes, but not what is read of them: the time zone of
// the session says what a timestamp is. Values are the same where the type is, whatever its length or
// precision by now, and where one is read as the other.
bool KeepsValues(const SourceColumn& before, const SourceColumn& now) {
  constexpr Oid kXml = 142;
  constexpr Oid kText = 25;
  constexpr Oid kVarchar = 1043;
  constexpr Oid kCidr = 650;
  constexpr Oid kInet = 869;
  if (before.type_oid == now.type_oid) return true;
  const bool to_text = now.type_oid == kText || now.type_oid == kVarchar;
  if (to_text) return before.type_oid == kText || before.type_oid == kVarchar || before.type_oid == kXml;
  return before.type_oid == kCidr && now.type_oid == kInet;
}

// What nextval('public.t_id_seq'::regclass) counts with, as SQL writes it; "" for other defaults.
std::string SequenceOf(const std::string& expression) {
  constexpr std::string_view kCall = "nextval(";
  if (!expression.starts_with(kCall)) return "";
  return LiteralValue(expression.substr(kCall.size())).value_or("");
}

std::string IdentityClause(const SourceColumn& column) {
  return absl::StrFormat(" GENERATED %s AS IDENTITY%s", column.identity == "a" ? "ALWAYS" : "BY DEFAULT",
                         column.sequence.empty() ? "" : " (SEQUENCE NAME " + column.sequence + ")");
}

class Comparison {
 public:
  Comparison(const SourceRelation& recorded, const SourceRelation& source, const SourceRelation& target)
      : recorded_(recorded),
        source_(source),
        target_(target),
        rewritten_(recorded.filenode != source.filenode) {}

  ColumnChanges Run() {
    for (const SourceColumn& column : source_.columns) {
      const SourceColumn* const before = recorded_.FindColumn(column.attnum);
      before == nullptr ? Added(column) : Kept(*before, column);
    }
    for (const SourceColumn& column : recorded_.columns) {
      if (source_.FindColumn(column.attnum) == nullptr) Dropped(column);
    }
    DroppedBefore();
    CompareWithEarlierShapes();
    return std::move(changes_);
  }

 private:
  // A column that is known by its number and is gone was dropped there. Another one may have its name by now.
  const SourceColumn* TargetOf(const SourceColumn& recorded) const {
    return recorded.target_attnum == 0 ? target_.FindColumn(recorded.name)
                                       : target_.FindColumn(recorded.target_attnum);
  }

  // A column of the target that belongs to one that the source has had, and still has.
  bool IsInUse(const SourceColumn& there) const {
    return std::any_of(recorded_.columns.begin(), recorded_.columns.end(), [&](const auto& one) {
      return source_.FindColumn(one.attnum) != nullptr && TargetOf(one) == &there;
    });
  }

  // What was dropped on the source, and whose name another of its columns has now.
  const SourceColumn* HeirOf(const SourceColumn& dropped) const {
    const SourceColumn* const heir = source_.FindColumn(dropped.name);
    return heir != nullptr && recorded_.FindColumn(heir->attnum) == nullptr ? heir : nullptr;
  }

  void Say(const std::string& what) { changes_.what.push_back(what); }
  void NeedsCopy(std::string why) {
    if (changes_.needs_copy.empty()) changes_.needs_copy = std::move(why);
  }

  void Added(const SourceColumn& column) {
    const std::string name = QuoteIdentifier(column.name);
    const SourceColumn* const there = TargetOfAdded(column);
    if (there == nullptr) {
      std::string clause = absl::StrFormat("ADD COLUMN %s %s", name, column.type);
      if (!column.generated.empty()) {
        Say("column " + column.name + " was added");
        changes_.additions.push_back(clause + " GENERATED ALWAYS AS (" + column.generated + ") STORED");
        return;
      }
      if (!column.identity.empty()) clause += IdentityClause(column);
      const std::string filling = FillingDefault(column, rewritten_);
      if (!filling.empty()) clause += " DEFAULT " + filling;
      if (!filling.empty() && column.not_null) clause += " NOT NULL";
      Say("column " + column.name + " was added");
      changes_.additions.push_back(clause);
      changes_.aligned = false;
      return;
    }
    SourceColumn recorded = column;
    recorded.target_attnum = there->attnum;
    if (column.generated.empty()) {
      if (!FilledAlike(column, *there)) {
        NeedsCopy("column " + column.name + " was added with values that its rows here do not have");
      }
      CompareNotNull(column, *there, recorded);
      CompareIdentity(column, *there, recorded);
      CompareDefault(column, *there, recorded);
    }
    changes_.columns.push_back(std::move(recorded));
  }

  // For certain. A rewrite stores the value that rows were missing: what a target's column has that has a
  // default and misses none is not known.
  bool FilledAlike(const SourceColumn& column, const SourceColumn& there) const {
    if (column.missing_value != there.missing_value) return false;
    return column.missing_value.has_value() || (!rewritten_ && there.default_expression.empty());
  }

  // nullptr, too, where the target's column of that name is another one, which makes room.
  const SourceColumn* TargetOfAdded(const SourceColumn& column) const {
    const SourceColumn* const there = target_.FindColumn(column.name);
    return there == nullptr || IsInUse(*there) || MakesRoom(*there, column) ? nullptr : there;
  }

  // It is of a column that was dropped, and cannot take the values of the one that has its name now.
  bool MakesRoom(const SourceColumn& there, const SourceColumn& heir) const {
    return there.type != heir.type &&
           std::any_of(recorded_.columns.begin(), recorded_.columns.end(), [&](const auto& one) {
             return source_.FindColumn(one.attnum) == nullptr && TargetOf(one) == &there;
           });
  }

  void Kept(const SourceColumn& before, const SourceColumn& now) {
    SourceColumn recorded = now;
    recorded.target_attnum = before.target_attnum;
    recorded.default_expression = before.default_expression;
    recorded.not_null = before.not_null;
    recorded.identity = before.identity;
    const SourceColumn* there = TargetOf(before);
    if (before.name != now.name) there = Renamed(before, now, there, recorded);
    if (there != nullptr) {
      if (recorded.target_attnum == 0) recorded.target_attnum = there->attnum;
      CompareType(before, now, *there);
      CompareGenerated(before, now, *there);
      if (before.not_null != now.not_null) CompareNotNull(now, *there, recorded);
      if (before.identity != now.identity) CompareIdentity(now, *there, recorded);
      if (before.default_expression != now.default_expression) CompareDefault(now, *there, recorded);
    }
    // Nothing but ALTER TABLE touches the column's row in the catalog, except for a missing value that a
    // rewrite of another kind has stored.
    if (rewritten_ && before.version != now.version && !before.missing_value && before.type == now.type) {
      NeedsCopy("it was rewritten by ALTER TABLE");
    }
    changes_.columns.push_back(std::move(recorded));
  }

  // The target's column under its new name, or nullptr.
  const SourceColumn* Renamed(const SourceColumn& before, const SourceColumn& now, const SourceColumn* there,
                              SourceColumn& recorded) {
    if (there != nullptr && there->name == now.name) return there;
    const SourceColumn* const other = target_.FindColumn(now.name);
    const bool is_anothers =
        other != nullptr &&
        std::any_of(recorded_.columns.begin(), recorded_.columns.end(),
                    [&](const auto& one) { return one.attnum != now.attnum && TargetOf(one) == other; });
    if (other == nullptr || is_anothers) {
      Say("column " + before.name + " was renamed to " + now.name);
      changes_.renames.emplace_back(QuoteIdentifier(before.name), QuoteIdentifier(now.name));
      changes_.aligned = false;
      return there;
    }
    recorded.target_attnum = other->attnum;
    NeedsCopy("column " + now.name + ", which was " + before.name + ", was added here in its place");
    return other;
  }

  void CompareType(const SourceColumn& before, const SourceColumn& now, const SourceColumn& there) {
    if (before.type == now.type && before.type_oid == now.type_oid) return;
    const std::string what =
        absl::StrFormat("column %s was changed from %s to %s", now.name, before.type, now.type);
    if (there.type != now.type) {
      Say(what);
      const std::string name = QuoteIdentifier(there.name);
      changes_.alterations.push_back(
          absl::StrFormat("ALTER COLUMN %s TYPE %s USING %s::%s", name, now.type, name, now.type));
      changes_.aligned = false;
    }
    if (rewritten_ || !KeepsValues(before, now)) NeedsCopy(what);
  }

  void CompareGenerated(const SourceColumn& before, const SourceColumn& now, const SourceColumn& there) {
    if (before.generated == now.generated) return;
    const std::string name = QuoteIdentifier(there.name);
    if (!now.generated.empty()) {
      if (there.generated == now.generated) return;
      Say("column " + now.name + " is generated by another expression");
      changes_.alterations.push_back("ALTER COLUMN " + name + " SET EXPRESSION AS (" + now.generated + ")");
      return;
    }
    const std::string what = "column " + now.name + " is not generated any more (DROP EXPRESSION)";
    if (!there.generated.empty()) {
      Say(what);
      changes_.alterations.push_back("ALTER COLUMN " + name + " DROP EXPRESSION");
      changes_.aligned = false;
    }
    NeedsCopy(what);
  }

  // Default, identity and NOT NULL are what the application will need, not the stream. They stay different
  // from what is recorded until the target has them.
  void CompareDefault(const SourceColumn& now, const SourceColumn& there, SourceColumn& recorded) {
    recorded.default_expression = there.default_expression;
    if (there.default_expression == now.default_expression) return;
    Say("column " + now.name + " has another default");
    if (now.default_expression.empty()) return DropDefault(there);
    const std::string sequence = SequenceOf(now.default_expression);
    if (!sequence.empty()) changes_.used_sequences.push_back(sequence);
    if (!sequence.empty() && sequence == now.sequence) {
      changes_.owned_sequences.emplace_back(QuoteIdentifier(now.name), sequence);
    }
    changes_.alterations.push_back("ALTER COLUMN " + QuoteIdentifier(there.name) + " SET DEFAULT " +
                                   now.default_expression);
  }

  void DropDefault(const SourceColumn& there) {
    std::string clause = "ALTER COLUMN " + QuoteIdentifier(there.name) + " DROP DEFAULT";
    const auto& drops = changes_.drops;
    if (std::find(drops.begin(), drops.end(), clause) == drops.end()) changes_.drops.push_back(clause);
  }

  void CompareIdentity(const SourceColumn& now, const SourceColumn& there, SourceColumn& recorded) {
    recorded.identity = there.identity;
    if (there.identity == now.identity) return;
    const std::string alter = "ALTER COLUMN " + QuoteIdentifier(there.name);
    if (now.identity.empty()) {
      Say("column " + now.name + " is no identity any more");
      changes_.drops.push_back(alter + " DROP IDENTITY");
    } else if (!there.identity.empty()) {
      Say("column " + now.name + " is another kind of identity");
      changes_.alterations.push_back(alter + " SET GENERATED " +
                                     (now.identity == "a" ? "ALWAYS" : "BY DEFAULT"));
    } else {
      Say("column " + now.name + " is an identity");
      AddIdentity(now, there);
    }
  }

  // The sequence of a serial is in the way of the identity's, and would keep its value.
  void AddIdentity(const SourceColumn& now, const SourceColumn& there) {
    if (!there.default_expression.empty()) {
      DropDefault(there);
      const bool is_left = !there.sequence.empty() && SequenceOf(there.default_expression) == there.sequence;
      if (is_left) changes_.left_sequences.push_back(there.sequence);
    }
    const std::string alter = "ALTER COLUMN " + QuoteIdentifier(there.name);
    const std::string not_null = alter + " SET NOT NULL";
    auto& alterations = changes_.alterations;
    const bool is_named = std::find(alterations.begin(), alterations.end(), not_null) != alterations.end();
    if (!there.not_null && !is_named) alterations.push_back(not_null);
    alterations.push_back(alter + " ADD" + IdentityClause(now));
  }

  void CompareNotNull(const SourceColumn& now, const SourceColumn& there, SourceColumn& recorded) {
    recorded.not_null = there.not_null;
    if (there.not_null == now.not_null) return;
    Say("column " + now.name + (now.not_null ? " is NOT NULL" : " may be NULL"));
    changes_.alterations.push_back("ALTER COLUMN " + QuoteIdentifier(there.name) +
                                   (now.not_null ? " SET NOT NULL" : " DROP NOT NULL"));
  }

  void Dropped(const SourceColumn& column) {
    const SourceColumn* const there = TargetOf(column);
    if (there == nullptr || there->name != column.name) return;
    const SourceColumn* const heir = HeirOf(column);
    if (heir != nullptr && !MakesRoom(*there, *heir)) {
      return NeedsCopy("column " + column.name + " was dropped and added anew");
    }
    NameDrop(column);
    // Rows without it can be written, unless the target insists on a value or another column has its name.
    const bool is_left_out = !there->not_null || !there->default_expression.empty() ||
                             !there->identity.empty() || !there->generated.empty();
    if (!is_left_out || source_.FindColumn(column.name) != nullptr) changes_.aligned = false;
  }

  // Those that the target still has since rows without them are applied.
  void DroppedBefore() {
    std::vector<int> seen;
    for (const auto& shape : recorded_.earlier_columns) {
      for (const SourceColumn& column : shape) {
        if (std::find(seen.begin(), seen.end(), column.attnum) != seen.end()) continue;
        seen.push_back(column.attnum);
        if (column.target_attnum == 0 || source_.FindColumn(column.attnum) != nullptr ||
            recorded_.FindColumn(column.attnum) != nullptr) {
          continue;
        }
        const SourceColumn* const there = TargetOf(column);
        const bool is_it = there != nullptr && there->name == column.name && !IsInUse(*there);
        if (is_it && HeirOf(column) == nullptr) NameDrop(column);
      }
    }
  }

  void NameDrop(const SourceColumn& column) {
    Say("column " + column.name + " was dropped");
    changes_.drops.push_back("DROP COLUMN " + QuoteIdentifier(column.name));
  }

  // Rows of a shape are known by names and types. Where these were those of other columns before, rows that
  // the stream still has cannot be told apart.
  void CompareWithEarlierShapes() {
    if (!changes_.aligned || SamePublishedShape(recorded_.columns, changes_.columns)) return;
    std::vector<std::vector<SourceColumn>> shapes = recorded_.earlier_columns;
    shapes.push_back(recorded_.columns);
    for (const auto& shape : shapes) {
      if (!LookAlike(Published(shape), Published(changes_.columns))) continue;
      NeedsCopy("its columns have names that others of its columns had before");
    }
  }

  const SourceRelation& recorded_;
  const SourceRelation& source_;
  const SourceRelation& target_;
  const bool rewritten_;
  ColumnChanges changes_;
};

}  // namespace

ColumnChanges CompareColumns(const SourceRelation& recorded, const SourceRelation& source,
                             const SourceRelation& target) {
  return Comparison(recorded, source, target).Run();
}

std::string ColumnChanges::Statements(const std::string& table) const {
  std::string sql;
  const auto alter = [&](const std::string& clauses) {
    sql += (sql.empty() ? "" : " ") + ("ALTER TABLE " + table + " " + clauses + ";");
  };
  const auto run = [&](const std::string& statement) { sql += (sql.empty() ? "" : " ") + statement + ";"; };
  if (!drops.empty()) alter(absl::StrJoin(drops, ", "));
  for (const std::string& sequence : left_sequences) run("DROP SEQUENCE IF EXISTS " + sequence);
  for (const std::string& sequence : used_sequences) run("CREATE SEQUENCE IF NOT EXISTS " + sequence);
  if (!alterations.empty()) alter(absl::StrJoin(alterations, ", "));
  // A name may be free only after another column has given it up.
  std::size_t number = 0;
  for (const auto& [from, to] : renames) {
    if (renames.size() == 1) {
      alter("RENAME COLUMN " + from + " TO " + to);
    } else {
      alter(absl::StrFormat("RENAME COLUMN %s TO walferry_renamed_%d", from, ++number));
    }
  }
  number = 0;
  for (const auto& [from, to] : renames) {
    if (renames.size() > 1) alter(absl::StrFormat("RENAME COLUMN walferry_renamed_%d TO %s", ++number, to));
  }
  if (!additions.empty()) alter(absl::StrJoin(additions, ", "));
  for (const auto& [column, sequence] : owned_sequences) {
    run("ALTER SEQUENCE " + sequence + " OWNED BY " + table + "." + column);
  }
  return sql;
}

bool SamePublishedShape(const std::vector<SourceColumn>& a, const std::vector<SourceColumn>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const SourceColumn& x, const SourceColumn& y) {
    return x.attnum == y.attnum && x.name == y.name && x.type_oid == y.type_oid &&
           x.generated.empty() == y.generated.empty();
  });
}

}  // namespace walferry
