// Tested by tests/servers/cutover_sequence_test.cc.
#include "tools/sequence_obstacles.h"

#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "tools/source_record.h"

namespace walferry {
namespace {

// A sequence as its side's catalog shows it.
struct SequenceState {
  bool readable = false;
  bool settable = false;
  std::int64_t min = 0;
  std::int64_t max = 0;
  std::string bounds;   // "AS bigint MINVALUE 1 MAXVALUE 10"
  std::string options;  // All of them, for CREATE SEQUENCE.
  // Of the column that owns it; empty where none does.
  TableName table;
  std::string column;
  std::string identity;  // "ALWAYS", "BY DEFAULT", "" for a serial column.
};

// A comment, so that the line can be pasted.
constexpr std::string_view kOnTarget = " -- on the target";

using SequenceStates = std::map<TableName, SequenceState>;

constexpr char kStates[] = R"sql(
SELECT n.nspname, c.relname,
  pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_sequence_privilege(c.oid, 'SELECT'),
  pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_sequence_privilege(c.oid, 'UPDATE'),
  s.seqmin, s.seqmax,
  pg_catalog.format('AS %s MINVALUE %s MAXVALUE %s', pg_catalog.format_type(s.seqtypid, NULL), s.seqmin,
                    s.seqmax),
  pg_catalog.format('START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', s.seqstart,
                    s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' END),
  tn.nspname, t.relname, a.attname,
  CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' ELSE '' END
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
LEFT JOIN pg_catalog.pg_depend d ON d.objid = c.oid AND d.classid = 'pg_catalog.pg_class'::regclass
  AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid)sql";

constexpr char kColumns[] = R"sql(
SELECT n.nspname, c.relname, a.attname,
  CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' ELSE '' END
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'f')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND (a.attidentity <> '' OR a.atthasdef OR a.attnotnull)
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'walferry'))sql";

// The identity of every column that may have one, by table and name.
using Identities = std::map<std::pair<TableName, std::string>, std::string>;

absl::StatusOr<SequenceStates> ReadStates(Connection& connection) {
  WF_ASSIGN_OR_RETURN(const Result rows, connection.Execute(kStates));
  SequenceStates states;
  for (int row = 0; row < rows.rows(); ++row) {
    SequenceState& state = states[{std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1))}];
    state.readable = rows.GetBool(row, 2);
    state.settable = rows.GetBool(row, 3);
    state.min = rows.GetInt(row, 4);
    state.max = rows.GetInt(row, 5);
    state.bounds = rows.Get(row, 6);
    state.options = rows.Get(row, 7);
    if (rows.IsNull(row, 10)) continue;
    state.table = {std::string(rows.Get(row, 8)), std::string(rows.Get(row, 9))};
    state.column = rows.Get(row, 10);
    state.identity = rows.Get(row, 11);
  }
  return states;
}

absl::StatusOr<Identities> ReadIdentities(Connection& connection) {
  WF_ASSIGN_OR_RETURN(const Result rows, connection.Execute(kColumns));
  Identities identities;
  for (int row = 0; row < rows.rows(); ++row) {
    const TableName table{std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1))};
    identities[{table, std::string(rows.Get(row, 2))}] = rows.Get(row, 3);
  }
  return identities;
}

std::string AlterColumn(const SequenceState& state) {
  return "ALTER TABLE " + Quoted(state.table) + " ALTER COLUMN " + QuoteIdentifier(state.column);
}

class Finder {
 public:
  Finder(const SequenceStates& source, const SequenceStates& target, const Identities& identities,
         std::string source_user, std::string target_user)
      : source_(source),
        target_(target),
        identities_(identities),
        source_user_(std::move(source_user)),
        target_user_(std::move(target_user)) {}

  void LookAt(const SequenceInfo& sequence) {
    const auto here = source_.find(sequence.name);
    if (here == source_.end()) return;  // Dropped a moment ago.
    if (!sequence.readable) {
      Add(sequence.name,
          absl::StrFormat("user %s may not read sequence %s of the source", source_user_,
                          sequence.name.ToString()),
          GrantToRead(sequence.name, source_user_), /*blocks_setting=*/true);
    }
    const auto there = target_.find(sequence.name);
    if (there == target_.end()) return LookAtMissing(sequence, here->second);
    LookAtIdentity(sequence.name, here->second, there->second);
    if (!there->second.settable || !there->second.readable) {
      AddForTarget(sequence.name,
                   absl::StrFormat("user %s may not set sequence %s of the target", target_user_,
                                   sequence.name.ToString()),
                   absl::StrFormat("GRANT SELECT, UPDATE ON SEQUENCE %s TO %s;", Quoted(sequence.name),
                                   QuoteIdentifier(target_user_)),
                   /*blocks_setting=*/true);
    }
  }

  void LookAtValue(const SequenceValue& value) {
    const auto there = target_.find(value.sequence);
    if (there == target_.end()) return;
    const SequenceState& state = there->second;
    if (value.last_value >= state.min && value.last_value <= state.max) return;
    AddForTarget(
        value.sequence,
        absl::StrFormat("sequence %s stands at %d on the source, and on the target goes from %d to %d",
                        value.sequence.ToString(), value.last_value, state.min, state.max),
        "ALTER SEQUENCE " + Quoted(value.sequence) + " " + source_.at(value.sequence).bounds + ";",
        /*blocks_setting=*/true);
  }

