// Tested by tests/stream/publication_test.cc
#include "stream/publication.h"

#include <algorithm>
#include <utility>

#include "stream/event_triggers.h"

namespace walferry {
namespace {

// As many names as an operator wants to read.
constexpr int kNamesShown = 20;

std::string TableList(const std::vector<TableName>& tables, const char* before_each) {
  std::string list;
  for (const TableName& table : tables) {
    if (!list.empty()) list += ", ";
    list += before_each + QuoteName(table.schema, table.name);
  }
  return list;
}

std::string NotOwnedQuery(const std::vector<TableName>& tables) {
  std::string list;
  for (const TableName& table : tables) {
    if (!list.empty()) list += ", ";
    list += "(" + QuoteLiteral(table.schema) + ", " + QuoteLiteral(table.name) + ")";
  }
  return "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), pg_get_userbyid(c.relowner) "
         "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
         "WHERE NOT pg_has_role(c.relowner, 'USAGE') AND (n.nspname, c.relname) IN (" +
         list + ") ORDER BY 1";
}

// The server names one table or the database; the operator wants to grant everything at once.
absl::Status ExplainDenied(Connection& source, const absl::Status& denied,
                           const std::vector<TableName>& tables) {
  WF_ASSIGN_OR_RETURN(const Result rights,
                      source.Execute("SELECT has_database_privilege(current_database(), 'CREATE'), "
                                     "quote_ident(current_database()), quote_ident(current_user)"));
  std::string text = absl::StrFormat("role %s may not create the publication:", rights.Get(0, 2));
  if (!rights.GetBool(0, 0)) {
    text += absl::StrFormat(" it lacks CREATE on the database (GRANT CREATE ON DATABASE %s TO %s);",
                            rights.Get(0, 1), rights.Get(0, 2));
  }
  if (!tables.empty()) {
    WF_ASSIGN_OR_RETURN(const Result others, source.Execute(NotOwnedQuery(tables)));
    if (others.rows() > 0) text += " it does not own, nor is it a member of the owner of,";
    for (int row = 0; row < std::min(others.rows(), kNamesShown); ++row) {
      text +=
          absl::StrFormat("%s %s (owner %s)", row == 0 ? "" : ",", others.Get(row, 0), others.Get(row, 1));
    }
    if (others.rows() > kNamesShown) text += absl::StrFormat(" and %d more", others.rows() - kNamesShown);
    if (others.rows() > 0) text += ";";
  }
  text += absl::StrFormat(" the server says: %s", MessageOf(denied));
  return WithSqlstate(absl::FailedPreconditionError(text), SqlstateOf(denied));
}

}  // namespace

absl::StatusOr<bool> PublicationExists(Connection& source, const std::string& name) {
  WF_ASSIGN_OR_RETURN(const Result result,
                      source.Execute("SELECT 1 FROM pg_publication WHERE pubname = " + QuoteLiteral(name)));
  return result.rows() > 0;
}

absl::Status CreatePublication(Connection& source, const std::string& name,
                               const std::vector<TableName>& tables, bool via_root, const LockRetry& retry) {
  std::string sql = "CREATE PUBLICATION " + QuoteIdentifier(name);
  if (!tables.empty()) sql += " FOR TABLE " + TableList(tables, "ONLY ");
  if (via_root) {
    if (source.server_version() < 130000) {
      return absl::FailedPreconditionError("publishing partitions as their root needs version 13 or newer");
    }
    sql += " WITH (publish_via_partition_root = true)";
  }
  const absl::Status created = ExecuteWithLockRetry(source, sql, tables, kAgainstShareUpdateExclusive, retry);
  if (SqlstateOf(created) == "42501") return ExplainDenied(source, created, tables);
  return Annotate(NameEventTriggers(source, created, "CREATE PUBLICATION", "the source"),
                  "creating publication " + name);
}

absl::Status CreateInsertPublication(Connection& source, const std::string& name,
                                     const std::vector<TableName>& tables, const LockRetry& retry) {
  const char* const actions = source.server_version() >= 110000 ? "insert, truncate" : "insert";
  const std::string sql = absl::StrFormat("CREATE PUBLICATION %s FOR TABLE %s WITH (publish = '%s')",
                                          QuoteIdentifier(name), TableList(tables, "ONLY "), actions);
  const absl::Status created = ExecuteWithLockRetry(source, sql, tables, kAgainstShareUpdateExclusive, retry);
  if (SqlstateOf(created) == "42501") return ExplainDenied(source, created, tables);
  return Annotate(NameEventTriggers(source, created, "CREATE PUBLICATION", "the source"),
                  "creating publication " + name);
}

absl::Status AddToPublication(Connection& source, const std::string& name,
                              const std::vector<TableName>& tables, const LockRetry& retry) {
  const std::string sql =
      "ALTER PUBLICATION " + QuoteIdentifier(name) + " ADD TABLE " + TableList(tables, "ONLY ");
  const absl::Status added = ExecuteWithLockRetry(source, sql, tables, kAgainstShareUpdateExclusive, retry);
  if (SqlstateOf(added) == "42501") return ExplainDenied(source, added, tables);
  return Annotate(NameEventTriggers(source, added, "ALTER PUBLICATION", "the source"),
                  "adding a table to publication " + name);
}

std::string PublicationListText(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (!text.empty()) text += ',';
    if (name.find_first_of(",\"") == std::string::npos) {
      text += name;
      continue;
    }
    text += '"';
    for (const char c : name) text += c == '"' ? std::string("\"\"") : std::string(1, c);
    text += '"';
  }
  return text;
}

