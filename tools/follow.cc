#include "tools/follow.h"

#include <poll.h>

#include <atomic>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/time/clock.h"
#include "stream/slot.h"
#include "tools/log.h"

namespace walferry {
namespace {

constexpr absl::Duration kHeartbeat = absl::Seconds(1);
constexpr absl::Duration kDrainDeadline = absl::Seconds(15);

void LogSessionEvent(const SessionEvent& event) {
  switch (event.kind) {
    case SessionEvent::Kind::kReconnecting:
    case SessionEvent::Kind::kSlotActive:
      return Log(LogLevel::kWarn, event.text);
    case SessionEvent::Kind::kConnected:
    case SessionEvent::Kind::kStopped:
    case SessionEvent::Kind::kRelationChanged:
      return Log(LogLevel::kInfo, event.text);
    case SessionEvent::Kind::kLogicalMessage:
      return Log(LogLevel::kDebug, event.text);
  }
}

void LogApplierEvent(const ApplierEvent& event) {
  switch (event.kind) {
    case ApplierEvent::Kind::kReplicaRole:
    case ApplierEvent::Kind::kLanes:
    case ApplierEvent::Kind::kReconnected:
      return Log(LogLevel::kInfo, event.text);
    case ApplierEvent::Kind::kNoReplicaRole:
    case ApplierEvent::Kind::kReconnecting:
    case ApplierEvent::Kind::kReplay:
    case ApplierEvent::Kind::kMissingRow:
    case ApplierEvent::Kind::kConflictSkipped:
    case ApplierEvent::Kind::kSkippedTable:
      return Log(LogLevel::kWarn, event.text);
  }
}

ApplierOptions MakeApplierOptions(const FollowOptions& options, const FollowedMigration& migration) {
  const MigrationRecord& record = migration.recorded.migration;
  ApplierOptions applier;
  applier.target = options.target;
  applier.application_name = "walferry " + record.name;
  applier.migration = record.name;
  applier.lanes = options.lanes;
  applier.binary = options.wishes.binary;
  for (const TableRecord& table : migration.recorded.tables) {
    applier.copied_at[table.table] = table.position;
    if (table.source_oid != 0) applier.source_oids[table.table] = table.source_oid;
  }
  applier.only_listed = migration.only_listed;
  applier.followed = migration.followed;
  applier.source_notes = options.source_notes;
  applier.on_missing_row = options.on_missing_row;
  applier.on_conflict = options.on_conflict;
  applier.batch_bytes = options.batch_bytes;
  applier.retry_for = options.retry_for;
  return applier;
}

absl::StatusOr<SessionOptions> MakeSessionOptions(const FollowOptions& options, const MigrationRecord& record,
                                                  bool binary) {
  absl::StatusOr<std::vector<std::string>> publications = ParsePublicationList(record.publication);
  WF_RETURN_IF_ERROR(publications.status());
  SessionOptions session;
  session.source = options.source;
  session.application_name = "walferry " + record.name;
  session.slot = record.slot;
  session.publications = *std::move(publications);
  if (!record.insert_publication.empty()) session.publications.push_back(record.insert_publication);
  session.wishes = options.wishes;
  session.wishes.binary = binary;
  session.expected_system_id = record.system_id;
  session.expected_timeline = record.timeline;
  session.sole_reader = true;
  session.spool_dir = options.work_dir;
  session.retry_for = options.retry_for;
  return session;
}

// The once-a-second life beside the stream: heartbeat and figures into the state, the stop that another
// command asks for, and the caller's watch. Owns the thread; the lock connection is its alone while it lives.
class Monitor {
 public:
  Monitor(const MigrationRecord& record, std::string target, Connection& lock, const Session& session,
          const Applier& applier, const MemoryBudget& budget, const CatalogWatcher& watcher,
          const StopSignal& outer, StopSignal& inner,
          const std::function<void(const RuntimeSnapshot&)>& watch)
      : name_(record.name),
        target_(std::move(target)),
        lock_(lock),
        session_(session),
        applier_(applier),
        budget_(budget),
        watcher_(watcher),
        outer_(outer),
        inner_(inner),
        watch_(watch),
        thread_([this] { Run(); }) {}

  ~Monitor() { End(); }

  // Ends the thread; returns the last snapshot.
  RuntimeSnapshot End() {
    done_.Request();
    if (thread_.joinable()) thread_.join();
    return last_;
  }

  bool lost_the_lock() const { return lost_the_lock_; }
  bool asked_to_stop() const { return asked_to_stop_; }

 private:
  void Measure() {
    last_ =
        meter_.Measure(session_.counters(), applier_.counters(), applier_.progress(), budget_, absl::Now());
    last_.catalog_differences = watcher_.differences();
  }

  void Run() {
    absl::Time next = absl::Now();
    while (!done_.requested()) {
      if (outer_.requested()) inner_.Request();
      if (absl::Now() >= next) {
        next = absl::Now() + kHeartbeat;
        Measure();
        watch_(last_);
        Beat();
      }
      pollfd fds[] = {{done_.fd(), POLLIN, 0}, {inner_.requested() ? -1 : outer_.fd(), POLLIN, 0}};
      poll(fds, 2,
           static_cast<int>(absl::ToInt64Milliseconds(std::max(absl::ZeroDuration(), next - absl::Now()))) +
               1);
    }
    Measure();
    Beat();
  }

  void Beat() {
    if (!lock_.alive() && !Relock()) return;
    const absl::StatusOr<bool> stop = WriteHeartbeat(lock_, name_, RuntimeToJson(last_));
    if (stop.ok() && *stop && !asked_to_stop_) {
      LogInfo("another command asked this one to stop");
      asked_to_stop_ = true;
      inner_.Request();
    }
  }

