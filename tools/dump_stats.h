// What a stream consists of: messages and bytes by kind and table, transactions, and the largest of them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "tools/dump_context.h"

namespace walferry {

class DumpStats {
 public:
  // payload_bytes: of the message as it travelled.
  void Count(const DumpedMessage& message, std::size_t payload_bytes);

  // An aligned table, or one JSON object, with a newline.
  std::string Text() const;
  std::string Json() const;

 private:
  struct Sum {
    std::int64_t messages = 0;
    std::int64_t bytes = 0;
    std::int64_t largest_bytes = 0;
  };
  void CloseTransaction(const DumpedMessage& message);

  std::map<std::pair<std::string, std::string>, Sum> kinds_;  // By table ("" for none) and kind.
  Sum all_;
  absl::flat_hash_map<Xid, std::int64_t> open_bytes_;
  std::int64_t transactions_ = 0;
  std::int64_t rolled_back_ = 0;  // Streamed in progress, then aborted.
  std::int64_t largest_transaction_bytes_ = 0;
  Xid largest_transaction_xid_ = 0;
};

}  // namespace walferry
