// The bytes of the stream on their way to the sink: blocks taken from the memory budget, filled by the
// transport, read by the session, kept alive by the segments whose views point into them.
//
//   'd' Int32 length payload | 'd' Int32 length payload | …            CopyData as it stands on the wire
//   ^ read by Next()                                     ^ room(): written by the transport
//
// A block goes on being filled after a segment over its first part was pushed, so that a lone small
// transaction does not cost a whole block; the parts do not overlap, so nobody has to wait for anybody.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include "stream/memory_budget.h"
#include "stream/segment.h"

namespace walferry {

class ReceiveBlock final : public Bytes {
 public:
  ~ReceiveBlock() override;
  ReceiveBlock(const ReceiveBlock&) = delete;
  ReceiveBlock& operator=(const ReceiveBlock&) = delete;

  // Whether a message of this size, with its header, still fits.
  bool HasRoomFor(std::size_t payload_bytes) const;
  // The payload of one CopyData message; there must be room.
  void Append(std::string_view payload);
  // The next message that was not read yet. The view lives as long as the block.
  std::optional<std::string_view> Next();

 private:
  friend class ReceivePool;
  struct Shelf;
  ReceiveBlock(std::shared_ptr<Shelf> shelf, std::size_t capacity_bytes);

  const std::shared_ptr<Shelf> shelf_;
  const std::size_t capacity_bytes_;
  std::unique_ptr<char[]> bytes_;
  std::size_t filled_bytes_ = 0;
  std::size_t read_bytes_ = 0;
};

// Makes blocks of one size and keeps a few returned ones for the next. Blocks may be released on any thread
// and may outlive the pool, but not the budget.
class ReceivePool {
 public:
  explicit ReceivePool(MemoryBudget& budget);

  // An empty block with room for a message of `payload_bytes` at least; larger than others only where it must
  // be.
  std::shared_ptr<ReceiveBlock> Take(std::size_t payload_bytes = 0);

 private:
  std::shared_ptr<ReceiveBlock::Shelf> shelf_;
};

}  // namespace walferry
