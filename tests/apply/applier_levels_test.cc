// Lanes that stand at different positions: how they get there, and how they go on from there.
#include <algorithm>
#include <random>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "tests/apply/apply_stream.h"

namespace walferry {
namespace {

using ::testing::HasSubstr;

class ApplierLevels : public ApplyTest, public ::testing::WithParamInterface<int> {
 protected:
  ApplierOptions Several() const {
    ApplierOptions options = Options();
    options.lanes = GetParam();
    return options;
  }

  // Not idempotent: a change that is applied twice, or not at all, shows.
  void MakeTables() {
    pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0); CREATE TABLE log (n int)");
    BeginMigration();
    pair_.RunOnSource("INSERT INTO t SELECT i FROM generate_series(1, 60) i");
    pair_.RunOnSource("INSERT INTO log VALUES (0)");
  }

  bool Level() {
    const std::vector<Lsn> positions = LanePositions();
    return std::count(positions.begin(), positions.end(), positions.front()) ==
           static_cast<std::ptrdiff_t>(positions.size());
  }
  bool AwaitEqual() {
    return WaitUntil([&] { return TableContents(pair_.source()) == TableContents(pair_.target()); });
  }

  // Ends a run in which the lane that has row 1 was held up while the others went on.
  void LeaveLanesApart(bool binary = false) {
    RunningStream stream(pair_, Several(), std::nullopt, binary);
    ASSERT_TRUE(stream.started().ok()) << stream.started();
    // What is met for the first time, one lane does for all.
    pair_.RunOnSource("UPDATE t SET n = n + 1");
    pair_.RunOnSource("INSERT INTO log VALUES (-1)");
    ASSERT_TRUE(AwaitEqual());
    Connection holder = MustConnect(pair_.target_conninfo());
    RunSql(holder, "BEGIN; SELECT FROM t WHERE id = 1 FOR UPDATE");
    for (int i = 0; i < 40; ++i) {
      pair_.RunOnSource(
          absl::StrFormat("UPDATE t SET n = n + 1 WHERE id %% 3 = 1; INSERT INTO log VALUES (%d)", i));
    }
    const Lsn end = SourceEnd();
    // The others have passed by nearly all of it.
    EXPECT_TRUE(WaitUntil([&] {
      const std::vector<Lsn> positions = LanePositions();
      return std::count_if(positions.begin(), positions.end(),
                           [&](Lsn at) { return at.value + 2000 > end.value; }) == GetParam() - 1;
    }));
    stream.Kill();
    // What a lane has sent ahead is still before its backend.
    ASSERT_TRUE(WaitUntil([&] {
      return Target(
                 "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = "
                 "current_database() AND application_name LIKE 'applier%'") == "0";
    }));
    RunSql(holder, "COMMIT");
    EXPECT_FALSE(Level());
  }

  void Continue(ApplierOptions options, bool binary = false) {
    pair_.RunOnSource("UPDATE t SET n = n + 1; INSERT INTO log VALUES (99)");
    const absl::Status status = CatchUp(std::move(options), binary);
    EXPECT_TRUE(status.ok()) << status;
    ExpectEqualContent(pair_);
    EXPECT_EQ(CountersOf(counters_, "t").missing_rows, 0);
  }

  std::string Said(ApplierEvent::Kind kind) const {
    for (const ApplierEvent& event : events_) {
      if (event.kind == kind) return event.text;
    }
    return {};
  }
};

INSTANTIATE_TEST_SUITE_P(Lanes, ApplierLevels, ::testing::Values(2, 5));

TEST_P(ApplierLevels, EachLaneGoesOnFromWhereItWas) {
  MakeTables();
  for (int i = 0; i < 3; ++i) {
    LeaveLanesApart();
    Continue(Several());
    EXPECT_TRUE(Level());
  }
}

TEST_P(ApplierLevels, TheNumberOfLanesChangesOnlyWhereTheyAreLevel) {
  MakeTables();
  LeaveLanesApart();
  ApplierOptions other = Several();
  other.lanes = 3;
  Continue(other);
  EXPECT_EQ(LanePositions().size(), static_cast<std::size_t>(GetParam()));
  EXPECT_THAT(Said(ApplierEvent::Kind::kLanes), HasSubstr(absl::StrFormat("%d lanes", GetParam())));
  ASSERT_TRUE(Level());
  for (const int lanes : {3, 1, 4}) {
    other.lanes = lanes;
    Continue(other);
    EXPECT_EQ(LanePositions().size(), static_cast<std::size_t>(lanes));
    EXPECT_EQ(Target("SELECT lanes FROM walferry.migration"), std::to_string(lanes));
    EXPECT_EQ(Said(ApplierEvent::Kind::kLanes), "");
  }
}

TEST_P(ApplierLevels, TheKindOfValuesIsAsBeforeUntilTheyAreLevel) {
  MakeTables();
  LeaveLanesApart();
  Continue(Several(), true);
  EXPECT_THAT(Said(ApplierEvent::Kind::kLanes), HasSubstr("text values"));
  Continue(Several(), true);
  EXPECT_EQ(Said(ApplierEvent::Kind::kLanes), "");
  LeaveLanesApart(true);
  Continue(Several(), false);
  EXPECT_THAT(Said(ApplierEvent::Kind::kLanes), HasSubstr("binary values"));
}

TEST_P(ApplierLevels, WhatIsNotKnownAboutLanesApartIsNotGuessed) {
  MakeTables();
  LeaveLanesApart();
  pair_.RunOnTarget("DELETE FROM walferry.dealing");
  const absl::Status status = CatchUp(Several());
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("was dealt to the lanes"));
}

