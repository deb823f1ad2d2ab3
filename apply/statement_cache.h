// Names of the statements that are prepared on one connection, by shape; bounded, the least recently used
// goes first.
#pragma once

#include <cstdint>
#include <list>
#include <string>

#include "absl/container/flat_hash_map.h"

namespace walferry {

class StatementCache {
 public:
  explicit StatementCache(std::size_t capacity = 500) : capacity_(capacity) {}

  struct Use {
    const std::string* name = nullptr;  // Valid until the next call.
    bool is_new = false;                // To be prepared first.
    std::string evicted;                // To be deallocated, where not empty.
  };
  Use Get(const std::string& key);
  // The connection is another one, or everything was deallocated. Names are not used again.
  void Clear();

 private:
  struct Entry {
    std::string key;
    std::string name;
  };
  const std::size_t capacity_;
  std::uint64_t named_ = 0;
  std::list<Entry> entries_;  // Most recently used first.
  absl::flat_hash_map<std::string, std::list<Entry>::iterator> by_key_;
};

}  // namespace walferry
