// Tested by tests/stream/receive_buffer_test.cc
#include "stream/receive_buffer.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "decoder/wire_reader.h"

namespace walferry {
namespace {

constexpr std::size_t kBlockBytes = 256 << 10;
constexpr std::size_t kSmallestBlockBytes = 16 << 10;
// A budget holds this many blocks at least, so that a small one is not used up by a single block.
constexpr std::size_t kBlocksPerBudget = 64;
constexpr std::size_t kKeptBlocks = 16;
// A read into less than this is not worth its system call.
constexpr std::size_t kLeastRoomBytes = 4 << 10;

constexpr std::size_t kLengthBytes = WireMessage::kHeaderBytes - 1;
// A server cannot make a message of 1 GB or more (MaxAllocSize); those that carry no row are small, and a
// larger one is a sign of bytes read at the wrong place, as it is to libpq.
constexpr std::size_t kMostRowBytes = std::size_t{1} << 30;
constexpr std::size_t kMostOtherBytes = 1 << 20;

}  // namespace

absl::StatusOr<std::size_t> BodyBytes(std::string_view header) {
  WireReader reader(header);
  const char type = static_cast<char>(reader.Int8());
  const std::size_t length = reader.Int32();
  const std::size_t most = type == WireMessage::kCopyData ? kMostRowBytes : kMostOtherBytes;
  if (reader.ok() && length >= kLengthBytes && length - kLengthBytes <= most) return length - kLengthBytes;
  return Errorf(absl::StatusCode::kDataLoss,
                "The source sent a message of type 0x%02x with an impossible length, %d",
                static_cast<unsigned char>(type), length);
}

struct ReceiveBlock::Shelf {
  explicit Shelf(MemoryBudget& memory)
      : budget(memory),
        block_bytes(std::clamp(memory.limit_bytes() / kBlocksPerBudget, kSmallestBlockBytes, kBlockBytes)) {}

  MemoryBudget& budget;
  const std::size_t block_bytes;
  absl::Mutex mutex;
  std::vector<std::unique_ptr<char[]>> kept ABSL_GUARDED_BY(mutex);
};

ReceiveBlock::ReceiveBlock(std::shared_ptr<Shelf> shelf, std::size_t capacity_bytes)
    : shelf_(std::move(shelf)), capacity_bytes_(capacity_bytes) {
  shelf_->budget.Take(capacity_bytes_);
  if (capacity_bytes_ == shelf_->block_bytes) {
    absl::MutexLock lock(&shelf_->mutex);
    if (!shelf_->kept.empty()) {
      bytes_ = std::move(shelf_->kept.back());
      shelf_->kept.pop_back();
    }
  }
  if (bytes_ == nullptr) bytes_ = std::make_unique_for_overwrite<char[]>(capacity_bytes_);
}

ReceiveBlock::~ReceiveBlock() {
  if (capacity_bytes_ == shelf_->block_bytes) {
    absl::MutexLock lock(&shelf_->mutex);
    if (shelf_->kept.size() < kKeptBlocks) shelf_->kept.push_back(std::move(bytes_));
  }
  bytes_.reset();
  shelf_->budget.Return(capacity_bytes_);
}

std::span<char> ReceiveBlock::room() {
  return {bytes_.get() + filled_bytes_, capacity_bytes_ - filled_bytes_};
}

void ReceiveBlock::Filled(std::size_t bytes) {
  filled_bytes_ += bytes;
}

std::string_view ReceiveBlock::unfinished() const {
  return {bytes_.get() + scanned_bytes_, filled_bytes_ - scanned_bytes_};
}

absl::StatusOr<std::optional<WireMessage>> ReceiveBlock::Scan() {
  while (true) {
    const std::string_view rest = unfinished();
    message_bytes_ = WireMessage::kHeaderBytes;
    if (rest.size() < message_bytes_) return std::nullopt;
    WF_ASSIGN_OR_RETURN(const std::size_t body_bytes, BodyBytes(rest.substr(0, message_bytes_)));
    message_bytes_ += body_bytes;
    if (rest.size() < message_bytes_) return std::nullopt;
    scanned_bytes_ += message_bytes_;
    if (rest[0] == WireMessage::kCopyData) continue;
    return WireMessage{.type = rest[0], .body = rest.substr(WireMessage::kHeaderBytes, body_bytes)};
  }
}

bool ReceiveBlock::Append(std::string_view payload) {
  message_bytes_ = WireMessage::kHeaderBytes + payload.size();
  if (capacity_bytes_ - filled_bytes_ < message_bytes_) return false;
  char* out = bytes_.get() + filled_bytes_;
  const std::uint32_t length = __builtin_bswap32(static_cast<std::uint32_t>(payload.size() + kLengthBytes));
  out[0] = WireMessage::kCopyData;
  std::memcpy(out + 1, &length, sizeof length);
  std::memcpy(out + WireMessage::kHeaderBytes, payload.data(), payload.size());
  filled_bytes_ += message_bytes_;
  scanned_bytes_ = filled_bytes_;
  message_bytes_ = WireMessage::kHeaderBytes;
  return true;
}

bool ReceiveBlock::full() const {
  const std::size_t left_bytes = capacity_bytes_ - scanned_bytes_;
  return left_bytes < message_bytes_ || (filled_bytes_ == scanned_bytes_ && left_bytes < kLeastRoomBytes);
}

std::optional<std::string_view> ReceiveBlock::Next() {
  while (read_bytes_ < scanned_bytes_) {
    WireReader reader(std::string_view(bytes_.get() + read_bytes_, scanned_bytes_ - read_bytes_));
    const auto type = static_cast<char>(reader.Int8());
    const std::string_view body = reader.Bytes(reader.Int32() - kLengthBytes);
    read_bytes_ += reader.offset();
    if (type == WireMessage::kCopyData) return body;
  }
  return std::nullopt;
}

ReceivePool::ReceivePool(MemoryBudget& budget) : shelf_(std::make_shared<ReceiveBlock::Shelf>(budget)) {}

std::shared_ptr<ReceiveBlock> ReceivePool::Take() {
  return std::shared_ptr<ReceiveBlock>(new ReceiveBlock(shelf_, shelf_->block_bytes));
}

std::shared_ptr<ReceiveBlock> ReceivePool::Continue(const ReceiveBlock& full) {
  const std::size_t capacity_bytes = std::max(shelf_->block_bytes, full.message_bytes_);
  std::shared_ptr<ReceiveBlock> block(new ReceiveBlock(shelf_, capacity_bytes));
  const std::string_view begun = full.unfinished();
  std::copy(begun.begin(), begun.end(), block->bytes_.get());
  block->filled_bytes_ = begun.size();
  block->message_bytes_ = full.message_bytes_;
  return block;
}

}  // namespace walferry
