// Tested by tests/apply/content_hash_test.cc.
#include "apply/content_hash.h"

#include <algorithm>
#include <bit>
#include <map>

#include "absl/strings/str_join.h"
#include "apply/table_facts.h"
#include "stream/catalog_version.h"

namespace walferry {
namespace {

// How many rows a bucket shall hold, how many buckets there are at most, and how many rows are fetched at
// once.
constexpr std::int64_t kRowsPerBucket = 4096;
constexpr std::int64_t kBucketsMax = 65536;
constexpr std::int64_t kRowsFetched = 100'000;

std::string RowText(const std::vector<std::string>& columns) {
  const std::string list = absl::StrJoin(columns, ", ", [](std::string* out, const std::string& name) {
    out->append("t." + QuoteIdentifier(name));
  });
  return "ROW(" + list + ")::text";
}

// A bigint expression for a text one.
std::string HashOf(const std::string& text, bool portable) {
  if (!portable) return "pg_catalog.hashtextextended((" + text + ") COLLATE \"C\", 0)";
  return "('x' || pg_catalog.substr(pg_catalog.md5(pg_catalog.convert_to(" + text +
         ", 'UTF8')), 1, 16))::bit(64)::bigint";
}

// "ONLY s.t t", or "s.t t" for a partitioned table.
absl::StatusOr<std::string> FromClause(Connection& connection, const TableName& table) {
  WF_ASSIGN_OR_RETURN(Result found,
                      connection.Execute("SELECT c.relkind FROM pg_catalog.pg_class c "
                                         "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                                         "WHERE n.nspname = $1::name AND c.relname = $2::name",
                                         {table.schema, table.name}));
  const bool partitioned = found.rows() == 1 && found.Get(0, 0) == "p";
  return (partitioned ? "" : "ONLY ") + QuoteName(table.schema, table.name) + " t";
}

absl::StatusOr<std::vector<std::string>> PrimaryKey(Connection& target, const TableName& table) {
  WF_ASSIGN_OR_RETURN(
      Result rows,
      target.Execute(
          "SELECT a.attname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid "
          "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
          "CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place) "
          "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum "
          "WHERE i.indisprimary AND n.nspname = $1::name AND c.relname = $2::name "
          "AND k.place <= i." +
              std::string(KeyColumnCount(target.server_version())) + " ORDER BY k.place",
          {table.schema, table.name}));
  std::vector<std::string> columns;
  for (int row = 0; row < rows.rows(); ++row) columns.emplace_back(rows.Get(row, 0));
  return columns;
}

struct Bucket {
  std::int64_t rows = 0;
  std::string hash;
  friend bool operator==(const Bucket&, const Bucket&) = default;
};

// The same questions to both sides, for one table.
class KeyedTable {
 public:
  KeyedTable(Connection& connection, std::string from, const std::vector<std::string>& key,
             const std::vector<std::string>& columns, bool portable)
      : connection_(connection),
        from_(std::move(from)),
        key_(RowText(key)),
        key_hash_(HashOf(key_, portable)),
        row_hash_(HashOf(RowText(columns), portable)) {}

  absl::StatusOr<std::int64_t> CountRows() {
    WF_ASSIGN_OR_RETURN(Result count, connection_.Execute("SELECT pg_catalog.count(*) FROM " + from_));
    return count.GetInt(0, 0);
  }

  absl::StatusOr<std::map<std::int64_t, Bucket>> ReadBuckets(std::int64_t buckets) {
    WF_ASSIGN_OR_RETURN(Result rows,
                        connection_.Execute(absl::StrFormat(
                            "SELECT %s & %d, pg_catalog.count(*), pg_catalog.sum(%s) FROM %s GROUP BY 1",
                            key_hash_, buckets - 1, row_hash_, from_)));
    std::map<std::int64_t, Bucket> result;
    for (int row = 0; row < rows.rows(); ++row) {
      result[rows.GetInt(row, 0)] = {rows.GetInt(row, 1), std::string(rows.Get(row, 2))};
    }
    return result;
  }

  // Hash by key. Where a key is not unique (on the source, which need not have the target's key), one of its
  // rows.
  absl::StatusOr<std::map<std::string, std::string>> ReadRows(std::int64_t buckets,
                                                              const std::vector<std::int64_t>& chosen) {
    WF_ASSIGN_OR_RETURN(Result rows, connection_.Execute(absl::StrFormat(
                                         "SELECT %s, %s FROM %s WHERE %s & %d IN (%s)", key_, row_hash_,
                                         from_, key_hash_, buckets - 1, absl::StrJoin(chosen, ", "))));
    std::map<std::string, std::string> result;
    for (int row = 0; row < rows.rows(); ++row) {
      result.emplace(std::string(rows.Get(row, 0)), std::string(rows.Get(row, 1)));
    }
    return result;
  }

