// The running stream over HTTP: /metrics in Prometheus' text format and /healthz.
// https://prometheus.io/docs/instrumenting/exposition_formats/
#pragma once

#include <memory>
#include <string>

#include "decoder/status.h"
#include "tools/runtime.h"

namespace walferry {

// The body of /metrics.
std::string PrometheusText(const RuntimeSnapshot& snapshot);

class MetricsServer {
 public:
  // listen: HOST:PORT, [IPV6]:PORT, or :PORT for the loopback interface; port 0 takes any free one. There is
  // no authentication: listen on loopback, or where only the monitoring can come. kInvalidArgument where it
  // is not of that form, kFailedPrecondition where it cannot be listened on.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const std::string& listen);
  ~MetricsServer();

  int port() const;

  // What is served from now on. /healthz answers 200 while snapshots keep coming, 503 when the last one is
  // older than half a minute or there was none. Thread-safe.
  void Publish(const RuntimeSnapshot& snapshot);

 private:
  class Impl;
  explicit MetricsServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace walferry
