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
constexpr std::size_t kHeaderBytes = 5;

}  // namespace

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

bool ReceiveBlock::HasRoomFor(std::size_t payload_bytes) const {
  return capacity_bytes_ - filled_bytes_ >= kHeaderBytes + payload_bytes;
}

void ReceiveBlock::Append(std::string_view payload) {
  char* out = bytes_.get() + filled_bytes_;
  const std::uint32_t length = __builtin_bswap32(static_cast<std::uint32_t>(payload.size() + sizeof length));
  out[0] = 'd';
  std::memcpy(out + 1, &length, sizeof length);
  std::memcpy(out + kHeaderBytes, payload.data(), payload.size());
  filled_bytes_ += kHeaderBytes + payload.size();
}

std::optional<std::string_view> ReceiveBlock::Next() {
  if (read_bytes_ == filled_bytes_) return std::nullopt;
  WireReader reader(std::string_view(bytes_.get() + read_bytes_, filled_bytes_ - read_bytes_));
  reader.Int8();
  const std::uint32_t length = reader.Int32();
  const std::string_view payload = reader.Bytes(length - sizeof length);
  read_bytes_ += reader.offset();
  return payload;
}

ReceivePool::ReceivePool(MemoryBudget& budget) : shelf_(std::make_shared<ReceiveBlock::Shelf>(budget)) {}

std::shared_ptr<ReceiveBlock> ReceivePool::Take(std::size_t payload_bytes) {
  const std::size_t capacity_bytes = std::max(shelf_->block_bytes, payload_bytes + kHeaderBytes);
  return std::shared_ptr<ReceiveBlock>(new ReceiveBlock(shelf_, capacity_bytes));
}

}  // namespace walferry
