// Tested by tests/stream/spool_test.cc
#include "stream/spool.h"

#include <algorithm>
#include <cstring>

namespace walferry {
namespace {

constexpr std::size_t kHeaderBytes = 20;
constexpr std::size_t kChunkBytes = 256 << 10;
constexpr std::size_t kFirstChunkBytes = 4 << 10;
// A chunk that is still being filled goes to the file only from this size on; so what stays in memory beyond
// the limit is less than this for each transaction in progress.
constexpr std::size_t kSmallestSpilledBytes = 32 << 10;
// What the index costs for each subtransaction: an entry of the vector and one of the hash map.
constexpr std::size_t kIndexBytesPerSubtransaction = 48;

}  // namespace

SpoolChunk::SpoolChunk(MemoryBudget& budget, std::size_t capacity_bytes) : budget_(budget) {
  Reserve(capacity_bytes);
}

SpoolChunk::~SpoolChunk() {
  budget_.Return(charged_bytes_);
}

void SpoolChunk::Reserve(std::size_t capacity_bytes) {
  bytes_.reserve(capacity_bytes);
  budget_.Take(bytes_.capacity() - charged_bytes_);
  charged_bytes_ = bytes_.capacity();
}

std::optional<SpoolRecord> SpoolChunk::Next(std::size_t& offset) const {
  if (offset == bytes_.size()) return std::nullopt;
  SpoolRecord record;
  std::uint32_t length = 0;
  const char* in = bytes_.data() + offset;
  std::memcpy(&record.lsn.value, in, 8);
  std::memcpy(&record.arrival, in + 8, 8);
  std::memcpy(&length, in + 16, 4);
  record.payload = std::string_view(in + kHeaderBytes, length);
  offset += kHeaderBytes + length;
  return record;
}

Spool::~Spool() {
  for (Part& part : parts_) {
    if (part.chunk != nullptr) Forget(*part.chunk);
  }
  room_.budget.Return(firsts_.size() * kIndexBytesPerSubtransaction);
}

void Spool::Forget(SpoolChunk& chunk) {
  room_.memory_bytes -= chunk.charged_bytes_;
}

SpoolChunk& Spool::ChunkFor(std::size_t record_bytes) {
  const bool fits = !parts_.empty() && parts_.back().chunk != nullptr &&
                    (parts_.back().bytes == 0 || parts_.back().bytes + record_bytes <= kChunkBytes);
  if (!fits) {
    parts_.push_back({.chunk = std::make_shared<SpoolChunk>(room_.budget, kFirstChunkBytes)});
    room_.memory_bytes += parts_.back().chunk->charged_bytes_;
  }
  SpoolChunk& chunk = *parts_.back().chunk;
  const std::size_t needed_bytes = chunk.bytes_.size() + record_bytes;
  if (needed_bytes > chunk.bytes_.capacity()) {
    Forget(chunk);
    chunk.Reserve(std::max(needed_bytes, std::min(kChunkBytes, 2 * chunk.bytes_.capacity())));
    room_.memory_bytes += chunk.charged_bytes_;
  }
  return chunk;
}

absl::Status Spool::Append(Xid subxid, const SpoolRecord& record) {
  SpoolChunk& chunk = ChunkFor(kHeaderBytes + record.payload.size());
  if (first_of_.try_emplace(subxid, firsts_.size()).second) {
    firsts_.emplace_back(subxid, Position{.part = parts_.size() - 1, .offset = chunk.bytes_.size()});
    room_.budget.Take(kIndexBytesPerSubtransaction);
  }
  char header[kHeaderBytes];
  const auto length = static_cast<std::uint32_t>(record.payload.size());
  std::memcpy(header, &record.lsn.value, 8);
  std::memcpy(header + 8, &record.arrival, 8);
  std::memcpy(header + 16, &length, 4);
  chunk.bytes_.insert(chunk.bytes_.end(), header, header + kHeaderBytes);
  chunk.bytes_.insert(chunk.bytes_.end(), record.payload.begin(), record.payload.end());
  parts_.back().bytes = chunk.bytes_.size();
  if (room_.memory_bytes > room_.memory_limit_bytes) return Spill();
  return absl::OkStatus();
}

absl::Status Spool::Spill() {
  // Chunks go to the file in their order, so those in memory are the last ones.
  std::size_t first = parts_.size();
  while (first > 0 && parts_[first - 1].chunk != nullptr) --first;
  for (; first < parts_.size(); ++first) {
    Part& part = parts_[first];
    if (first + 1 == parts_.size() && part.bytes < kSmallestSpilledBytes) break;
    if (file_ == nullptr) {
      WF_ASSIGN_OR_RETURN(file_, SpoolFile::Create(room_.directory));
    }
    WF_ASSIGN_OR_RETURN(part.sealed, file_->Append(std::string_view(part.chunk->bytes_.data(), part.bytes)));
    Forget(*part.chunk);
    part.chunk.reset();
  }
  return absl::OkStatus();
}

absl::Status Spool::CutAt(Xid subxid) {
  const auto found = first_of_.find(subxid);
  if (found == first_of_.end()) return absl::OkStatus();
  const std::size_t index = found->second;
  Position cut = firsts_[index].second;
  for (std::size_t i = index; i < firsts_.size(); ++i) first_of_.erase(firsts_[i].first);
  room_.budget.Return((firsts_.size() - index) * kIndexBytesPerSubtransaction);
  firsts_.resize(index);

  if (cut.offset > 0) {
    Part& last = parts_[cut.part];
    last.bytes = cut.offset;
    if (last.chunk != nullptr) last.chunk->bytes_.resize(cut.offset);
    ++cut.part;
  }
  const auto first_sealed = std::find_if(parts_.begin() + static_cast<std::ptrdiff_t>(cut.part), parts_.end(),
                                         [](const Part& part) { return part.chunk == nullptr; });
  if (first_sealed != parts_.end()) {
    WF_RETURN_IF_ERROR(file_->CutAt(first_sealed->sealed.offset));
  }
  for (std::size_t i = cut.part; i < parts_.size(); ++i) {
    if (parts_[i].chunk != nullptr) Forget(*parts_[i].chunk);
  }
  parts_.resize(cut.part);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const SpoolChunk>> Spool::TakeChunk() {
  if (taken_parts_ == parts_.size()) return nullptr;
  Part& part = parts_[taken_parts_++];
  if (part.chunk != nullptr) {
    Forget(*part.chunk);
    return std::move(part.chunk);
  }
  auto chunk = std::make_shared<SpoolChunk>(room_.budget, part.sealed.raw_bytes);
  chunk->bytes_.resize(part.sealed.raw_bytes);
  WF_RETURN_IF_ERROR(file_->Read(part.sealed, chunk->bytes_.data()));
  chunk->bytes_.resize(part.bytes);
  return chunk;
}

}  // namespace walferry
