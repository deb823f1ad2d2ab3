// Somebody who makes, attaches, renames, detaches and drops partitions and tables at random, over a
// connection and on a thread of its own, and writes into them.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace walferry {

class CatalogChanges {
 public:
  // Makes the tables that the changes are about.
  static void Create(const std::string& conninfo);

  // Starts.
  CatalogChanges(const std::string& conninfo, std::uint64_t seed);
  ~CatalogChanges();  // Stop().
  CatalogChanges(const CatalogChanges&) = delete;
  CatalogChanges& operator=(const CatalogChanges&) = delete;

  // Ends the statement under way and the thread.
  void Stop();
  // "12 made, 5 attached, …", for people.
  std::string Summary() const;

 private:
  void Run(const std::string& conninfo, std::uint64_t seed);

  std::atomic<bool> stop_ = false;
  std::atomic<int> made_ = 0;
  std::atomic<int> attached_ = 0;
  std::atomic<int> dropped_ = 0;
  std::atomic<int> short_lived_ = 0;
  std::atomic<int> renamed_ = 0;
  std::thread thread_;
};

}  // namespace walferry
