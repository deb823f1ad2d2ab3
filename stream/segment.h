// What the source side hands to the target side: a run of events in commit order, together with the bytes
// that their views point into. Transactions follow one another whole (B … C), never interleaved; a segment
// may begin or end in the middle of one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "decoder/message.h"
#include "decoder/relation.h"
#include "stream/memory_budget.h"

namespace walferry {

enum class EventKind : std::uint8_t { kBegin, kInsert, kUpdate, kDelete, kTruncate, kCommit };

// One event of a transaction. Views borrow the bytes of the event's Segment, which keep the relation alive,
// too.
struct Event {
  EventKind kind = EventKind::kBegin;
  OldTuple old_kind = OldTuple::kNone;
  bool cascade = false;           // kTruncate
  bool restart_identity = false;  // kTruncate
  Xid xid = 0;                    // Of the top-level transaction.
  // kBegin: the commit LSN (start of the commit record), by which a transaction is skipped or not.
  // kCommit: the end LSN, which becomes the position. Otherwise: where the change stands, or zero if unknown.
  Lsn lsn = {};
  TimestampMicros commit_time = 0;  // kBegin and kCommit
  const Relation* relation = nullptr;
  TupleView old_tuple = {};
  TupleView new_tuple = {};
  std::uint32_t truncate_first = 0;  // kTruncate: its relations are truncated[first, first + count)
  std::uint32_t truncate_count = 0;
};

// Bytes that views point into; what it is made of is the source side's business.
class Bytes {
 public:
  virtual ~Bytes() = default;
};

class Segment {
 public:
  Segment() = default;
  Segment(Segment&&) noexcept = default;
  Segment& operator=(Segment&&) noexcept = default;

  std::vector<Event> events;
  std::vector<const Relation*> truncated;
  // Everything that the events' views point into stays while the segment does.
  std::vector<std::shared_ptr<const Bytes>> bytes;
  // Payload bytes of the events: what batches are measured by.
  std::size_t payload_bytes = 0;

  bool empty() const { return events.empty(); }
};

}  // namespace walferry
