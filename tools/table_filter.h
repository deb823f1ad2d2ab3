// Which tables a run is about: --tables and --exclude-tables, and the tables of the source that they choose
// from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "decoder/message.h"
#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

// An ordinary, permanent user table: not a partitioned root (its leaves are listed), not of the system's
// schemas, of schema walferry or of an extension.
struct SourceTable {
  TableName name;
  Oid oid = 0;
  std::int64_t size_bytes = 0;      // Heap and TOAST, without indexes.
  std::int64_t estimated_rows = 0;  // As of the last ANALYZE or VACUUM; -1 for never.
  ReplicaIdentity replica_identity = ReplicaIdentity::kDefault;
  bool has_primary_key = false;
  // Whether updates and deletes can be published: a valid, immediate primary key or identity index, or FULL.
  bool has_identity = false;
  std::vector<TableName> ancestors;  // Of a partition: its parent, grandparent, … root.
};

// In the order of schema and name. Needs no privilege on the tables.
absl::StatusOr<std::vector<SourceTable>> ListSourceTables(Connection& source);

// Lists of patterns "schema.table", comma-separated, with * for any characters. Names are taken as they are
// (upper and lower case are different); one that holds a comma, a dot, a star or a quote is written in double
// quotes, a quote in it twice. An empty list of tables means all. A partition is chosen by its own name or by
// that of an ancestor.
class TableFilter {
 public:
  TableFilter() = default;

  static absl::StatusOr<TableFilter> Parse(const std::vector<std::string>& tables,
                                           const std::vector<std::string>& exclude_tables);

  bool Matches(const SourceTable& table) const;
  // For names alone, where nothing is known about ancestors.
  bool Matches(const TableName& table) const;
  // Whether a pattern of --exclude-tables matches this name.
  bool Excludes(const TableName& name) const;

  // Named by --exclude-tables, whatever --tables says.
  bool Excludes(const SourceTable& table) const { return AnyMatches(excluded_, table); }

  std::vector<SourceTable> Select(const std::vector<SourceTable>& tables) const;

  // The patterns of --tables and --exclude-tables that match none of `tables`, as they were given: most
  // likely typos.
  std::vector<std::string> Unmatched(const std::vector<SourceTable>& tables) const;

  // As it is recorded in a migration's state, and back.
  std::string ToText() const;
  static absl::StatusOr<TableFilter> FromText(const std::string& text);

  // This choice, less what `more` leaves out.
  TableFilter Without(const TableFilter& more) const;
  bool has_inclusions() const { return !included_.empty(); }

  // A pattern for this table alone, as the shell takes it.
  static std::string PatternOf(const TableName& table);

  // True where the filter lets everything through.
  bool selects_all() const { return included_.empty() && excluded_.empty(); }

 private:
  struct Piece {
    bool wildcard = false;  // A star; otherwise the text.
    std::string text;
  };
  struct Pattern {
    std::string given;
    std::vector<Piece> schema;
    std::vector<Piece> name;
  };
  static absl::Status ParseList(std::string_view list, std::vector<Pattern>& patterns);
  static bool PieceMatches(const std::vector<Piece>& pieces, std::size_t index, std::string_view text);
  static bool PatternMatches(const Pattern& pattern, const SourceTable& table);
  static bool AnyMatches(const std::vector<Pattern>& patterns, const SourceTable& table);

  std::vector<Pattern> included_;
  std::vector<Pattern> excluded_;
};

}  // namespace walferry
