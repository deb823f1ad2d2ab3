// Writers that change the tables of table_shapes.h at random, each over a connection and on a thread of its
// own.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace walferry {

// The tables with some rows in each.
void CreateShapes(const std::string& conninfo, std::uint64_t seed);

class Workload {
 public:
  // Starts. The same seed gives each writer the same statements; how they interleave is up to the server.
  Workload(const std::string& conninfo, std::uint64_t seed, int writers);
  ~Workload();  // Stop().
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;

  // Ends the transactions under way and the threads.
  void Stop();
  // Rows changed by committed transactions.
  std::int64_t changes() const { return changes_; }
  // What became of the transactions, for people.
  std::string Summary() const;

 private:
  class Writer;

  std::atomic<bool> stop_ = false;
  std::atomic<std::int64_t> changes_ = 0;
  std::atomic<std::int64_t> commits_ = 0;
  std::atomic<std::int64_t> large_commits_ = 0;
  std::atomic<std::int64_t> rollbacks_ = 0;
  std::atomic<std::int64_t> savepoint_rollbacks_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace walferry
