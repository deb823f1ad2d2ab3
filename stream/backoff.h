// How long to wait before trying again: doubling from 0.1 s to 10 s, each by a random part shorter, so that
// several clients of one server do not come back at the same moment.
#pragma once

#include <random>

#include "absl/time/time.h"

namespace walferry {

class Backoff {
 public:
  Backoff() : random_(std::random_device{}()) {}

  absl::Duration Next();
  void Reset() { longest_ = kFirst; }

 private:
  static constexpr absl::Duration kFirst = absl::Milliseconds(100);
  static constexpr absl::Duration kLast = absl::Seconds(10);

  absl::Duration longest_ = kFirst;
  std::minstd_rand random_;
};

}  // namespace walferry