absl::StatusOr<std::vector<std::string>> ParsePublicationList(std::string_view text) {
  std::vector<std::string> names;
  if (text.empty()) return names;
  std::string name;
  bool is_quoted = false;
  const auto take = [&] {
    if (name.empty()) return false;
    names.push_back(std::exchange(name, ""));
    return true;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool is_doubled = is_quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"';
    if (is_doubled) {
      name += c;
      ++i;
    } else if (c == '"') {
      is_quoted = !is_quoted;
    } else if (c != ',' || is_quoted) {
      name += c;
    } else if (!take()) {
      return absl::InvalidArgumentError("a list of publications has an empty name");
    }
  }
  if (is_quoted) return absl::InvalidArgumentError("a quote in a list of publications does not end");
  if (!take()) return absl::InvalidArgumentError("a list of publications has an empty name");
  return names;
}

absl::StatusOr<std::vector<std::string>> ParsePublicationLists(const std::vector<std::string>& lists) {
  std::vector<std::string> names;
  for (const std::string& list : lists) {
    WF_ASSIGN_OR_RETURN(const std::vector<std::string> parsed, ParsePublicationList(list));
    names.insert(names.end(), parsed.begin(), parsed.end());
  }
  return names;
}

absl::StatusOr<std::vector<TableName>> PublishedTables(Connection& source,
                                                       const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + QuoteLiteral(name);
  if (list.empty()) return std::vector<TableName>{};
  WF_ASSIGN_OR_RETURN(
      const Result result,
      source.Execute("SELECT DISTINCT schemaname, tablename FROM pg_publication_tables WHERE pubname IN (" +
                     list + ") ORDER BY schemaname, tablename"));
  std::vector<TableName> tables;
  tables.reserve(static_cast<std::size_t>(result.rows()));
  for (int row = 0; row < result.rows(); ++row) {
    tables.push_back({std::string(result.Get(row, 0)), std::string(result.Get(row, 1))});
  }
  return tables;
}

absl::Status DropPublication(Connection& source, const std::string& name) {
  const std::string sql = "DROP PUBLICATION IF EXISTS " + QuoteIdentifier(name);
  const absl::Status dropped = ExecuteWithLockRetry(source, sql, {}, "{}", {});
  return Annotate(NameEventTriggers(source, dropped, "DROP PUBLICATION", "the source"),
                  "dropping publication " + name);
}

}  // namespace walferry
