// Changes to net effects, without a server.
#include "apply/net_changes.h"

#include <deque>

#include "gtest/gtest.h"
#include "tests/apply/hand_made_stream.h"

namespace walferry {
namespace {

// Table (id key, a, b); rows are written "1 x -": '-' is an unchanged TOAST value, '~' NULL.
class NetChangesTest : public ::testing::Test {
 protected:
  NetChangesTest() {
    relation_ = {.id = 1,
                 .schema = "s",
                 .name = "t",
                 .replica_identity = ReplicaIdentity::kDefault,
                 .columns = {{"id", 23, -1, true}, {"a", 25, -1, false}, {"b", 25, -1, false}}};
    table_ = HandMadeTable(relation_);
  }

  struct Facts {
    std::vector<std::size_t> key = {0};
    int constraining_indexes = 1;
    SourceNotes notes = {};
  };
  MappedTable Mapped(const Facts& facts) const {
    MappedTable mapped = HandMadeTable(relation_);
    MappedTable table;
    table.relation = &relation_;
    table.in_scope = true;
    table.target = mapped.target;
    table.target.keys = {{.primary = true, .columns = facts.key}};
    table.target.constraining_indexes = facts.constraining_indexes;
    table.source = facts.notes;
    EXPECT_TRUE(MapColumns(relation_, table).ok());
    return table;
  }

  static WrittenRow Row(const std::string& text) {
    WrittenRow row;
    std::size_t at = 0;
    while (at <= text.size()) {
      const std::size_t end = std::min(text.find(' ', at), text.size());
      const std::string word = text.substr(at, end - at);
      at = end + 1;
      row.push_back(word == "-" ? UnchangedToastColumn() : word == "~" ? NullColumn() : TextColumn(word));
    }
    return row;
  }

  Event Change(EventKind kind, const std::string& old_row, const std::string& new_row,
               OldTuple old_kind = OldTuple::kKey) {
    Event event;
    event.kind = kind;
    event.relation = &relation_;
    if (!old_row.empty()) {
      event.old_kind = old_kind;
      event.old_tuple = tuples_.emplace_back(Row(old_row)).view();
    }
    if (!new_row.empty()) event.new_tuple = tuples_.emplace_back(Row(new_row)).view();
    return event;
  }

  // "i 1 x y" inserts, "u 1 x -" updates, "d 1" deletes. True where all were taken.
  bool Take(const std::vector<std::string>& changes) {
    for (const std::string& change : changes) {
      const std::string row = change.substr(2);
      const Event event = change[0] == 'i'   ? Change(EventKind::kInsert, "", row)
                          : change[0] == 'u' ? Change(EventKind::kUpdate, "", row)
                                             : Change(EventKind::kDelete, row + " ~ ~", "");
      if (!net_->Take(event)) return false;
    }
    return true;
  }

  std::string Describe() const {
    std::string all;
    for (const NetChanges::Row& row : net_->rows()) {
      if (!all.empty()) all += "; ";
      switch (row.effect) {
        case NetChanges::Row::Effect::kNothing:
          all += "nothing " + std::string(row.key);
          continue;
        case NetChanges::Row::Effect::kInsert:
          all += row.existed ? "replace" : "insert";
          break;
        case NetChanges::Row::Effect::kUpdate:
          all += row.partial ? "update in part" : "update";
          break;
        case NetChanges::Row::Effect::kDelete:
          all += "delete " + std::string(row.key);
          continue;
      }
      net_->ForEachColumn(row, [&](std::size_t, const ColumnView& column) {
        all += ' ';
        all += column.kind == ColumnKind::kUnchangedToast ? "-"
               : column.kind == ColumnKind::kNull         ? "~"
                                                          : std::string(column.value);
      });
    }
    return all;
  }

  std::string Net(const std::vector<std::string>& changes) {
    net_.emplace(table_);
    return Take(changes) ? Describe() : "in order";
  }

