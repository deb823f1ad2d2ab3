// Tested by tests/apply/batch_test.cc.
#include "apply/batch.h"

#include <algorithm>

namespace walferry {
namespace {

// What an event costs besides its values, so that a run of tiny changes is bounded, too.
constexpr std::size_t kEventBytes = 32;

}  // namespace

std::size_t BytesOf(const Event& event) {
  return kEventBytes + event.old_tuple.bytes().size() + event.new_tuple.bytes().size();
}

void BatchBuilder::Reset(Lsn position, Lsn open_commit_lsn) {
  transactions_.clear();
  bytes_ = 0;
  place_ = Place::kOutside;
  in_parts_ = false;
  position_ = position;
  if (!open_commit_lsn.valid()) return;
  place_ = Place::kInside;
  transactions_.push_back({0, open_commit_lsn, {}, 0, {}});
}

absl::Status BatchBuilder::Add(std::shared_ptr<const Segment> segment) {
  for (std::size_t i = 0; i < segment->events.size(); ++i) WF_RETURN_IF_ERROR(AddEvent(segment, i));
  return absl::OkStatus();
}

absl::Status BatchBuilder::AddEvent(const std::shared_ptr<const Segment>& segment, std::size_t index) {
  const Event& event = segment->events[index];
  const bool is_begin = event.kind == EventKind::kBegin;
  if (is_begin != (place_ == Place::kOutside)) {
    return Errorf(absl::StatusCode::kInternal, "transactions of the stream are not one after the other at %s",
                  event.lsn.ToString());
  }
  if (is_begin) {
    place_ = event.lsn < position_ ? Place::kSkipping : Place::kInside;
    if (place_ == Place::kInside) transactions_.push_back({event.xid, event.lsn, {}, 0, {}});
    return absl::OkStatus();
  }
  if (event.kind == EventKind::kCommit) {
    if (place_ == Place::kInside) transactions_.back().end_lsn = event.lsn;
    position_ = std::max(position_, event.lsn);
    place_ = Place::kOutside;
    return absl::OkStatus();
  }
  if (place_ == Place::kSkipping) return absl::OkStatus();
  SourceTransaction& transaction = transactions_.back();
  transaction.bytes += BytesOf(event);
  bytes_ += BytesOf(event);
  if (transaction.slices.empty() || transaction.slices.back().segment != segment) {
    transaction.slices.push_back({segment, index, 0, {}, 0});
  }
  ++transaction.slices.back().count;
  transaction.slices.back().bytes += BytesOf(event);
  return absl::OkStatus();
}

Batch BatchBuilder::TakeWhole(std::size_t max_bytes) {
  Batch batch;
  do {
    batch.bytes += transactions_.front().bytes;
    batch.transactions.push_back(TakeFirst());
  } while (has_whole() && batch.bytes + transactions_.front().bytes <= max_bytes);
  return batch;
}

SourceTransaction BatchBuilder::TakeFirst() {
  SourceTransaction first = std::move(transactions_.front());
  transactions_.pop_front();
  bytes_ -= first.bytes;
  return first;
}

SourceTransaction BatchBuilder::TakePart(std::size_t max_bytes) {
  SourceTransaction& front = transactions_.front();
  SourceTransaction part = {front.xid, front.commit_lsn, {}, 0, {}};
  auto taken = front.slices.begin();
  for (; taken != front.slices.end() && (part.bytes == 0 || part.bytes + taken->bytes <= max_bytes);
       ++taken) {
    part.bytes += taken->bytes;
    part.slices.push_back(std::move(*taken));
  }
  front.slices.erase(front.slices.begin(), taken);
  front.bytes -= part.bytes;
  bytes_ -= part.bytes;
  if (front.slices.empty()) part.end_lsn = front.end_lsn;
  in_parts_ = !part.whole();
  if (part.whole()) transactions_.pop_front();
  return part;
}

}  // namespace walferry
