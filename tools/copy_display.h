// The progress of a first copy while it runs, on a thread of its own: rows, bytes, pace, time left.
#pragma once

#include <thread>

#include "absl/time/time.h"
#include "apply/table_copy.h"
#include "stream/stop_signal.h"

namespace walferry {

class CopyDisplay {
 public:
  // progress must outlive it.
  explicit CopyDisplay(const TableCopyProgress& progress);
  ~CopyDisplay();  // Ends the thread and leaves the sum in the log.
  CopyDisplay(const CopyDisplay&) = delete;
  CopyDisplay& operator=(const CopyDisplay&) = delete;

 private:
  void Run();

  const TableCopyProgress& progress_;
  const absl::Time started_;
  StopSignal done_;
  std::thread thread_;
};

}  // namespace walferry