  Relation relation_;
  MappedTable table_;
  std::optional<NetChanges> net_;
  std::deque<HandMadeTuple> tuples_;
};

TEST_F(NetChangesTest, TheRowKeyIsTheIdentityWhereBytesDecide) {
  EXPECT_EQ(table_.row_key, std::vector<std::size_t>{0});
  MappedTable other = table_;
  other.target.columns[0].equal_is_identical = false;
  other.row_key.clear();
  other.keys.clear();
  other.identity.clear();
  ASSERT_TRUE(MapColumns(relation_, other).ok());
  EXPECT_TRUE(other.row_key.empty());
}

TEST_F(NetChangesTest, RowsGoToLanesByTheTargetsKeyWithinTheIdentity) {
  EXPECT_EQ(table_.lane_key, std::vector<std::size_t>{0});
  relation_.columns[1].is_key = true;
  MappedTable wider = HandMadeTable(relation_);
  EXPECT_EQ(wider.row_key, (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(wider.lane_key, std::vector<std::size_t>{0});
  wider = Mapped({.constraining_indexes = 2});
  EXPECT_EQ(wider.row_key, (std::vector<std::size_t>{0, 1}));
  EXPECT_TRUE(wider.lane_key.empty());
}

TEST_F(NetChangesTest, WithoutAWholeIdentityThereIsNoRowKey) {
  EXPECT_TRUE(Mapped({.notes = {.generated = {}, .unpublished_identity = "x"}}).row_key.empty());
  relation_.columns[1].is_key = true;
  EXPECT_TRUE(Mapped({.key = {0, 2}}).row_key.empty());
}

// Two rows of the identity that are one row of the target's key, one after the other.
TEST_F(NetChangesTest, AnIdentityThatIsWiderThanTheTargetsKeyTellsTheRowsApart) {
  relation_.columns[1].is_key = true;
  table_ = HandMadeTable(relation_);
  net_.emplace(table_);
  EXPECT_TRUE(net_->Take(Change(EventKind::kDelete, "1 x ~", "")));
  EXPECT_TRUE(net_->Take(Change(EventKind::kInsert, "", "1 y p")));
  EXPECT_FALSE(net_->Take(Change(EventKind::kUpdate, "1 y ~", "1 z p")));
  EXPECT_EQ(net_->rows().size(), 2U);
  EXPECT_EQ(net_->rows().front().effect, NetChanges::Row::Effect::kDelete);
  EXPECT_EQ(net_->rows().back().effect, NetChanges::Row::Effect::kInsert);
}

TEST_F(NetChangesTest, UpdatesOfAnInsertedRowAreItsValues) {
  EXPECT_EQ(Net({"i 1 x y", "u 1 z y", "u 1 z ~"}), "insert 1 z ~");
}

TEST_F(NetChangesTest, InsertAndDeleteAreNothing) {
  EXPECT_EQ(Net({"i 1 x y", "u 1 z y", "d 1"}), "nothing 1");
  EXPECT_EQ(Net({"i 1 x y", "d 1", "i 1 p q"}), "insert 1 p q");
}

TEST_F(NetChangesTest, DeleteAndInsertReplaceTheRow) {
  EXPECT_EQ(Net({"d 1", "i 1 x y"}), "replace 1 x y");
  EXPECT_EQ(Net({"d 1", "i 1 x y", "u 1 - z"}), "replace 1 x z");
  EXPECT_EQ(Net({"d 1", "i 1 x y", "d 1"}), "delete 1");
  EXPECT_EQ(Net({"d 1", "i 1 x y", "d 1", "i 1 p q"}), "replace 1 p q");
}

TEST_F(NetChangesTest, UpdatesAreUnited) {
  EXPECT_EQ(Net({"u 1 x y", "u 1 z w"}), "update 1 z w");
  EXPECT_EQ(Net({"u 1 x y", "d 1"}), "delete 1");
}

TEST_F(NetChangesTest, UnchangedToastIsFilledFromEarlierValuesOrLeftOut) {
  EXPECT_EQ(Net({"u 1 x -"}), "update in part 1 x -");
  EXPECT_EQ(Net({"u 1 x -", "u 1 z -"}), "update in part 1 z -");
  EXPECT_EQ(Net({"u 1 x -", "u 1 - w"}), "update 1 x w");
  EXPECT_EQ(Net({"u 1 x y", "u 1 - w", "u 1 q -"}), "update 1 q w");
  EXPECT_EQ(Net({"u 1 x -", "u 1 a b"}), "update 1 a b");
  EXPECT_EQ(Net({"i 1 x y", "u 1 z -", "u 1 - -"}), "in order");
}

TEST_F(NetChangesTest, RowsKeepApart) {
  EXPECT_EQ(Net({"i 1 x y", "u 2 a b", "d 3", "u 1 z y"}), "insert 1 z y; update 2 a b; delete 3");
}

TEST_F(NetChangesTest, WhatDoesNotFitGoesInOrder) {
  EXPECT_EQ(Net({"i 1 x y", "i 1 x y"}), "in order");
  EXPECT_EQ(Net({"u 1 x y", "i 1 x y"}), "in order");
  EXPECT_EQ(Net({"d 1", "d 1"}), "in order");
  EXPECT_EQ(Net({"d 1", "u 1 x y"}), "in order");
  EXPECT_EQ(Net({"i 1 x y", "d 1", "u 1 x y"}), "in order");
  EXPECT_EQ(Net({"i 1 x -"}), "in order");
  EXPECT_EQ(Net({"i 1 x"}), "in order");
}

TEST_F(NetChangesTest, AChangedKeyGoesInOrder) {
  net_.emplace(table_);
  EXPECT_FALSE(net_->Take(Change(EventKind::kUpdate, "1 ~ ~", "2 x y")));
  EXPECT_TRUE(net_->Take(Change(EventKind::kUpdate, "2 p q", "2 x y", OldTuple::kFull)));
  EXPECT_EQ(Describe(), "update 2 x y");
}

TEST_F(NetChangesTest, BinaryAndTextOfOneColumnGoInOrder) {
  net_.emplace(table_);
  EXPECT_TRUE(Take({"i 1 x y"}));
  const HandMadeTuple mixed({TextColumn("2"), BinaryColumn("x"), TextColumn("y")});
  Event event;
  event.kind = EventKind::kInsert;
  event.relation = &relation_;
  event.new_tuple = mixed.view();
  EXPECT_FALSE(net_->Take(event));
}

}  // namespace
}  // namespace walferry