  // After a lost connection the lock is free for anybody; the lanes' guard keeps two writers apart meanwhile.
  bool Relock() {
    ConnectOptions connect;
    connect.conninfo = target_;
    connect.application_name = "walferry " + name_;
    connect.connect_timeout = absl::Seconds(5);
    absl::StatusOr<Connection> connection = Connection::Open(connect);
    if (!connection.ok()) return false;
    lock_ = *std::move(connection);
    const absl::StatusOr<bool> locked = TryLockMigration(lock_, name_);
    if (locked.ok() && !*locked && ++refusals_ > 30) {
      lost_the_lock_ = true;
      inner_.Request();
    }
    return locked.ok() && *locked;
  }

  const std::string name_;
  const std::string target_;
  Connection& lock_;
  const Session& session_;
  const Applier& applier_;
  const MemoryBudget& budget_;
  const CatalogWatcher& watcher_;
  const StopSignal& outer_;
  StopSignal& inner_;
  const std::function<void(const RuntimeSnapshot&)>& watch_;
  RuntimeMeter meter_;
  RuntimeSnapshot last_;
  int refusals_ = 0;
  std::atomic<bool> lost_the_lock_ = false;
  std::atomic<bool> asked_to_stop_ = false;
  StopSignal done_;
  std::thread thread_;
};

// What came for this migration's tables. The session counts all that is published, which may be more than
// ours where the publication is the user's: there what was applied counts.
std::uint64_t ChangesReceived(const MigrationRecord& record, bool only_listed, const Session& session,
                              const Applier& applier) {
  if (record.owns_publication || !only_listed) return session.counters().changes;
  TableCounters sum;
  for (const auto& [table, counted] : applier.counters().tables) sum += counted;
  return static_cast<std::uint64_t>(sum.inserts + sum.updates + sum.deletes + sum.truncates);
}

}  // namespace

std::optional<Lsn> FollowForever(const FollowProgress&) {
  return std::nullopt;
}

FollowUntil FollowUntilLsn(Lsn lsn) {
  return [lsn](const FollowProgress&) { return lsn; };
}

FollowUntil FollowUntilCaughtUp(const std::string& source, absl::Duration freshness) {
  struct Head {
    std::optional<Connection> connection;
    Lsn lsn;
    absl::Time at = absl::InfinitePast();
  };
  auto head = std::make_shared<Head>();
  return [head, source, freshness](const FollowProgress&) -> std::optional<Lsn> {
    if (absl::Now() - head->at < freshness) return head->lsn;
    if (!head->connection || !head->connection->alive()) {
      ConnectOptions connect;
      connect.conninfo = source;
      absl::StatusOr<Connection> connection = Connection::Open(connect);
      // The session finds out by itself when the source is away.
      if (!connection.ok()) return std::nullopt;
      head->connection = *std::move(connection);
    }
    const absl::StatusOr<Lsn> now = CurrentWalLsn(*head->connection);
    if (!now.ok()) return std::nullopt;
    head->lsn = *now;
    head->at = absl::Now();
    return head->lsn;
  };
}

absl::StatusOr<FollowResult> Follow(FollowOptions options, const FollowedMigration& migration,
                                    const FollowUntil& until, Connection& lock_connection,
                                    const StopSignal& stop,
                                    const std::function<void(const RuntimeSnapshot&)>& watch) {
  const MigrationRecord& record = migration.recorded.migration;
  MemoryBudget budget(options.memory_bytes);
  // Ends this run: by the process' stop, by a request in the state, or because the catalog changed.
  StopSignal inner;
  std::vector<TableName> names;
  for (const TableRecord& table : migration.recorded.tables) {
    if (table.phase != TablePhase::kDropped) names.push_back(table.table);
  }
  WF_ASSIGN_OR_RETURN(
      std::unique_ptr<Applier> applier,
      Applier::Start(MakeApplierOptions(options, migration), names, budget, inner, LogApplierEvent));
  WF_ASSIGN_OR_RETURN(SessionOptions session_options, MakeSessionOptions(options, record, applier->binary()));
  Session session(std::move(session_options), budget, *applier, inner, LogSessionEvent);

  FollowResult result;
  absl::Status status;
  {
    CatalogWatcher watcher({options.source, options.target, migration.recorded}, migration.differences,
                           inner);
    Monitor monitor(record, options.target, lock_connection, session, *applier, budget, watcher, stop, inner,
                    watch);
    const auto progress = [&]() -> FollowProgress {
      const SinkProgress lsn = applier->progress();
      return {lsn, ChangesReceived(record, migration.only_listed, session, *applier)};
    };
    status = session.Run([&]() -> std::optional<Lsn> { return until(progress()); });
    // The session's error comes first: a failed sink also fails to finish.
    const absl::Status finished = applier->Finish(absl::Now() + kDrainDeadline);
    if (status.ok()) status = finished;
    if (monitor.lost_the_lock()) {
      status = Errorf(absl::StatusCode::kAborted,
                      "another walferry has taken over migration %s: this one ends", record.name);
    }
    result.runtime = monitor.End();
    result.last = progress();
    result.catalog_changed = watcher.wants_restart() && !stop.requested() && !monitor.asked_to_stop();
  }
  if (absl::IsUnimplemented(status) && options.binary_if_it_suits) {
    LogInfo("the stream goes on in text: %s", MessageOf(status));
    options.binary_if_it_suits = false;
    options.wishes.binary = false;
    return Follow(options, migration, until, lock_connection, stop, watch);
  }
  WF_RETURN_IF_ERROR(status);
  result.stopped = inner.requested();
  return result;
}

}  // namespace walferry
