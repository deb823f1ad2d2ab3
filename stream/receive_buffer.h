// The bytes of the stream on their way to the sink: blocks taken from the memory budget, filled by the
// transport, read by the session, kept alive by the segments whose views point into them.
//
//   'd' Int32 length payload | 'd' Int32 length payload | 'd' Int32 leng…   as it stands on the wire
//   ^ read by Next()         ^ stepped over by Scan()                    ^ room(): written by the transport
//                            <-------------- unfinished() -------------->
//
// A block goes on being filled after a segment over its first part was pushed, so that a lone small
// transaction does not cost a whole block; the parts do not overlap, so nobody has to wait for anybody. Where
// a message does not fit into what is left, its beginning moves into the next block: no message is ever in
// two.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "decoder/status.h"
#include "stream/memory_budget.h"
#include "stream/segment.h"

namespace walferry {

// One message of the server: a type byte, Int32 length, body.
// https://www.postgresql.org/docs/current/protocol-message-formats.html
struct WireMessage {
  static constexpr std::size_t kHeaderBytes = 5;
  static constexpr char kCopyData = 'd';

  char type = 0;
  std::string_view body;
};

// The length of the body that a header (kHeaderBytes of it) announces. kDataLoss where no server would send
// that.
absl::StatusOr<std::size_t> BodyBytes(std::string_view header);

class ReceiveBlock final : public Bytes {
 public:
  ~ReceiveBlock() override;
  ReceiveBlock(const ReceiveBlock&) = delete;
  ReceiveBlock& operator=(const ReceiveBlock&) = delete;

  // Where what comes next is to be written; empty only if full().
  std::span<char> room();
  // So much of room() was written.
  void Filled(std::size_t bytes);
  // Steps over whole CopyData messages, which Next() then gives, up to the first message of another kind,
  // which it returns and steps over, too. Nothing: all that is whole was stepped over. kDataLoss: a length
  // cannot be.
  absl::StatusOr<std::optional<WireMessage>> Scan();
  // The beginning of a message whose rest is still to come.
  std::string_view unfinished() const;

  // Writes one CopyData message. False: there is no room, but there will be in the pool's next block.
  bool Append(std::string_view payload);

  // Neither the rest of the unfinished message nor a next one is worth being read into what is left of the
  // block: go on with ReceivePool::Continue().
  bool full() const;

  std::size_t capacity_bytes() const { return capacity_bytes_; }

  // The payload of the next CopyData message that was not read yet. The view lives as long as the block.
  std::optional<std::string_view> Next();

 private:
  friend class ReceivePool;
  struct Shelf;
  ReceiveBlock(std::shared_ptr<Shelf> shelf, std::size_t capacity_bytes);

  const std::shared_ptr<Shelf> shelf_;
  const std::size_t capacity_bytes_;
  std::unique_ptr<char[]> bytes_;
  std::size_t filled_bytes_ = 0;
  std::size_t scanned_bytes_ = 0;
  std::size_t read_bytes_ = 0;
  // Of the message that begins at scanned_bytes_, as far as is known.
  std::size_t message_bytes_ = WireMessage::kHeaderBytes;
};

// Makes blocks of one size and keeps a few returned ones for the next. Blocks may be released on any thread
// and may outlive the pool, but not the budget.
class ReceivePool {
 public:
  explicit ReceivePool(MemoryBudget& budget);

  std::shared_ptr<ReceiveBlock> Take();
  // The block after a full one: begins with its unfinished() and has room for the rest of that message;
  // larger than others only where it must be.
  std::shared_ptr<ReceiveBlock> Continue(const ReceiveBlock& full);

 private:
  std::shared_ptr<ReceiveBlock::Shelf> shelf_;
};

}  // namespace walferry
