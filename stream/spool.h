// The changes of one transaction in progress, kept until it commits: in memory first, in an encrypted file
// beyond a share of the budget. A chunk of records is what is written, read back and handed out; segments
// keep it alive.
//
//   chunk: { Int64 lsn, Int64 arrival, Int32 length, payload }*      in this machine's byte order
//
// Not thread-safe, but chunks that were handed out may be released on any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "decoder/lsn.h"
#include "decoder/status.h"
#include "stream/memory_budget.h"
#include "stream/segment.h"
#include "stream/spool_file.h"

namespace walferry {

struct SpoolRecord {
  Lsn lsn;
  std::uint64_t arrival = 0;  // RelationCache::NextArrival() of a relation message, else zero.
  std::string_view payload;
};

class SpoolChunk final : public Bytes {
 public:
  SpoolChunk(MemoryBudget& budget, std::size_t capacity_bytes);
  ~SpoolChunk() override;
  SpoolChunk(const SpoolChunk&) = delete;
  SpoolChunk& operator=(const SpoolChunk&) = delete;

  // The record at `offset`, which moves behind it; nullopt at the end.
  std::optional<SpoolRecord> Next(std::size_t& offset) const;

 private:
  friend class Spool;
  void Reserve(std::size_t capacity_bytes);

  MemoryBudget& budget_;
  std::vector<char> bytes_;
  std::size_t charged_bytes_ = 0;
};

// What the spools of one session share. Must outlive them.
struct SpoolRoom {
  MemoryBudget& budget;
  std::string directory;
  // Together they hold no more than this in memory, but for what one record or a small last chunk adds.
  std::size_t memory_limit_bytes;
  std::size_t memory_bytes = 0;
};

class Spool {
 public:
  explicit Spool(SpoolRoom& room) : room_(room) {}
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  absl::Status Append(Xid subxid, const SpoolRecord& record);
  // Drops the first record of `subxid` and all behind it: what came later inside a subtransaction that was
  // rolled back was rolled back with it. Nothing happens where there is none.
  absl::Status CutAt(Xid subxid);
  // The oldest chunk, or nullptr when all were taken. No Append or CutAt after the first call.
  absl::StatusOr<std::shared_ptr<const SpoolChunk>> TakeChunk();

  // Whether a part of it is in a file.
  bool on_disk() const { return file_ != nullptr; }

 private:
  struct Part {
    std::shared_ptr<SpoolChunk> chunk;  // Empty once it is in the file.
    SealedChunk sealed = {};
    std::size_t bytes = 0;  // Valid ones; the file may hold more.
  };
  struct Position {
    std::size_t part = 0;
    std::size_t offset = 0;
  };

  SpoolChunk& ChunkFor(std::size_t record_bytes);
  absl::Status Spill();
  void Forget(SpoolChunk& chunk);

  SpoolRoom& room_;
  std::unique_ptr<SpoolFile> file_;
  std::vector<Part> parts_;
  std::size_t taken_parts_ = 0;
  // Where each subtransaction's first record lies, in order; so a cut pops from the end.
  std::vector<std::pair<Xid, Position>> firsts_;
  absl::flat_hash_map<Xid, std::size_t> first_of_;
};

}  // namespace walferry