 private:
  Connection& connection_;
  const std::string from_;
  const std::string key_;
  const std::string key_hash_;
  const std::string row_hash_;
};

// The buckets that differ, with the greater row count of both sides.
std::vector<std::pair<std::int64_t, std::int64_t>> DifferentBuckets(
    const std::map<std::int64_t, Bucket>& source, const std::map<std::int64_t, Bucket>& target) {
  std::vector<std::pair<std::int64_t, std::int64_t>> different;
  for (const auto& [number, bucket] : source) {
    const auto other = target.find(number);
    if (other == target.end()) {
      different.emplace_back(number, bucket.rows);
    } else if (bucket != other->second) {
      different.emplace_back(number, std::max(bucket.rows, other->second.rows));
    }
  }
  for (const auto& [number, bucket] : target) {
    if (!source.contains(number)) different.emplace_back(number, bucket.rows);
  }
  return different;
}

void CompareRows(const std::map<std::string, std::string>& source,
                 const std::map<std::string, std::string>& target, const std::string& key_names,
                 std::vector<RowDifference>& differences) {
  for (const auto& [key, hash] : source) {
    const auto other = target.find(key);
    if (other == target.end()) {
      differences.push_back({key_names + "=" + key, "missing"});
    } else if (hash != other->second) {
      differences.push_back({key_names + "=" + key, "different"});
    }
  }
  for (const auto& [key, hash] : target) {
    if (!source.contains(key)) differences.push_back({key_names + "=" + key, "extra"});
  }
}

absl::StatusOr<std::vector<RowDifference>> CompareByKey(KeyedTable& source, KeyedTable& target,
                                                        const std::string& key_names, std::size_t limit) {
  WF_ASSIGN_OR_RETURN(const std::int64_t rows, target.CountRows());
  const auto wanted =
      static_cast<std::uint64_t>(std::clamp<std::int64_t>(rows / kRowsPerBucket, 1, kBucketsMax));
  const auto buckets = static_cast<std::int64_t>(std::bit_ceil(wanted));
  WF_ASSIGN_OR_RETURN(const auto source_buckets, source.ReadBuckets(buckets));
  WF_ASSIGN_OR_RETURN(const auto target_buckets, target.ReadBuckets(buckets));
  const auto different = DifferentBuckets(source_buckets, target_buckets);
  std::vector<RowDifference> differences;
  for (std::size_t next = 0; next < different.size() && differences.size() < limit;) {
    std::vector<std::int64_t> chosen;
    for (std::int64_t fetched = 0; next < different.size() && (chosen.empty() || fetched < kRowsFetched);
         ++next) {
      chosen.push_back(different[next].first);
      fetched += different[next].second;
    }
    WF_ASSIGN_OR_RETURN(const auto source_rows, source.ReadRows(buckets, chosen));
    WF_ASSIGN_OR_RETURN(const auto target_rows, target.ReadRows(buckets, chosen));
    CompareRows(source_rows, target_rows, key_names, differences);
  }
  std::sort(differences.begin(), differences.end(),
            [](const RowDifference& a, const RowDifference& b) { return a.key < b.key; });
  if (differences.size() > limit) differences.resize(limit);
  return differences;
}

}  // namespace

absl::StatusOr<ComparableColumns> ReadComparableColumns(Connection& source, Connection& target,
                                                        const TableName& source_table,
                                                        const TableName& target_table) {
  WF_ASSIGN_OR_RETURN(auto source_facts, ReadTableFacts(source, {source_table}));
  WF_ASSIGN_OR_RETURN(auto target_facts, ReadTableFacts(target, {target_table}));
  ComparableColumns columns;
  columns.on_source = !source_facts.empty();
  columns.on_target = !target_facts.empty();
  if (!columns.on_source || !columns.on_target) return columns;
  const TableFacts& here = source_facts.at(source_table);
  const TableFacts& there = target_facts.at(target_table);
  for (const ColumnFacts& column : here.columns) {
    const ColumnFacts* const other = there.FindColumn(column.name);
    if (other == nullptr) {
      columns.source_only.push_back(column.name);
    } else if (!column.generated || !other->generated) {
      columns.both.push_back(column.name);
    }
  }
  for (const ColumnFacts& column : there.columns) {
    if (here.FindColumn(column.name) == nullptr) columns.target_only.push_back(column.name);
  }
  return columns;
}

bool NeedPortableHash(const Connection& source, const Connection& target) {
  return std::min(source.server_version(), target.server_version()) < 110000 ||
         source.ReportedParameter("server_encoding") != target.ReportedParameter("server_encoding");
}

absl::StatusOr<ContentHash> HashTable(Connection& connection, const TableName& table,
                                      const std::vector<std::string>& columns, bool portable) {
  WF_ASSIGN_OR_RETURN(const std::string from, FromClause(connection, table));
  WF_ASSIGN_OR_RETURN(Result row, connection.Execute(absl::StrFormat(
                                      "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(%s), 0) FROM %s",
                                      HashOf(RowText(columns), portable), from)));
  return ContentHash{.rows = row.GetInt(0, 0), .hash = std::string(row.Get(0, 1))};
}

absl::StatusOr<std::vector<RowDifference>> FindDifferences(Connection& source, Connection& target,
                                                           const TableName& table,
                                                           const std::vector<std::string>& columns,
                                                           int limit) {
  WF_ASSIGN_OR_RETURN(const std::vector<std::string> key, PrimaryKey(target, table));
  const bool comparable = std::all_of(key.begin(), key.end(), [&](const std::string& name) {
    return std::find(columns.begin(), columns.end(), name) != columns.end();
  });
  if (key.empty() || !comparable || limit <= 0) return std::vector<RowDifference>();
  const bool portable = NeedPortableHash(source, target);
  WF_ASSIGN_OR_RETURN(std::string source_from, FromClause(source, table));
  WF_ASSIGN_OR_RETURN(std::string target_from, FromClause(target, table));
  KeyedTable source_table(source, std::move(source_from), key, columns, portable);
  KeyedTable target_table(target, std::move(target_from), key, columns, portable);
  return CompareByKey(source_table, target_table, "(" + absl::StrJoin(key, ", ") + ")",
                      static_cast<std::size_t>(limit));
}

}  // namespace walferry
