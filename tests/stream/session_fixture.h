// A database with a table, a publication and a slot, and a session that streams them into a recording sink.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "stream/session.h"
#include "stream/slot.h"
#include "tests/stream/recording_sink.h"
#include "tests/stream/stream_fixture.h"

namespace walferry {

// Whether it became true in time.
inline bool Eventually(const std::function<bool()>& condition, absl::Duration patience = absl::Seconds(60)) {
  const absl::Time deadline = absl::Now() + patience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return true;
}

// A session in a thread of its own.
class RunningSession {
 public:
  RunningSession(SessionOptions options, MemoryBudget& budget, RecordingSink& sink,
                 std::optional<Lsn> until = {})
      : session_(std::move(options), budget, sink, stop_,
                 [this](const SessionEvent& event) {
                   absl::MutexLock lock(&mutex_);
                   events_.push_back(event);
                 }),
        thread_([this, until] {
          const absl::Status status = session_.Run([until] { return until; });
          absl::MutexLock lock(&mutex_);
          result_ = status;
        }) {}
  ~RunningSession() {
    stop_.Request();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Stop() {
    stop_.Request();
    return Result();
  }
  // Waits for the end of the session.
  absl::Status Result() {
    thread_.join();
    absl::MutexLock lock(&mutex_);
    return *result_;
  }
  bool ended() const {
    absl::MutexLock lock(&mutex_);
    return result_.has_value();
  }
  std::size_t Count(SessionEvent::Kind kind) const {
    absl::MutexLock lock(&mutex_);
    return static_cast<std::size_t>(std::count_if(
        events_.begin(), events_.end(), [&](const SessionEvent& event) { return event.kind == kind; }));
  }
  bool AwaitConnected(std::size_t times = 1) const {
    return Eventually([&] { return Count(SessionEvent::Kind::kConnected) >= times; });
  }
  const SessionCounters& counters() const { return session_.counters(); }

 private:
  StopSignal stop_;
  mutable absl::Mutex mutex_;
  std::vector<SessionEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> result_ ABSL_GUARDED_BY(mutex_);
  Session session_;
  std::thread thread_;
};

// The source of one test, on any server.
class Source {
 public:
  Source(const std::string& conninfo, std::string slot) : conninfo_(conninfo), slot_(std::move(slot)) {
    Connection connection = Connect(conninfo_);
    Must(
        connection.Execute("CREATE TABLE public.t (id bigint PRIMARY KEY, note text); "
                           "CREATE PUBLICATION p FOR TABLE public.t"));
    Must(connection.Execute("SELECT pg_create_logical_replication_slot('" + slot_ + "', 'pgoutput')"));
  }

  Connection Open() const { return Connect(conninfo_); }
  void Execute(const std::string& sql) const {
    Connection connection = Open();
    Must(connection.Execute(sql));
  }
  Lsn WalEnd() const {
    Connection connection = Open();
    return Must(CurrentWalLsn(connection));
  }
  SlotInfo Slot() const {
    Connection connection = Open();
    return Must(InspectSlot(connection, slot_)).value();
  }
  std::string Ask(const std::string& sql) const {
    Connection connection = Open();
    return std::string(Must(connection.Execute(sql)).Get(0, 0));
  }
  const std::string& conninfo() const { return conninfo_; }
  const std::string& slot() const { return slot_; }

  // settings: of the walsender's session, "-c name=value …".
  SessionOptions Options(const std::string& settings = {}) const {
    SessionOptions options;
    options.source = settings.empty() ? conninfo_ : conninfo_ + " options='" + settings + "'";
    options.slot = slot_;
    options.publications = {"p"};
    options.wishes = {.proto_version = 4, .streaming = Streaming::kOn};
    options.spool_dir = testing::TempDir();
    options.retry_for = absl::Seconds(60);
    return options;
  }

 private:
  std::string conninfo_;
  std::string slot_;
};

class SessionTest : public DatabaseTest {
 protected:
  SessionTest() : source_(conninfo(), "slot_" + std::to_string(++slots_)) {}
  ~SessionTest() override {
    Connection connection = Connect(conninfo());
    const absl::Status dropped = DropSlot(connection, source_.slot());
    EXPECT_TRUE(dropped.ok()) << dropped;
  }

  const Source& source() const { return source_; }
  MemoryBudget& budget() { return budget_; }
  RecordingSink& sink() { return sink_; }

  // Streams what is there now, to its end.
  absl::Status CatchUp(SessionOptions options) {
    RunningSession session(std::move(options), budget_, sink_, source_.WalEnd());
    return session.Result();
  }

 private:
  static inline int slots_ = 0;
  Source source_;
  MemoryBudget budget_{64 << 20};
  RecordingSink sink_;
};

// "insert public.t (1,note)" for each id of [first, last].
inline std::vector<std::string> Inserts(int first, int last, const std::string& note) {
  std::vector<std::string> texts;
  for (int id = first; id <= last; ++id)
    texts.push_back("insert public.t (" + std::to_string(id) + "," + note + ")");
  return texts;
}

}  // namespace walferry
