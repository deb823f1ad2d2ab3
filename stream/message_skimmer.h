// What kinds of messages pass by, while their bodies are thrown away: for a stream that is only read to its
// end.
#pragma once

#include <algorithm>
#include <bitset>
#include <string>
#include <string_view>

#include "decoder/status.h"
#include "stream/receive_buffer.h"

namespace walferry {

class MessageSkimmer {
 public:
  // The bytes that follow on those of the last call, cut anywhere. kDataLoss: a length cannot be.
  absl::Status Take(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::size_t skipped = std::min(skip_bytes_, bytes.size());
      skip_bytes_ -= skipped;
      bytes.remove_prefix(skipped);
      const std::size_t more = std::min(WireMessage::kHeaderBytes - header_.size(), bytes.size());
      header_.append(bytes.substr(0, more));
      bytes.remove_prefix(more);
      if (header_.size() < WireMessage::kHeaderBytes) break;
      WF_ASSIGN_OR_RETURN(skip_bytes_, BodyBytes(header_));
      seen_.set(static_cast<unsigned char>(header_[0]));
      header_.clear();
    }
    return absl::OkStatus();
  }

  // Whether a message of this type began.
  bool seen(char type) const { return seen_.test(static_cast<unsigned char>(type)); }

 private:
  std::string header_;
  std::size_t skip_bytes_ = 0;
  std::bitset<256> seen_;
};

}  // namespace walferry
