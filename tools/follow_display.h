// What a running stream shows: a status line, and figures over HTTP where asked for.
#pragma once

#include <memory>
#include <string>

#include "tools/metrics_http.h"
#include "tools/progress.h"
#include "tools/runtime.h"

namespace walferry {

class FollowDisplay {
 public:
  // metrics_listen: "" or HOST:PORT. kInvalidArgument or kFailedPrecondition where that cannot be listened
  // on.
  static absl::StatusOr<std::unique_ptr<FollowDisplay>> Start(const std::string& metrics_listen);

  // From one thread at a time.
  void Show(const RuntimeSnapshot& snapshot);

 private:
  FollowDisplay() : line_("follow") {}

  ProgressLine line_;
  std::unique_ptr<MetricsServer> metrics_;
};

}  // namespace walferry
