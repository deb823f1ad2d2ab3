#include "tools/verify.h"

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "apply/state.h"
#include "stream/slot.h"
#include "tools/endpoint.h"
#include "tools/quantity.h"
#include "tools/table_match.h"

namespace walferry {
namespace {

// Looks at a table that differs, the first one included.
constexpr int kLooks = 3;

absl::StatusOr<Connection> Connect(Endpoint endpoint, const std::string& conninfo, const StopSignal& stop) {
  ConnectOptions options;
  options.conninfo = conninfo;
  options.application_name = "walferry verify";
  options.stop = &stop;
  return ConnectTo(endpoint, options);
}

struct Pair {
  Connection source;
  Connection target;
};

absl::StatusOr<Pair> ConnectBoth(const VerifyOptions& options, const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(Connection source, Connect(Endpoint::kSource, options.source, stop));
  WF_ASSIGN_OR_RETURN(Connection target, Connect(Endpoint::kTarget, options.target, stop));
  return Pair{std::move(source), std::move(target)};
}

absl::Status OnBoth(Pair& pair, const std::string& sql) {
  WF_RETURN_IF_ERROR(pair.source.Execute(sql).status());
  return pair.target.Execute(sql).status();
}

// Until a running stream has everything that the source had written when this was called. Without one there
// is nothing to wait for: the sides are compared as they are.
absl::StatusOr<Lsn> WaitForStream(const VerifyOptions& options, Pair& pair, const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(const Lsn head, CurrentWalLsn(pair.source));
  const absl::Time deadline = absl::Now() + options.timeout;
  while (!stop.requested()) {
    WF_ASSIGN_OR_RETURN(const bool has_state, StateSchemaExists(pair.target));
    if (!has_state) return head;
    WF_ASSIGN_OR_RETURN(const auto record, LoadMigration(pair.target, options.name));
    if (!record || record->phase < Phase::kCatchUp || record->phase == Phase::kDone) return head;
    if (record->confirmed >= head) return head;
    WF_ASSIGN_OR_RETURN(const bool running, MigrationIsLocked(pair.target, options.name));
    if (!running) return head;
    if (absl::Now() > deadline) {
      return Errorf(absl::StatusCode::kUnavailable,
                    "the stream did not reach %s, where the source was, within %s", head.ToString(),
                    FormatTimeSpan(options.timeout));
    }
    pollfd fd = {stop.fd(), POLLIN, 0};
    poll(&fd, 1, 100);
  }
  return absl::CancelledError("stopped");
}

// A table by its names on both sides.
struct TablePair {
  TableName source;
  TableName target;
  std::optional<std::set<std::string>> published;  // Its columns; all where there is nothing.
};

// The migration's tables, where there is one, and what of the source it does not have.
absl::StatusOr<std::vector<TablePair>> ChooseMigrated(const VerifyOptions& options, Pair& pair,
                                                      VerifyReport& report) {
  std::vector<TablePair> chosen;
  WF_ASSIGN_OR_RETURN(const auto migration, LoadMigration(pair.target, options.name));
  if (!migration) return chosen;
  WF_ASSIGN_OR_RETURN(const RecordedCatalog recorded, LoadRecorded(pair.target, *migration));
  WF_ASSIGN_OR_RETURN(const SourceCatalog source,
                      ReadSourceCatalog(pair.source, migration->publication, migration->insert_publication));
  PublishedColumns published;
  if (!migration->owns_publication) {
    WF_ASSIGN_OR_RETURN(published, ReadPublishedColumns(pair.source, migration->publication));
  }
  for (const TableRecord& record : recorded.tables) {
    if (record.phase == TablePhase::kDropped || !options.tables.Matches(record.table)) continue;
    // The stream of somebody else's publication goes by names.
    const SourceRelation* const relation =
        migration->owns_publication ? source.Find(record.source_oid) : nullptr;
    chosen.push_back({relation == nullptr ? record.table : relation->name, record.table, std::nullopt});
    const auto columns = published.find(record.table);
    if (columns != published.end()) chosen.back().published = columns->second;
  }
  WF_ASSIGN_OR_RETURN(const SourceCatalog target, ReadSourceCatalog(pair.target, "", ""));
  for (CatalogDifference& difference : CompareCatalogs(recorded, source, target).differences) {
    const bool is_new = difference.kind == "new-tables" || difference.kind == "new-partitions";
    const bool accepted = std::find(options.accepted.begin(), options.accepted.end(), difference.kind) !=
                          options.accepted.end();
    if (is_new && !accepted) report.not_compared.push_back(std::move(difference));
  }
  return chosen;
}

absl::StatusOr<std::vector<TablePair>> ChooseTables(const VerifyOptions& options, Pair& pair,
                                                    VerifyReport& report) {
  WF_ASSIGN_OR_RETURN(const bool has_state, StateSchemaExists(pair.target));
  if (has_state) {
    WF_ASSIGN_OR_RETURN(std::vector<TablePair> migrated, ChooseMigrated(options, pair, report));
    if (!migrated.empty()) return migrated;
  }
  std::vector<TablePair> chosen;
  WF_ASSIGN_OR_RETURN(const std::vector<SourceTable> tables, ListSourceTables(pair.source));
  for (const SourceTable& table : options.tables.Select(tables))
    chosen.push_back({table.name, table.name, std::nullopt});
  return chosen;
}

absl::Status CompareContents(const VerifyOptions& options, Pair& pair, const TablePair& table,
                             const std::vector<std::string>& columns, TableVerdict& verdict) {
  // Both sides must hash alike.
  const bool portable = NeedPortableHash(pair.source, pair.target);
  absl::StatusOr<ContentHash> target_hash;
  std::thread other([&] { target_hash = HashTable(pair.target, table.target, columns, portable); });
  const absl::StatusOr<ContentHash> source_hash = HashTable(pair.source, table.source, columns, portable);
  other.join();
  WF_RETURN_IF_ERROR(source_hash.status());
  WF_RETURN_IF_ERROR(target_hash.status());
  verdict.source = *source_hash;
  verdict.target = *target_hash;
  const bool may_narrow = table.source == table.target && options.differences_limit > 0;
  if (verdict.source == verdict.target || !may_narrow) return absl::OkStatus();
  WF_ASSIGN_OR_RETURN(verdict.differences, FindDifferences(pair.source, pair.target, table.target, columns,
                                                           options.differences_limit));
  return absl::OkStatus();
}

absl::StatusOr<TableVerdict> LookAt(const VerifyOptions& options, Pair& pair, const TablePair& table) {
  WF_RETURN_IF_ERROR(OnBoth(pair, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"));
  WF_ASSIGN_OR_RETURN(ComparableColumns columns,
                      ReadComparableColumns(pair.source, pair.target, table.source, table.target));
  if (table.published) {
    const auto is_unpublished = [&](const std::string& column) { return !table.published->contains(column); };
    std::erase_if(columns.both, is_unpublished);
    std::erase_if(columns.source_only, is_unpublished);
  }
  TableVerdict verdict;
  verdict.table = table.target;
  if (!columns.on_source || !columns.on_target) {
    verdict.missing_on = columns.on_source ? "target" : "source";
  } else {
    WF_RETURN_IF_ERROR(CompareContents(options, pair, table, columns.both, verdict));
    verdict.columns_source_only = std::move(columns.source_only);
    verdict.columns_target_only = std::move(columns.target_only);
    verdict.equal = verdict.source == verdict.target && verdict.columns_source_only.empty() &&
                    verdict.columns_target_only.empty();
  }
  WF_RETURN_IF_ERROR(OnBoth(pair, "COMMIT"));
  return verdict;
}

// A difference may be a change in flight: it counts when it is still there after the stream has passed the
// moment at which it was seen.
absl::StatusOr<TableVerdict> Judge(const VerifyOptions& options, Pair& pair, const TablePair& table,
                                   const StopSignal& stop) {
  for (int look = 1;; ++look) {
    WF_ASSIGN_OR_RETURN(TableVerdict verdict, LookAt(options, pair, table));
    if (verdict.equal || look == kLooks) return verdict;
    WF_RETURN_IF_ERROR(WaitForStream(options, pair, stop).status());
  }
}

class Workers {
 public:
  Workers(const VerifyOptions& options, const StopSignal& stop,
          const std::function<void(const TableVerdict&)>& done, std::vector<TablePair> tables)
      : options_(options), stop_(stop), done_(done), tables_(std::move(tables)) {}

  absl::Status Run(VerifyReport& report) {
    std::vector<std::thread> threads;
    const auto jobs = std::min<std::size_t>(static_cast<std::size_t>(options_.jobs), tables_.size());
    for (std::size_t i = 0; i < jobs; ++i) threads.emplace_back([this] { Work(); });
    for (std::thread& thread : threads) thread.join();
    absl::MutexLock lock(&mutex_);
    WF_RETURN_IF_ERROR(status_);
    std::sort(verdicts_.begin(), verdicts_.end(),
              [](const TableVerdict& a, const TableVerdict& b) { return a.table < b.table; });
    report.tables = std::move(verdicts_);
    std::sort(unreadable_.begin(), unreadable_.end(),
              [](const auto& a, const auto& b) { return a.object < b.object; });
    std::move(unreadable_.begin(), unreadable_.end(), std::back_inserter(report.not_compared));
    return absl::OkStatus();
  }

 private:
  void Work() {
    absl::StatusOr<Pair> pair = ConnectBoth(options_, stop_);
    if (!pair.ok()) return Fail(pair.status());
    for (std::size_t i = next_++; i < tables_.size(); i = next_++) {
      absl::StatusOr<TableVerdict> verdict = Judge(options_, *pair, tables_[i], stop_);
      if (!verdict.ok() && !GoesOnWithout(verdict.status(), *pair)) {
        return Fail(Annotate(verdict.status(), tables_[i].target.ToString()));
      }
      absl::MutexLock lock(&mutex_);
      if (!verdict.ok()) {
        unreadable_.push_back(Unreadable(tables_[i].target, verdict.status()));
        continue;
      }
      done_(*verdict);
      verdicts_.push_back(*std::move(verdict));
    }
  }

  // One table that cannot be read says nothing about the others.
  bool GoesOnWithout(const absl::Status& error, Pair& pair) const {
    if (stop_.requested() || absl::IsCancelled(error) || SqlstateOf(error).empty()) return false;
    return pair.source.alive() && pair.target.alive() && OnBoth(pair, "ROLLBACK").ok();
  }

  static CatalogDifference Unreadable(const TableName& table, const absl::Status& error) {
    CatalogDifference difference;
    difference.kind = std::string(kUnreadable);
    difference.object = table.ToString();
    difference.text =
        absl::StrFormat("table %s could not be compared: %s", table.ToString(), MessageOf(error));
    difference.command = "walferry verify as roles that may read all of it (a superuser, or BYPASSRLS)";
    return difference;
  }

  void Fail(const absl::Status& status) {
    next_ = tables_.size();
    absl::MutexLock lock(&mutex_);
    status_.Update(status);
  }

  const VerifyOptions& options_;
  const StopSignal& stop_;
  const std::function<void(const TableVerdict&)>& done_;
  const std::vector<TablePair> tables_;
  std::atomic<std::size_t> next_ = 0;
  absl::Mutex mutex_;
  std::vector<TableVerdict> verdicts_ ABSL_GUARDED_BY(mutex_);
  std::vector<CatalogDifference> unreadable_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

bool VerifyReport::ok() const {
  return std::all_of(tables.begin(), tables.end(), [](const TableVerdict& verdict) { return verdict.equal; });
}

absl::StatusOr<VerifyReport> Verify(const VerifyOptions& options, const StopSignal& stop,
                                    const std::function<void(const TableVerdict&)>& done) {
  WF_ASSIGN_OR_RETURN(Pair pair, ConnectBoth(options, stop));
  WF_RETURN_IF_ERROR(CheckPatternsMatch(pair.source, options.tables));
  VerifyReport report;
  WF_ASSIGN_OR_RETURN(std::vector<TablePair> tables, ChooseTables(options, pair, report));
  if (tables.empty()) {
    return Errorf(absl::StatusCode::kFailedPrecondition,
                  "there is no table to verify: look at --source, --tables and --exclude-tables");
  }
  WF_ASSIGN_OR_RETURN(report.position, WaitForStream(options, pair, stop));
  WF_RETURN_IF_ERROR(Workers(options, stop, done, std::move(tables)).Run(report));
  return report;
}

}  // namespace walferry
