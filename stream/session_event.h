// What happens on the source side besides data; said in words by tools/.
#pragma once

#include <functional>
#include <string>

namespace walferry {

struct SessionEvent {
  enum class Kind { kConnected, kReconnecting, kSlotActive, kStopped, kRelationChanged, kLogicalMessage };
  Kind kind;
  std::string text;  // One sentence, without secrets or cell values.
};

using SessionObserver = std::function<void(const SessionEvent&)>;

}  // namespace walferry
