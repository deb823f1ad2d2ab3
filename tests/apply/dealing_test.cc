// What is one lane's share of a transaction, without servers.
#include "apply/dealing.h"

#include <set>

#include "gtest/gtest.h"
#include "tests/apply/hand_made_stream.h"

namespace walferry {
namespace {

constexpr int kLanes = 3;

WrittenColumn Text(std::string value) {
  return {ColumnKind::kText, std::move(value)};
}

// Transactions with a table t (id, b, a) whose key is (id, a), and u, which goes to one lane.
class DealingTest : public ::testing::Test {
 protected:
  DealingTest() {
    for (const char* name : {"id", "b", "a"}) t_.columns.push_back({name, 25, -1, false});
    u_.columns = t_.columns;
  }

  void DecideOnBoth() {
    dealing_.Decide(&t_, {1, {"public", "t"}, {"a", "id"}, false});
    dealing_.Decide(&u_, {2, {"public", "u"}, {}, false});
  }

  const HandMadeTuple& Row(const WrittenRow& row) {
    rows_.push_back(std::make_unique<HandMadeTuple>(row));
    return *rows_.back();
  }
  Event Insert(const Relation& relation, const std::string& id, const std::string& a = "") {
    Event event;
    event.kind = EventKind::kInsert;
    event.relation = &relation;
    event.new_tuple = Row({Text(id), Text("b"), Text(a)}).view();
    return event;
  }
  Event Update(const std::string& from, const std::string& to, ColumnKind to_kind = ColumnKind::kText) {
    Event event = Insert(t_, to);
    event.kind = EventKind::kUpdate;
    event.new_tuple = Row({{to_kind, to}, Text("b"), Text("")}).view();
    if (from.empty()) return event;
    event.old_kind = OldTuple::kKey;
    event.old_tuple = Row({Text(from), {ColumnKind::kNull, ""}, Text("")}).view();
    return event;
  }

  SourceTransaction Transaction(std::vector<Event> events, Lsn commit_lsn = Lsn{100}) {
    auto segment = std::make_shared<Segment>();
    segment->events = std::move(events);
    SourceTransaction transaction;
    transaction.commit_lsn = commit_lsn;
    transaction.slices.push_back({segment, 0, segment->events.size(), {}, 0});
    return transaction;
  }

  // By lane: the places in the segment. Empty where it is not taken apart.
  std::vector<std::vector<std::size_t>> SharesOf(const SourceTransaction& transaction) {
    std::vector<std::vector<std::size_t>> shares;
    for (int lane = 0; lane < kLanes; ++lane) {
      SourceTransaction share = transaction;
      Dealer dealer(dealing_, kLanes, lane);
      if (!dealer.TakeShare(share).value()) return {};
      std::vector<std::size_t>& places = shares.emplace_back();
      const absl::Status visited =
          ForEachChange(share, [&](const Segment& segment, const Event& event) -> absl::Status {
            places.push_back(static_cast<std::size_t>(&event - segment.events.data()));
            return absl::OkStatus();
          });
      EXPECT_TRUE(visited.ok());
    }
    return shares;
  }
  int LaneOf(const Event& event) {
    const auto shares = SharesOf(Transaction({event}));
    for (std::size_t lane = 0; lane < shares.size(); ++lane) {
      if (!shares[lane].empty()) return static_cast<int>(lane);
    }
    return -1;
  }
  // An id in another lane than `id`.
  std::string Elsewhere(const std::string& id) {
    for (int other = 0;; ++other) {
      if (LaneOf(Insert(t_, std::to_string(other))) != LaneOf(Insert(t_, id))) return std::to_string(other);
    }
  }