  std::vector<SequenceObstacle> Take() { return std::move(obstacles_); }

 private:
  void LookAtMissing(const SequenceInfo& sequence, const SequenceState& here) {
    if (here.column.empty()) return;
    const std::string text = absl::StrFormat("sequence %s of column %s of %s is not on the target",
                                             sequence.name.ToString(), here.column, here.table.ToString());
    if (!here.identity.empty())
      return AddForTarget(sequence.name, text, MakeIdentity(sequence.name, here, ""));
    if (const std::optional<TableName> renamed = OwnedByTheSameColumn(here, sequence.name.schema)) {
      return AddForTarget(
          sequence.name, text,
          "ALTER SEQUENCE " + Quoted(*renamed) + " RENAME TO " + QuoteIdentifier(sequence.name.name) + ";");
    }
    AddForTarget(
        sequence.name, text,
        absl::StrFormat("CREATE SEQUENCE %s %s OWNED BY %s.%s; %s SET DEFAULT pg_catalog.nextval(%s);",
                        Quoted(sequence.name), here.bounds, Quoted(here.table), QuoteIdentifier(here.column),
                        AlterColumn(here), QuoteLiteral(Quoted(sequence.name))));
  }

  // The same name does not make an identity: the column of the target draws from it as the source's does.
  void LookAtIdentity(const TableName& name, const SequenceState& here, const SequenceState& there) {
    if (here.identity.empty()) return;
    const auto column = identities_.find({here.table, here.column});
    const std::string identity = column == identities_.end() ? "" : column->second;
    if (identity == here.identity) return;
    const std::string text = absl::StrFormat("column %s of %s is GENERATED %s AS IDENTITY on the source only",
                                             here.column, here.table.ToString(), here.identity);
    if (!identity.empty()) {
      return AddForTarget(name, text, AlterColumn(here) + " SET GENERATED " + here.identity + ";");
    }
    const bool is_in_the_way = there.identity.empty();
    AddForTarget(
        name, text,
        MakeIdentity(
            name, here,
            is_in_the_way ? AlterColumn(here) + " DROP DEFAULT; DROP SEQUENCE " + Quoted(name) + "; " : ""));
  }

  std::string MakeIdentity(const TableName& name, const SequenceState& here,
                           const std::string& before) const {
    const auto column = identities_.find({here.table, here.column});
    if (column != identities_.end() && !column->second.empty()) {
      if (const std::optional<TableName> other = OwnedByTheSameColumn(here, name.schema)) {
        return "ALTER SEQUENCE " + Quoted(*other) + " RENAME TO " + QuoteIdentifier(name.name) + ";";
      }
    }
    return absl::StrFormat("%s%s SET NOT NULL; %s ADD GENERATED %s AS IDENTITY (SEQUENCE NAME %s %s);",
                           before, AlterColumn(here), AlterColumn(here), here.identity, Quoted(name),
                           here.options);
  }

  std::optional<TableName> OwnedByTheSameColumn(const SequenceState& here, const std::string& schema) const {
    for (const auto& [name, state] : target_) {
      if (state.table == here.table && state.column == here.column && name.schema == schema) return name;
    }
    return std::nullopt;
  }

  void AddForTarget(const TableName& sequence, std::string text, const std::string& command,
                    bool blocks_setting = false) {
    Add(sequence, std::move(text), command + std::string(kOnTarget), blocks_setting);
  }

  void Add(const TableName& sequence, std::string text, std::string command, bool blocks_setting) {
    obstacles_.push_back({sequence, std::move(text), std::move(command), blocks_setting});
  }

  const SequenceStates& source_;
  const SequenceStates& target_;
  const Identities& identities_;
  const std::string source_user_;
  const std::string target_user_;
  std::vector<SequenceObstacle> obstacles_;
};

}  // namespace

absl::StatusOr<std::vector<SequenceObstacle>> FindSequenceObstacles(Connection& source, Connection& target,
                                                                    const SequenceChoice& choice) {
  WF_ASSIGN_OR_RETURN(const SequenceStates on_source, ReadStates(source));
  WF_ASSIGN_OR_RETURN(const SequenceStates on_target, ReadStates(target));
  WF_ASSIGN_OR_RETURN(const Identities identities, ReadIdentities(target));
  Finder finder(on_source, on_target, identities, std::string(source.user()), std::string(target.user()));
  std::vector<TableName> readable;
  for (const SequenceInfo& sequence : choice.chosen) {
    finder.LookAt(sequence);
    if (sequence.readable) readable.push_back(sequence.name);
  }
  WF_ASSIGN_OR_RETURN(const std::vector<SequenceValue> values, ReadSequences(source, readable));
  for (const SequenceValue& value : values) finder.LookAtValue(value);
  return finder.Take();
}

}  // namespace walferry
