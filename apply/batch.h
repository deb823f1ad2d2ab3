// Segments cut into source transactions, and those grouped into batches: what is applied in one target
// transaction.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "decoder/status.h"
#include "stream/segment.h"

namespace walferry {

// Events [first, first + count) of a segment, which lives as long as a slice of it does.
struct Slice {
  std::shared_ptr<const Segment> segment;
  std::size_t first = 0;
  std::size_t count = 0;
  // Where it is not empty: only these of them, by their place in the segment.
  std::vector<std::uint32_t> picked = {};
  std::size_t bytes = 0;  // Of the events between first and first + count.
};

// What an event counts for where sizes are limited.
std::size_t BytesOf(const Event& event);

// Most transactions of a busy source are within one segment.
using Slices = absl::InlinedVector<Slice, 1>;

// A transaction of the source, or a part of one. Its slices hold its changes, without begin and commit.
struct SourceTransaction {
  Xid xid = 0;
  Lsn commit_lsn;
  Lsn end_lsn;  // Zero as long as its commit did not arrive.
  std::size_t bytes = 0;
  Slices slices;

  bool whole() const { return end_lsn.valid(); }
};

struct Batch {
  std::vector<SourceTransaction> transactions;  // In commit order, at least one.
  std::size_t bytes = 0;

  Lsn end_lsn() const { return transactions.back().end_lsn; }
};

// Calls `visit(const Segment&, const Event&)`, which returns a Status, for each change until one is not OK.
template <typename Visit>
absl::Status ForEachChange(const SourceTransaction& transaction, Visit visit) {
  for (const Slice& slice : transaction.slices) {
    for (const std::uint32_t i : slice.picked) {
      WF_RETURN_IF_ERROR(visit(*slice.segment, slice.segment->events[i]));
    }
    if (!slice.picked.empty()) continue;
    for (std::size_t i = slice.first; i < slice.first + slice.count; ++i) {
      WF_RETURN_IF_ERROR(visit(*slice.segment, slice.segment->events[i]));
    }
  }
  return absl::OkStatus();
}

// Not thread-safe.
class BatchBuilder {
 public:
  // Drops everything, an unfinished transaction included. Transactions that committed before `position` are
  // left out.
  // open_commit_lsn: where what is added first is the rest of a transaction, which counts as one then.
  void Reset(Lsn position, Lsn open_commit_lsn = {});

  // kInternal where the events are not those of whole transactions one after the other.
  absl::Status Add(std::shared_ptr<const Segment> segment);

  bool has_whole() const { return !transactions_.empty() && transactions_.front().whole() && !in_parts_; }
  std::size_t bytes() const { return bytes_; }
  // As many whole transactions as fit into `max_bytes`, but at least one. Only when has_whole().
  Batch TakeWhole(std::size_t max_bytes);
  // The first of them alone, and where it ends. Only when has_whole().
  SourceTransaction TakeFirst();
  Lsn first_end() const { return transactions_.front().end_lsn; }

  // The oldest transaction is not whole yet, or a part of it was taken.
  bool has_open() const { return !transactions_.empty() && !has_whole(); }
  std::size_t open_bytes() const { return transactions_.front().bytes; }
  // TakePart() would give something that it did not give yet.
  bool open_has_news() const {
    return !transactions_.front().slices.empty() || transactions_.front().whole();
  }
  // What there is of it, as long as it fits into `max_bytes` (but one slice at least); the last part is
  // whole(). Only when has_open().
  SourceTransaction TakePart(std::size_t max_bytes);

 private:
  absl::Status AddEvent(const std::shared_ptr<const Segment>& segment, std::size_t index);

  enum class Place { kOutside, kInside, kSkipping };
  Place place_ = Place::kOutside;
  bool in_parts_ = false;
  Lsn position_;
  std::size_t bytes_ = 0;                       // Of all that is in transactions_.
  std::deque<SourceTransaction> transactions_;  // The last one may be unfinished.
};

}  // namespace walferry
