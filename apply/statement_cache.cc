// Tested by tests/apply/statement_test.cc.
#include "apply/statement_cache.h"

namespace walferry {

StatementCache::Use StatementCache::Get(const std::string& key) {
  if (!entries_.empty() && entries_.front().key == key) return {&entries_.front().name, false, {}};
  Use use;
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
  } else {
    if (entries_.size() >= capacity_) {
      use.evicted = std::move(entries_.back().name);
      by_key_.erase(entries_.back().key);
      entries_.pop_back();
    }
    entries_.push_front({key, "s" + std::to_string(++named_)});
    by_key_[key] = entries_.begin();
    use.is_new = true;
  }
  use.name = &entries_.front().name;
  return use;
}

void StatementCache::Clear() {
  entries_.clear();
  by_key_.clear();
}

}  // namespace walferry
