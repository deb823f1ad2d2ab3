// A source, a target, a slot and the state between them; and a stream from one to the other that runs in a
// thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "apply/applier.h"
#include "gtest/gtest.h"
#include "stream/session.h"
#include "tests/support/server_pair.h"

namespace walferry {

inline constexpr char kMigration[] = "m";

// Starts with construction. Thread-safe where it is const.
class RunningStream {
 public:
  // until: where it ends by itself; nullopt: it has to be stopped.
  RunningStream(DatabasePair& pair, ApplierOptions options, std::optional<Lsn> until, bool binary = false,
                std::size_t memory_bytes = std::size_t{64} << 20);
  ~RunningStream();

  const absl::Status& started() const { return started_; }  // Of Applier::Start().
  // Ends the stream if `stop`, waits for its end and finishes the applier. The session's error, else
  // Finish()'s.
  absl::Status End(bool stop = true);
  // Ends it without finishing anything, as far as a process can do that to itself.
  void Kill();
  bool ended() const;

  Applier& applier() { return *applier_; }
  const SessionCounters& session() const { return session_->counters(); }
  std::vector<ApplierEvent> events() const;
  int Count(ApplierEvent::Kind kind) const;
  std::string TextOf(ApplierEvent::Kind kind) const;  // Of the first one.

 private:
  MemoryBudget budget_;
  StopSignal stop_;
  mutable absl::Mutex mutex_;
  std::vector<ApplierEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> result_ ABSL_GUARDED_BY(mutex_);
  absl::Status started_;
  std::unique_ptr<Applier> applier_;
  std::unique_ptr<Session> session_;
  std::thread thread_;
};

class ApplyTest : public ::testing::Test {
 protected:
  // Publication, slot and state: what happens on the source from now on is what is streamed.
  void BeginMigration(const std::string& publish = "FOR ALL TABLES");

  ApplierOptions Options() const;
  // Streams everything that is there now.
  absl::Status CatchUp(ApplierOptions options, bool binary = false);
  absl::Status CatchUp() { return CatchUp(Options()); }
  // CatchUp() of `sql` run on the source, and then both databases hold the same.
  void ApplyAndCompare(const std::string& sql, bool binary = false);

  Lsn SourceEnd();
  Lsn LanePosition();  // Of the first lane.
  std::vector<Lsn> LanePositions() { return LoadLanes(pair_.target(), kMigration).value(); }
  std::string Target(const std::string& query) { return QueryText(pair_.target(), query); }
  std::string Source(const std::string& query) { return QueryText(pair_.source(), query); }

  DatabasePair pair_;
  // Of the last CatchUp().
  ApplierCounters counters_;
  std::vector<ApplierEvent> events_;
};

// The counters of public.NAME.
TableCounters CountersOf(const ApplierCounters& counters, const std::string& name);

}  // namespace walferry
