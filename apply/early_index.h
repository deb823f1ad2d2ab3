// Indexes of tables whose rows are all there, made while other tables are still being copied.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "apply/schema.h"
#include "apply/state.h"
#include "stream/stop_signal.h"

namespace walferry {

// Makes the indexes and the primary key, unique and exclusion constraints of tables as they are handed over:
// largest table first, and none waits on a connection for the lock that another one's build holds. What
// cannot be made is left to CreateObjects(), which comes after and says why.
class EarlyIndexes {
 public:
  // Of `objects` those that are such, are not done and name their table. `done` is called by the workers'
  // threads, one at a time.
  EarlyIndexes(std::string target, std::string migration, const std::vector<SchemaObject>& objects, int jobs,
               std::function<void(const SchemaObject&)> done);
  // Cancels what is under way, unless Finish() was called.
  ~EarlyIndexes();
  EarlyIndexes(const EarlyIndexes&) = delete;
  EarlyIndexes& operator=(const EarlyIndexes&) = delete;

  // The table is kCopied. Any thread.
  void Add(const TableRecord& table);

  // Waits until all that was handed over is made; after a stop, kCancelled. The last call.
  absl::Status Finish(const StopSignal& stop);

 private:
  struct Table {
    std::vector<SchemaObject> waiting;  // The next one at the end.
    std::int64_t bytes = -1;            // -1: not copied yet.
    int building = 0;
    bool exclusively = false;
  };
  struct Build {
    Table* table = nullptr;
    SchemaObject object;
  };

  absl::Status Work(const StopSignal& halt);
  // The next one that no other build is in the way of, or null.
  Table* Next() ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  bool MayGoOn() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  std::optional<Build> Take();
  void Leave(const Build& build, bool made);
  void Join(bool cancel);

  const std::string target_;
  const std::string migration_;
  const std::function<void(const SchemaObject&)> done_;
  StopSignal halt_;
  StopSignal finished_;
  absl::Mutex mutex_;
  std::map<TableName, Table> tables_ ABSL_GUARDED_BY(mutex_);
  bool all_added_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace walferry
