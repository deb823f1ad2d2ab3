// Tested by tests/servers/catalog_watch_test.cc.
#include "tools/catalog_watch.h"

#include <set>
#include <utility>

#include "stream/quote.h"
#include "tools/newcomers.h"
#include "tools/table_comparison.h"

namespace walferry {
namespace {

// One of the migration's own publications, and what it was.
void ComparePublication(const std::string& name, const SourcePublication& before,
                        const std::optional<SourcePublication>& now, CatalogFindings& findings) {
  const auto differ = [&](const std::string& text, const std::string& command) {
    findings.differences.push_back({"publication", name, text, command, true});
  };
  constexpr char kBeginAnew[] = "walferry cleanup, and walferry migrate from the beginning";
  if (!now) {
    return differ(
        "publication " + name + " was dropped on the source: what is written since cannot be decoded",
        kBeginAnew);
  }
  if (now->oid != before.oid) {
    return differ(
        "publication " + name +
            " was dropped and made again on the source: what was written in between cannot be decoded",
        kBeginAnew);
  }
  if (now->options == before.options) return;
  const bool via_root = now->options.find("via root") != std::string::npos;
  const bool was_via_root = before.options.find("via root") != std::string::npos;
  differ("publication " + name + " publishes \"" + now->options + "\" instead of \"" + before.options + "\"",
         "ALTER PUBLICATION " + QuoteIdentifier(name) + " SET (publish = '" +
             before.options.substr(0, before.options.find(' ')) + "'" +
             (via_root && !was_via_root ? ", publish_via_partition_root = false" : "") + ");" + kOnSource +
             ", then walferry migrate, which copies the tables anew");
}

void ComparePublications(const RecordedCatalog& recorded, const SourceCatalog& source,
                         CatalogFindings& findings) {
  const std::optional<SourcePublication> before = PublicationFromText(recorded.migration.publication_catalog);
  if (!before) return;
  ComparePublication(recorded.migration.publication, *before, source.publication, findings);
  SourcePublication now = *before;
  if (source.publication) {
    now = *source.publication;
    now.ignored = before->ignored;
    now.inserts = before->inserts;
  }
  if (!before->inserts.empty()) {
    ComparePublication(recorded.migration.insert_publication, before->inserts.front(),
                       source.insert_publication, findings);
    if (source.insert_publication) now.inserts = {*source.insert_publication};
  }
  // What is narrowed stays to be compared with what it was.
  const bool is_as_it_was = findings.differences.empty() || findings.differences.back().kind != "publication";
  if (is_as_it_was && !(now == *before)) findings.publication = ToText(now);
}

// Columns of many partitions are one root's, and one statement mends them all.
void RemoveRepeated(std::vector<CatalogDifference>& differences) {
  std::set<std::pair<std::string, std::string>> seen;
  std::erase_if(differences, [&](const CatalogDifference& difference) {
    const bool is_of_tree = difference.kind == "columns" || difference.kind == "moved-partitions" ||
                            difference.kind == "detached-partitions";
    // Two tables had one name, one after the other.
    const bool is_of_name = difference.kind == "dropped-tables";
    return (is_of_tree || is_of_name) && !seen.insert({difference.kind, difference.command}).second;
  });
}

}  // namespace

CatalogFindings CompareCatalogs(const RecordedCatalog& recorded, const SourceCatalog& source,
                                const SourceCatalog& target) {
  CatalogFindings findings;
  // Others' publications are their owners' business: tables come and go with them.
  if (!recorded.migration.owns_publication) return findings;
  ComparePublications(recorded, source, findings);
  CompareTables(recorded, source, target, findings);
  FindNewcomers(recorded, source, target, findings);
  RemoveRepeated(findings.differences);
  return findings;
}

absl::StatusOr<RecordedCatalog> LoadRecorded(Connection& target, const MigrationRecord& record) {
  RecordedCatalog recorded;
  recorded.migration = record;
  WF_ASSIGN_OR_RETURN(recorded.tables, LoadTables(target, record.name));
  WF_ASSIGN_OR_RETURN(recorded.choice, TableFilter::FromText(record.choice));
  return recorded;
}

absl::StatusOr<CatalogFindings> FindCatalogDifferences(Connection& source, Connection& target,
                                                       const RecordedCatalog& recorded) {
  if (!recorded.migration.owns_publication) return CatalogFindings{};
  WF_ASSIGN_OR_RETURN(
      const SourceCatalog on_source,
      ReadSourceCatalog(source, recorded.migration.publication, recorded.migration.insert_publication));
  WF_ASSIGN_OR_RETURN(const SourceCatalog on_target, ReadSourceCatalog(target, "", ""));
  return CompareCatalogs(recorded, on_source, on_target);
}

}  // namespace walferry