  Relation t_{1, "public", "t", ReplicaIdentity::kDefault, {}};
  Relation u_{2, "public", "u", ReplicaIdentity::kDefault, {}};
  std::vector<std::unique_ptr<HandMadeTuple>> rows_;
  Dealing dealing_;
};

TEST_F(DealingTest, EveryChangeIsInOneShareAndInItsOrder) {
  DecideOnBoth();
  std::vector<Event> events;
  for (int i = 0; i < 300; ++i) events.push_back(Insert(i % 5 == 0 ? u_ : t_, std::to_string(i / 2)));
  const auto shares = SharesOf(Transaction(events));
  ASSERT_EQ(shares.size(), 3U);
  std::set<std::size_t> all;
  for (const std::vector<std::size_t>& share : shares) {
    EXPECT_GT(share.size(), 40U);
    EXPECT_TRUE(std::is_sorted(share.begin(), share.end()));
    all.insert(share.begin(), share.end());
  }
  EXPECT_EQ(all.size(), 300U);
  EXPECT_EQ(shares[0].size() + shares[1].size() + shares[2].size(), 300U);
}

TEST_F(DealingTest, ChangesOfOneRowGoToOneLane) {
  DecideOnBoth();
  for (const char* id : {"1", "2", "3", "4", "5"}) {
    const int lane = LaneOf(Insert(t_, id));
    ASSERT_GE(lane, 0);
    EXPECT_EQ(LaneOf(Update("", id)), lane);
    EXPECT_EQ(LaneOf(Update(id, id)), lane);
    EXPECT_EQ(LaneOf(Update(id, "", ColumnKind::kUnchangedToast)), lane);
    Event gone = Update(id, id);
    gone.kind = EventKind::kDelete;
    EXPECT_EQ(LaneOf(gone), lane);
  }
}

TEST_F(DealingTest, AllColumnsOfTheKeyCount) {
  DecideOnBoth();
  std::set<int> lanes;
  for (int i = 0; i < 50; ++i) lanes.insert(LaneOf(Insert(t_, "1", std::to_string(i))));
  EXPECT_EQ(lanes.size(), 3U);
}

// After a crash the same rows must be dealt to the same lanes, by whichever process.
TEST_F(DealingTest, HashesAreTheSameInEveryProcess) {
  DecideOnBoth();
  std::string lanes;
  for (int i = 0; i < 12; ++i) lanes += std::to_string(LaneOf(Insert(t_, std::to_string(i), "x")));
  EXPECT_EQ(lanes, "212202200002");
  EXPECT_EQ(LaneOf(Insert(u_, "1")), 1);
}

TEST_F(DealingTest, WhatCannotBeTakenApart) {
  DecideOnBoth();
  const std::string other = Elsewhere("1");
  EXPECT_EQ(LaneOf(Update("1", other)), -1);
  EXPECT_EQ(LaneOf(Update("", "", ColumnKind::kUnchangedToast)), -1);
  EXPECT_EQ(LaneOf(Update("1", "", ColumnKind::kNull)), -1);
  Event truncate;
  truncate.kind = EventKind::kTruncate;
  EXPECT_EQ(LaneOf(truncate), -1);
  // Nor what stands beside it.
  EXPECT_TRUE(SharesOf(Transaction({Insert(t_, "5"), Update("1", other)})).empty());
}

TEST_F(DealingTest, WhereNothingIsDecidedNothingIsTakenApart) {
  EXPECT_EQ(LaneOf(Insert(t_, "1")), -1);
  dealing_.Decide(&t_, {1, {"public", "t"}, {"id"}, false});
  EXPECT_GE(LaneOf(Insert(t_, "1")), 0);
  EXPECT_EQ(LaneOf(Insert(u_, "1")), -1);
  dealing_.Begin(Lsn{}, Lsn{}, {});
  EXPECT_EQ(LaneOf(Insert(t_, "1")), -1);
}

TEST_F(DealingTest, AnotherShapeOfATableIsDecidedOnAnew) {
  DecideOnBoth();
  Relation wider = t_;
  wider.columns.push_back({"more", 25, -1, false});
  EXPECT_EQ(LaneOf(Insert(wider, "1")), -1);
  // The same columns decide: the shape before may come again.
  dealing_.Decide(&wider, {1, {"public", "t"}, {"a", "id"}, false});
  EXPECT_GE(LaneOf(Insert(wider, "1")), 0);
  EXPECT_EQ(LaneOf(Insert(t_, "1")), LaneOf(Insert(wider, "1")));
  dealing_.Decide(&wider, {1, {"public", "t"}, {}, false});
  EXPECT_GE(LaneOf(Insert(wider, "1")), 0);
  EXPECT_EQ(LaneOf(Insert(t_, "1")), -1);
}

TEST_F(DealingTest, BeforeTheLevelTheRecordHolds) {
  DecideOnBoth();
  const int lane = LaneOf(Insert(t_, "1"));
  dealing_.Begin(Lsn{}, Lsn{200}, {{1, {"public", "t"}, {"a", "id"}, false}});
  EXPECT_EQ(LaneOf(Insert(t_, "1")), lane);
  // By whatever name.
  Relation renamed = t_;
  renamed.name = "young";
  EXPECT_EQ(LaneOf(Insert(renamed, "1")), lane);
  // From there on it does not.
  SourceTransaction later = Transaction({Insert(t_, "1")}, Lsn{200});
  Dealer dealer(dealing_, kLanes, lane);
  EXPECT_FALSE(dealer.TakeShare(later).value());
  SourceTransaction unknown = Transaction({Insert(u_, "1")});
  EXPECT_EQ(dealer.TakeShare(unknown).status().code(), absl::StatusCode::kInternal);
}

TEST_F(DealingTest, BeforeALaneJoinedTheFirstOneHasAll) {
  Event truncate;
  truncate.kind = EventKind::kTruncate;
  dealing_.Begin(Lsn{200}, Lsn{250}, {{1, {"public", "t"}, {"a", "id"}, false}});
  const SourceTransaction before = Transaction({Insert(u_, "1"), truncate, Insert(t_, "2")});
  EXPECT_EQ(SharesOf(before), (std::vector<std::vector<std::size_t>>{{0, 1, 2}, {}, {}}));
  EXPECT_TRUE(SharesOf(Transaction({truncate}, Lsn{250})).empty());
  Dealer dealer(dealing_, kLanes, 0);
  SourceTransaction behind = Transaction({truncate}, Lsn{200});
  EXPECT_EQ(dealer.TakeShare(behind).status().code(), absl::StatusCode::kInternal);
}

TEST_F(DealingTest, ATransactionThatIsNotedIsNotTakenApart) {
  DecideOnBoth();
  dealing_.NoteTogether(Lsn{100});
  EXPECT_EQ(LaneOf(Insert(t_, "1")), -1);
  Dealer dealer(dealing_, 1, 0);
  SourceTransaction other = Transaction({Insert(t_, "1")}, Lsn{300});
  EXPECT_TRUE(dealer.TakeShare(other).value());
}

TEST_F(DealingTest, AShareHoldsNoMoreThanItNeeds) {
  DecideOnBoth();
  SourceTransaction transaction = Transaction({Insert(u_, "1")});
  const std::weak_ptr<const Segment> segment = transaction.slices.front().segment;
  Dealer other(dealing_, kLanes, (LaneOf(Insert(u_, "1")) + 1) % kLanes);
  ASSERT_TRUE(other.TakeShare(transaction).value());
  EXPECT_TRUE(transaction.slices.empty());
  EXPECT_EQ(transaction.bytes, 0U);
  EXPECT_TRUE(segment.expired());
}

}  // namespace
}  // namespace walferry
