// Tested by tests/apply/dealing_test.cc and applier_lanes_test.cc.
#include "apply/dealing.h"

#include <xxhash.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace walferry {
namespace {

constexpr int kNoLane = -1;

bool HasValue(const ColumnView& column) {
  return column.kind == ColumnKind::kText || column.kind == ColumnKind::kBinary;
}

// Lanes that stand at different positions after a crash are dealt the same again: what this returns may only
// change together with the format of the state.
std::uint64_t Hash(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint64_t HashOf(const TableName& table) {
  return Hash(table.name, Hash(table.schema, 0));
}

// nullopt where the relation does not have all of the columns.
std::optional<std::vector<std::size_t>> PublishedKey(const Relation& relation,
                                                     const std::vector<std::string>& names) {
  std::vector<std::size_t> key;
  for (std::size_t i = 0; i < relation.columns.size(); ++i) {
    if (std::find(names.begin(), names.end(), relation.columns[i].name) != names.end()) key.push_back(i);
  }
  if (key.size() != names.size()) return std::nullopt;
  return key;
}

std::shared_ptr<const Deal> MakeDeal(const Relation& relation, const DealtTable& dealt) {
  std::optional<std::vector<std::size_t>> key = PublishedKey(relation, dealt.key);
  if (!key) return nullptr;
  return std::make_shared<const Deal>(Deal{*std::move(key), HashOf(dealt.table)});
}

// Of the key's values in `row`; those that it leaves out because they are unchanged are in `before`. nullopt
// where one is not known.
std::optional<std::uint64_t> HashKey(const Deal& deal, const TupleView& row, const TupleView& before) {
  std::uint64_t hash = deal.table_hash;
  auto wanted = deal.key.begin();
  TupleView::Iterator column = row.begin();
  TupleView::Iterator old = before.begin();
  for (std::size_t i = 0; i < row.size() && wanted != deal.key.end(); ++i, ++column) {
    if (i == *wanted) {
      ColumnView value = *column;
      if (value.kind == ColumnKind::kUnchangedToast && i < before.size()) value = *old;
      if (!HasValue(value)) return std::nullopt;
      hash = Hash(value.value, hash);
      ++wanted;
    }
    if (i < before.size()) ++old;
  }
  if (wanted != deal.key.end()) return std::nullopt;
  return hash;
}

}  // namespace

void Dealing::Begin(Lsn joined, Lsn level, std::vector<DealtTable> recorded) {
  const absl::MutexLock lock(&mutex_);
  joined_ = joined;
  level_ = level;
  recorded_.clear();
  for (DealtTable& dealt : recorded) {
    const Oid oid = dealt.source_oid;
    recorded_[oid] = std::move(dealt);
  }
  decided_.clear();
  current_.clear();
  std::erase_if(together_, [&](Lsn commit_lsn) { return commit_lsn < level; });
}

Dealing::Place Dealing::PlaceOf(Lsn commit_lsn) const {
  const absl::MutexLock lock(&mutex_);
  return {commit_lsn < level_, commit_lsn < joined_, together_.contains(commit_lsn)};
}

std::shared_ptr<const Deal> Dealing::Find(const Relation* relation, bool before_level) const {
  const absl::MutexLock lock(&mutex_);
  if (before_level) {
    const auto recorded = recorded_.find(relation->id);
    return recorded == recorded_.end() ? nullptr : MakeDeal(*relation, recorded->second);
  }
  const auto found = decided_.find(relation);
  if (found == decided_.end()) return nullptr;
  // Another shape of the table may have been decided on since, and what stands on the target is about that.
  const DealtTable& dealt = found->second.dealt;
  const DealtTable& current = current_.at(dealt.table);
  return current.key == dealt.key && current.binary == dealt.binary ? found->second.deal : nullptr;
}

void Dealing::Decide(const Relation* relation, DealtTable dealt) {
  const absl::MutexLock lock(&mutex_);
  current_[dealt.table] = dealt;
  std::shared_ptr<const Deal> deal = MakeDeal(*relation, dealt);
  decided_[relation] = {std::move(dealt), std::move(deal)};
}

void Dealing::NoteTogether(Lsn commit_lsn) {
  const absl::MutexLock lock(&mutex_);
  together_.insert(commit_lsn);
}

void Dealer::Forget() {
  deals_.clear();
  last_relation_ = nullptr;
  last_deal_ = nullptr;
}

const Deal* Dealer::DealOf(const Relation* relation) {
  if (relation == last_relation_) return last_deal_;
  std::shared_ptr<const Deal>& deal = deals_[relation];
  if (deal == nullptr) deal = dealing_.Find(relation, before_level_);
  last_relation_ = relation;
  last_deal_ = deal.get();
  return last_deal_;
}

int Dealer::LaneOf(const Event& event) {
  if (event.kind == EventKind::kTruncate) return kNoLane;
  const Deal* const deal = DealOf(event.relation);
  if (deal == nullptr) return kNoLane;
  return deal->key.empty() ? static_cast<int>(deal->table_hash % static_cast<std::uint64_t>(lanes_))
                           : LaneOfRow(*deal, event);
}

int Dealer::LaneOfRow(const Deal& deal, const Event& event) const {
  const auto lane_of = [&](const TupleView& row, const TupleView& before) {
    const std::optional<std::uint64_t> hash = HashKey(deal, row, before);
    return hash ? static_cast<int>(*hash % static_cast<std::uint64_t>(lanes_)) : kNoLane;
  };
  if (event.kind == EventKind::kDelete) return lane_of(event.old_tuple, {});
  if (event.kind == EventKind::kInsert || event.old_kind == OldTuple::kNone) {
    return lane_of(event.new_tuple, {});
  }
  const int before = lane_of(event.old_tuple, {});
  const int after = lane_of(event.new_tuple, event.old_tuple);
  return before == after ? before : kNoLane;
}

bool Dealer::PickFrom(const Slice& slice, Slice& share, std::size_t& bytes) {
  share = {slice.segment, slice.first, slice.count, {}};
  for (std::size_t i = slice.first; i < slice.first + slice.count; ++i) {
    const Event& event = slice.segment->events[i];
    const int lane = LaneOf(event);
    if (lane == kNoLane) return false;
    if (lane != lane_) continue;
    share.picked.push_back(static_cast<std::uint32_t>(i));
    bytes += BytesOf(event);
  }
  if (share.picked.empty()) share.count = 0;
  if (share.picked.size() == share.count) share.picked.clear();
  return true;
}

absl::StatusOr<bool> Dealer::TakeShare(SourceTransaction& transaction) {
  const Dealing::Place place = dealing_.PlaceOf(transaction.commit_lsn);
  if (place.before_level != before_level_) Forget();
  before_level_ = place.before_level;
  if (place.together) return false;
  if (place.first_lane_alone) {
    if (lane_ == kFirstLane) return true;
    transaction.slices.clear();
    transaction.bytes = 0;
    return true;
  }
  Slices slices;
  std::size_t bytes = 0;
  for (const Slice& slice : transaction.slices) {
    Slice share;
    if (!PickFrom(slice, share, bytes)) {
      if (!before_level_) return false;
      return Errorf(absl::StatusCode::kInternal,
                    "a part of transaction %d (commit at %s) is on the target, but not by which columns it "
                    "was dealt to the lanes",
                    transaction.xid, transaction.commit_lsn.ToString());
    }
    if (share.count > 0) slices.push_back(std::move(share));
  }
  transaction.slices = std::move(slices);
  transaction.bytes = bytes;
  return true;
}

}  // namespace walferry
