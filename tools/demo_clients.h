// The customers and clerks of the demo's shop (tools/demo_shop.sql): threads that write to it at a bounded
// rate, with all kinds of statements, rolled-back savepoints and transactions among them. Same seed, same
// statements.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "stream/connection.h"

namespace walferry {

struct ShopSize {
  std::int64_t customers = 0;
  std::int64_t products = 0;
  std::int64_t orders = 0;
};

class DemoClients {
 public:
  // They begin at once, each on a connection of its own.
  DemoClients(std::string conninfo, int clients, std::uint64_t seed, const ShopSize& size,
              double transactions_per_s);
  ~DemoClients();
  DemoClients(const DemoClients&) = delete;
  DemoClients& operator=(const DemoClients&) = delete;

  // Of all together. Any thread.
  void SetRate(double transactions_per_s) { transactions_per_s_ = transactions_per_s; }
  std::int64_t transactions() const { return transactions_; }
  // Returns when the last one has ended; the first error that a shop should not see (a deadlock is none).
  absl::Status Stop();

 private:
  void Work(int client);
  absl::Status WorkUntilStopped(int client);

  const std::string conninfo_;
  const std::uint64_t seed_;
  const ShopSize size_;
  const int clients_;
  std::atomic<double> transactions_per_s_;
  std::atomic<std::int64_t> transactions_ = 0;
  std::atomic<bool> stopping_ = false;
  absl::Mutex mutex_;
  absl::Status first_error_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace walferry
