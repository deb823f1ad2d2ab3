// How changes are dealt to several lanes: by which columns each table's rows are, which transactions one lane
// applies alone for all, and what of a transaction is one lane's share.
//
// A table whose rows do not get into each other's way (MappedTable::lane_key) is dealt row by row, by the
// bytes of its key on the target. Every other table goes to one lane as a whole.
//
// All lanes look at the same transactions in the same order, and what they look at here changes only while
// they wait for each other: so each finds out by itself what the others do, too.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "apply/batch.h"
#include "apply/lane_state.h"

namespace walferry {

// Applies for all what cannot be taken apart, and what came before the others joined.
inline constexpr int kFirstLane = 0;

// Of one shape of a table.
struct Deal {
  // Published columns, ascending; empty: all rows go to one lane.
  std::vector<std::size_t> key;
  std::uint64_t table_hash = 0;
};

// What is decided about the tables. Thread-safe.
class Dealing {
 public:
  // A stream begins, or becomes one for several lanes. What commits before `joined` the first lane applies
  // alone. Some lane has been at `level` already, and in which shares the rest before that was applied stands
  // in `recorded`. From there on tables are decided on when they are met.
  void Begin(Lsn joined, Lsn level, std::vector<DealtTable> recorded);

  struct Place {
    bool before_level = false;
    bool first_lane_alone = false;
    bool together = false;  // NoteTogether() was called.
  };
  Place PlaceOf(Lsn commit_lsn) const;
  // nullptr where that is not decided yet.
  std::shared_ptr<const Deal> Find(const Relation* relation, bool before_level) const;

  // While all lanes wait, after the decision was recorded. It replaces that of another shape of the table.
  void Decide(const Relation* relation, DealtTable dealt);
  // One lane will apply this transaction, which does not fit into memory, for all.
  void NoteTogether(Lsn commit_lsn);

 private:
  struct Decided {
    DealtTable dealt;
    std::shared_ptr<const Deal> deal;
  };

  mutable absl::Mutex mutex_;
  Lsn joined_ ABSL_GUARDED_BY(mutex_);
  Lsn level_ ABSL_GUARDED_BY(mutex_);
  std::map<Oid, DealtTable> recorded_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<const Relation*, Decided> decided_ ABSL_GUARDED_BY(mutex_);
  std::map<TableName, DealtTable> current_ ABSL_GUARDED_BY(mutex_);
  std::set<Lsn> together_ ABSL_GUARDED_BY(mutex_);
};

// Picks out one lane's share. Not thread-safe.
class Dealer {
 public:
  // dealing: outlives this.
  Dealer(const Dealing& dealing, int lanes, int lane) : dealing_(dealing), lanes_(lanes), lane_(lane) {}

  // Leaves in the transaction (or part of one) what this lane is to apply. False, and nothing is changed,
  // where it cannot be taken apart: it truncates, has a row whose key moves to another lane or cannot be
  // told, or a table that is not decided on. kInternal where such a one was taken apart before.
  absl::StatusOr<bool> TakeShare(SourceTransaction& transaction);
  // Dealing has changed.
  void Forget();

 private:
  bool PickFrom(const Slice& slice, Slice& share, std::size_t& bytes);
  // kNoLane: it is not one lane's.
  int LaneOf(const Event& event);
  int LaneOfRow(const Deal& deal, const Event& event) const;
  const Deal* DealOf(const Relation* relation);

  const Dealing& dealing_;
  const int lanes_;
  const int lane_;
  bool before_level_ = false;
  absl::flat_hash_map<const Relation*, std::shared_ptr<const Deal>> deals_;
  const Relation* last_relation_ = nullptr;
  const Deal* last_deal_ = nullptr;
};

}  // namespace walferry