TEST_P(ApplierLevels, TheEndOfARunBringsThemToTheSamePosition) {
  MakeTables();
  RunningStream stream(pair_, Several(), std::nullopt);
  ASSERT_TRUE(AwaitEqual());
  Connection holder = MustConnect(pair_.target_conninfo());
  RunSql(holder, "BEGIN; SELECT FROM t WHERE id = 1 FOR UPDATE");
  for (int i = 0; i < 40; ++i) pair_.RunOnSource("UPDATE t SET n = n + 1");
  const std::string waiting =
      "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
      "application_name = 'applier_" +
      pair_.name() + "'";
  ASSERT_TRUE(WaitUntil([&] { return Target(waiting) == "1" && !Level(); }));
  std::thread end([&] {
    const absl::Status status = stream.End();
    EXPECT_TRUE(status.ok()) << status;
  });
  RunSql(holder, "COMMIT");
  end.join();
  EXPECT_TRUE(Level());
}

TEST_P(ApplierLevels, BackendsThatAreEndedOneByOneLoseAndRepeatNothing) {
  MakeTables();
  pair_.RunOnBoth("CREATE TABLE keys (id int PRIMARY KEY, n int DEFAULT 0)");
  pair_.RunOnSource("INSERT INTO keys SELECT i FROM generate_series(1, 30) i");
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(absl::StrFormat("seed %d", seed));
  std::mt19937 random(seed);
  ApplierOptions options = Several();
  options.batch_bytes = 3000;
  RunningStream stream(pair_, options, std::nullopt);
  const std::string end_one =
      "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE "
      "application_name = 'applier_" +
      pair_.name() + "' ORDER BY random() LIMIT 1) one";
  int ended = 0;
  for (int i = 0; i < 300; ++i) {
    pair_.RunOnSource(
        absl::StrFormat("UPDATE t SET n = n + 1 WHERE id %% 4 = %d; INSERT INTO log VALUES (%d)",
                        static_cast<int>(random() % 4), i));
    if (random() % 6 == 0) {
      const auto from = static_cast<int>(random() % 40);
      pair_.RunOnSource(
          absl::StrFormat("UPDATE keys SET id = id + 40, n = n + 1 WHERE id = %d; "
                          "UPDATE keys SET id = id - 40 WHERE id = %d",
                          from, from + 41));
    }
    if (random() % 50 == 0) pair_.RunOnSource("TRUNCATE log");
    if (random() % 10 == 0) ended += std::stoi(Target(end_one));
  }
  EXPECT_GT(ended, 0);
  EXPECT_TRUE(AwaitEqual());
  const absl::Status status = stream.End();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(CountersOf(stream.applier().counters(), "t").missing_rows, 0);
  EXPECT_EQ(CountersOf(stream.applier().counters(), "keys").missing_rows, 0);
}

TEST_P(ApplierLevels, KilledAgainAndAgain) {
  MakeTables();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(absl::StrFormat("seed %d", seed));
  std::mt19937 random(seed);
  for (int i = 0; i < 15; ++i) {
    for (int j = 0; j < 30; ++j) {
      pair_.RunOnSource(
          absl::StrFormat("UPDATE t SET n = n + 1 WHERE id %% 4 = %d; INSERT INTO log VALUES (%d)",
                          static_cast<int>(random() % 4), j));
      if (random() % 20 == 0) pair_.RunOnSource("UPDATE t SET id = 1000 - id WHERE id > 940 OR id < 5");
      if (random() % 60 == 0) pair_.RunOnSource("TRUNCATE log");
    }
    ApplierOptions options = Several();
    options.batch_bytes = 1000 + random() % 3000;
    RunningStream stream(pair_, options, std::nullopt);
    ASSERT_TRUE(stream.started().ok()) << stream.started();
    const Lsn before = LanePosition();
    WaitUntil([&] { return LanePosition() > before; });
    const absl::Time until = absl::Now() + absl::Microseconds(random() % 30000);
    WaitUntil([&] { return absl::Now() > until; });
    stream.Kill();
  }
  Continue(Several());
}

}  // namespace
}  // namespace walferry
