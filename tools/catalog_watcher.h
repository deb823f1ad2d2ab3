// Looks at the source's catalog every few seconds while a migration streams, on a thread of its own.
#pragma once

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "apply/schema_script.h"
#include "stream/stop_signal.h"
#include "tools/catalog_watch.h"

namespace walferry {

// Whether the stream has to be ended so that the migration takes care of what was found: it must not go on,
// there is something to follow, or a table is called otherwise or looks otherwise than the stream was told.
bool WantsRestart(const CatalogFindings& findings, const std::vector<TableRecord>& tables);

// Records what both sides agree on, in one transaction.
absl::Status RecordFindings(Connection& target, const std::string& migration,
                            const CatalogFindings& findings);

// Tables that are called otherwise on both sides.
TableRenames RenamesOf(const CatalogFindings& findings);

// Each difference once, as a warning.
class DifferenceLog {
 public:
  void Show(const std::vector<CatalogDifference>& differences);

 private:
  std::vector<std::string> shown_;
};

class CatalogWatcher {
 public:
  struct Options {
    std::string source;  // conninfo
    std::string target;
    RecordedCatalog recorded;
  };
  // Requests `restart` where WantsRestart(); `log` is used by this thread alone while it lives.
  CatalogWatcher(Options options, DifferenceLog& log, StopSignal& restart);
  ~CatalogWatcher();  // Ends the thread.
  CatalogWatcher(const CatalogWatcher&) = delete;
  CatalogWatcher& operator=(const CatalogWatcher&) = delete;

  // As of the last look. Thread-safe.
  std::vector<CatalogDifference> differences() const;
  // Whether it was this that requested `restart`. Thread-safe.
  bool wants_restart() const;

 private:
  void Run();
  absl::Status Look();
  absl::Status Compare();
  void Refuse(CatalogDifference difference);
  absl::Status Connect(std::optional<Connection>& connection, const std::string& conninfo);

  const Options options_;
  DifferenceLog& log_;
  StopSignal& restart_;
  StopSignal done_;
  // Of the thread.
  std::optional<Connection> source_;
  std::optional<Connection> target_;
  std::vector<TableRecord> tables_;
  std::string fingerprint_;
  bool open_ = false;  // Some difference may be mended on the target meanwhile.
  mutable absl::Mutex mutex_;
  std::vector<CatalogDifference> differences_ ABSL_GUARDED_BY(mutex_);
  bool wants_restart_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace walferry
