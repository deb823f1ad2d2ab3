#include "apply/state.h"

#include <thread>

#include "apply/position.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

std::vector<TableRecord> RecordsOf(const std::vector<TableName>& names) {
  std::vector<TableRecord> records;
  for (const TableName& name : names) records.emplace_back().table = name;
  return records;
}

using ::testing::HasSubstr;

MigrationRecord Sample(const std::string& name) {
  MigrationRecord record;
  record.name = name;
  record.phase = Phase::kCopy;
  record.system_id = "7412345678901234567";
  record.timeline = 3;
  record.source_database = "shop";
  record.slot = "a_slot";
  record.publication = "a publication";
  record.owns_slot = true;
  record.copies_schema = true;
  record.lanes = 4;
  record.slot_lsn = Lsn{0x16B374D848};
  record.copy_lsn = Lsn{0x16B374D849};
  return record;
}

class State : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(EnsureStateSchema(target()).ok()); }
  Connection& target() { return pair_.target(); }
  void Insert(const std::string& name) { ASSERT_TRUE(InsertMigration(target(), Sample(name)).ok()); }

  DatabasePair pair_;
};

TEST_F(State, PhaseNamesAreReadBack) {
  for (int i = 0; i <= static_cast<int>(Phase::kDone); ++i) {
    const auto phase = static_cast<Phase>(i);
    EXPECT_EQ(ParsePhase(PhaseName(phase)).value(), phase);
  }
  EXPECT_EQ(PhaseName(Phase::kCatchUp), "catch-up");
  EXPECT_EQ(ParsePhase("flying").status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(State, MigrationIsReadBackAsWritten) {
  Insert("it's \"me\"");
  auto loaded = LoadMigration(target(), "it's \"me\"").value();
  ASSERT_TRUE(loaded.has_value());
  EXPECT_EQ(loaded->phase, Phase::kCopy);
  EXPECT_EQ(loaded->system_id, "7412345678901234567");
  EXPECT_EQ(loaded->timeline, 3);
  EXPECT_EQ(loaded->source_database, "shop");
  EXPECT_EQ(loaded->publication, "a publication");
  EXPECT_TRUE(loaded->owns_slot);
  EXPECT_FALSE(loaded->owns_publication);
  EXPECT_TRUE(loaded->copies_schema);
  EXPECT_EQ(loaded->lanes, 4);
  EXPECT_EQ(loaded->slot_lsn, Lsn{0x16B374D848});
  EXPECT_EQ(loaded->copy_lsn, Lsn{0x16B374D849});
  EXPECT_EQ(loaded->heartbeat_age_ms, -1);
  EXPECT_FALSE(LoadMigration(target(), "another").value().has_value());
}

TEST_F(State, UpdateLeavesConfirmedAlone) {
  Insert("m");
  ASSERT_TRUE(CommitFence(target(), "m", Lsn{500}).ok());
  MigrationRecord changed = Sample("m");
  changed.phase = Phase::kFollow;
  changed.owns_publication = true;
  ASSERT_TRUE(UpdateMigration(target(), changed).ok());
  auto loaded = LoadMigration(target(), "m").value();
  EXPECT_EQ(loaded->phase, Phase::kFollow);
  EXPECT_TRUE(loaded->owns_publication);
  EXPECT_EQ(loaded->confirmed, Lsn{500});
}

TEST_F(State, WritingAboutAMigrationThatIsGoneIsAnError) {
  EXPECT_EQ(UpdateMigration(target(), Sample("gone")).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(WriteHeartbeat(target(), "gone", "{}").status().code(), absl::StatusCode::kFailedPrecondition);
  TableRecord record;
  record.table = {"public", "t"};
  EXPECT_EQ(UpdateTable(target(), "gone", record).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(State, HeartbeatTellsOfARequestToStop) {
  Insert("m");
  EXPECT_FALSE(WriteHeartbeat(target(), "m", "{\"a\":1}").value());
  ASSERT_TRUE(RequestStop(target(), "m", true).ok());
  EXPECT_TRUE(WriteHeartbeat(target(), "m", "{\"a\":2}").value());
  auto loaded = LoadMigration(target(), "m").value();
  EXPECT_EQ(loaded->runtime, "{\"a\":2}");
  EXPECT_TRUE(loaded->stop_requested);
  EXPECT_GE(loaded->heartbeat_age_ms, 0);
  EXPECT_LT(loaded->heartbeat_age_ms, 60'000);
}

TEST_F(State, LaneMovesOnlyFromTheExpectedPosition) {
  Insert("m");
  ASSERT_TRUE(InitializeLanes(target(), "m", 2, Lsn{100}).ok());
  ASSERT_TRUE(InitializeLanes(target(), "m", 3, Lsn{200}).ok());
  EXPECT_EQ(LoadLanes(target(), "m").value(), (std::vector<Lsn>{Lsn{100}, Lsn{100}, Lsn{200}}));

  const std::string advance(kAdvanceSql);
  EXPECT_TRUE(target().Execute(advance, {"m", "1", "0/64", "0/6E", std::nullopt}).ok());
  const absl::Status moved = target().Execute(advance, {"m", "1", "0/64", "0/78", std::nullopt}).status();
  EXPECT_EQ(SqlstateOf(moved), kPositionMovedSqlstate);
  EXPECT_THAT(std::string(MessageOf(moved)), HasSubstr("lane 1 of migration \"m\" is at 0/6E, not at 0/64"));
  EXPECT_EQ(SqlstateOf(target().Execute(advance, {"m", "7", "0/64", "0/78", std::nullopt}).status()),
            kPositionMovedSqlstate);
  EXPECT_EQ(LoadLanes(target(), "m").value()[1], Lsn{0x6E});
}

TEST_F(State, LanesChangeInNumberOnlyWhereTheyAreLevel) {
  Insert("m");
  EXPECT_EQ(AgreeOnLanes(target(), "m", {.lanes = 2}).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(InitializeLanes(target(), "m", 1, Lsn{100}).ok());
  RunSql(target(), RecordDealingSql("m", {1, {"public", "t"}, {"id"}, false}));
  EXPECT_EQ(AgreeOnLanes(target(), "m", {.lanes = 3}).value(), (LaneTerms{.lanes = 3}));
  EXPECT_EQ(LoadLanes(target(), "m").value(), (std::vector<Lsn>{Lsn{100}, Lsn{100}, Lsn{100}}));
  EXPECT_EQ(LoadMigration(target(), "m").value()->lanes, 3);
  EXPECT_TRUE(LoadDealing(target(), "m").value().empty());
  EXPECT_EQ(AgreeOnLanes(target(), "m", {.lanes = 2, .binary = true}).value(), (LaneTerms{2, true}));
  EXPECT_EQ(LoadLanes(target(), "m").value().size(), 2U);

  RunSql(target(), "select walferry.advance('m', 1, '0/64', '0/6E', NULL)");
  RunSql(target(), RecordDealingSql("m", {1, {"public", "t"}, {"id"}, false}));
  EXPECT_EQ(AgreeOnLanes(target(), "m", {.lanes = 5, .binary = true}).value(), (LaneTerms{2, false}));
  EXPECT_EQ(LoadLanes(target(), "m").value(), (std::vector<Lsn>{Lsn{100}, Lsn{110}}));
  EXPECT_EQ(LoadMigration(target(), "m").value()->lanes, 2);
  EXPECT_EQ(LoadDealing(target(), "m").value().size(), 1U);
}

TEST_F(State, DealingIsReadAsItWasRecorded) {
  Insert("m");
  const std::vector<DealtTable> dealt = {
      {1, {"a b", "it's \"odd\""}, {"Id", "x'y", "{,}"}, true},
      {2, {"public", "one_lane"}, {}, false},
      {4000000000, {"public", "t"}, {"b", "a"}, false},
  };
  for (const DealtTable& table : dealt) RunSql(target(), RecordDealingSql("m", table));
  EXPECT_EQ(LoadDealing(target(), "m").value(), dealt);
  // The newest counts.
  RunSql(target(), RecordDealingSql("m", {4000000000, {"public", "t"}, {}, true}));
  EXPECT_EQ(LoadDealing(target(), "m").value()[2], (DealtTable{4000000000, {"public", "t"}, {}, true}));
  EXPECT_TRUE(LoadDealing(target(), "other").value().empty());
  ASSERT_TRUE(ClearDealing(target(), "m").ok());
  EXPECT_TRUE(LoadDealing(target(), "m").value().empty());
}

TEST_F(State, SecondWriterWaitsForTheFirstAndThenLoses) {
  Insert("m");
  ASSERT_TRUE(InitializeLanes(target(), "m", 1, Lsn{100}).ok());
  Connection first = MustConnect(pair_.target_conninfo());
  RunSql(first, "begin");
  RunSql(first, "select walferry.advance('m', 0, '0/64', '0/6E', NULL)");
  absl::Status second_status;
  std::thread second([&] {
    Connection connection = MustConnect(pair_.target_conninfo());
    second_status = connection.Execute("select walferry.advance('m', 0, '0/64', '0/78', NULL)").status();
  });
  EXPECT_TRUE(WaitUntil([&] {
    return QueryText(target(),
                     "select count(*) from pg_locks l join pg_database d on d.datname = current_database() "
                     "join pg_stat_activity a on a.pid = l.pid and a.datid = d.oid where not granted") == "1";
  }));
  RunSql(first, "commit");
  second.join();
  EXPECT_EQ(SqlstateOf(second_status), kPositionMovedSqlstate);
}

TEST_F(State, LockIsHeldByOneSessionAndGoesWithIt) {
  std::optional<Connection> holder = MustConnect(pair_.target_conninfo());
  EXPECT_FALSE(MigrationIsLocked(target(), "m").value());
  EXPECT_TRUE(TryLockMigration(*holder, "m").value());
  EXPECT_FALSE(TryLockMigration(target(), "m").value());
  EXPECT_TRUE(MigrationIsLocked(target(), "m").value());
  EXPECT_TRUE(TryLockMigration(target(), "another").value());
  holder.reset();
  EXPECT_TRUE(WaitUntil([&] { return !MigrationIsLocked(target(), "m").value(); }));
}

TEST_F(State, TablesKeepPhasePositionAndCounters) {
  Insert("m");
  std::vector<TableName> names;
  for (int i = 0; i < 4500; ++i) names.push_back({"public", absl::StrFormat("T %04d'\"", i)});
  ASSERT_TRUE(AddTables(target(), "m", RecordsOf(names)).ok());
  ASSERT_TRUE(AddTables(target(), "m", RecordsOf({names[7]})).ok());
  TableRecord record;
  record.table = names[7];
  record.phase = TablePhase::kCopied;
  record.position = Lsn{77};
  record.rows = 5;
  record.bytes = 6;
  ASSERT_TRUE(UpdateTable(target(), "m", record).ok());
  const TableCounters counted{.inserts = 1,
                              .updates = 2,
                              .deletes = 3,
                              .truncates = 4,
                              .missing_rows = 5,
                              .conflicts = 6,
                              .one_by_one = 7};
  ASSERT_TRUE(AddCounters(target(), "m", {{names[7], counted}, {names[8], counted}}).ok());
  ASSERT_TRUE(AddCounters(target(), "m", {{names[7], counted}}).ok());
  ASSERT_TRUE(AddCounters(target(), "m", {}).ok());

  const std::vector<TableRecord> tables = LoadTables(target(), "m").value();
  ASSERT_EQ(tables.size(), 4500U);
  EXPECT_EQ(tables[7].table, names[7]);
  EXPECT_EQ(tables[7].phase, TablePhase::kCopied);
  EXPECT_EQ(tables[7].position, Lsn{77});
  EXPECT_EQ(tables[7].rows, 5);
  EXPECT_EQ(tables[7].bytes, 6);
  TableCounters twice = counted;
  twice += counted;
  EXPECT_EQ(tables[7].counters, twice);
  EXPECT_EQ(tables[8].counters, counted);
  EXPECT_EQ(tables[9].phase, TablePhase::kWaiting);
}

TEST_F(State, TablesCopiedWholeAreDoneOnceAndTogether) {
  Insert("m");
  const TableName a{"public", "a"};
  const TableName b{"public", "b"};
  ASSERT_TRUE(AddTables(target(), "m", RecordsOf({a, b})).ok());
  ASSERT_TRUE(BeginTableCopy(target(), "m", b, Lsn{50}).ok());
  EXPECT_FALSE(TableIsCopied(target(), "m", b).value());
  ASSERT_TRUE(FinishTables(target(), "m", Lsn{100}, {{a, 1, 10}, {b, 2, 20}}).ok());
  EXPECT_TRUE(TableIsCopied(target(), "m", b).value());
  const TableRecord record = LoadTables(target(), "m").value()[1];
  EXPECT_EQ(record.phase, TablePhase::kCopied);
  EXPECT_EQ(record.position, Lsn{100});
  EXPECT_EQ(record.rows, 2);
  EXPECT_EQ(record.bytes, 20);
  EXPECT_EQ(FinishTables(target(), "m", Lsn{100}, {{a, 1, 10}}).code(), absl::StatusCode::kAborted);
}

TEST_F(State, RangesOfACopyAreDoneOnceAndTheLastOneMakesTheTableCopied) {
  Insert("m");
  const TableName table{"public", "t"};
  ASSERT_TRUE(AddTables(target(), "m", RecordsOf({table})).ok());
  ASSERT_TRUE(BeginTableCopy(target(), "m", table, Lsn{100}).ok());
  EXPECT_TRUE(FinishCopyRange(target(), "m", table, Lsn{100}, {1, 2, 10, 100}).ok());
  EXPECT_EQ(FinishCopyRange(target(), "m", table, Lsn{100}, {1, 2, 10, 100}).code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(FinishCopyRange(target(), "m", table, Lsn{99}, {0, 2, 10, 100}).code(),
            absl::StatusCode::kAborted);
  EXPECT_TRUE(CopyRangeIsDone(target(), "m", table, 1).value());
  EXPECT_FALSE(CopyRangeIsDone(target(), "m", table, 0).value());
  EXPECT_EQ(LoadTables(target(), "m").value()[0].phase, TablePhase::kCopying);
  EXPECT_TRUE(FinishCopyRange(target(), "m", table, Lsn{100}, {0, 2, 5, 50}).ok());
  const TableRecord record = LoadTables(target(), "m").value()[0];
  EXPECT_EQ(record.phase, TablePhase::kCopied);
  EXPECT_EQ(record.position, Lsn{100});
  EXPECT_EQ(record.rows, 15);
  EXPECT_EQ(record.bytes, 150);
  EXPECT_EQ(FinishCopyRange(target(), "m", table, Lsn{100}, {2, 2, 5, 50}).code(),
            absl::StatusCode::kAborted);
}

TEST_F(State, ObjectsAndEventsAreReadBackInOrder) {
  Insert("m");
  std::vector<SchemaObject> objects;
  for (int i = 1; i <= 2100; ++i) {
    objects.push_back(
        {.id = i, .stage = ObjectStage::kForeignKey, .kind = "FK", .name = "n", .sql = "select '$1';"});
  }
  ASSERT_TRUE(InsertObjects(target(), "m", objects).ok());
  ASSERT_TRUE(MarkObjectDone(target(), "m", 2).ok());
  EXPECT_TRUE(ObjectIsDone(target(), "m", 2).value());
  EXPECT_FALSE(ObjectIsDone(target(), "m", 3).value());
  const std::vector<SchemaObject> loaded = LoadObjects(target(), "m").value();
  ASSERT_EQ(loaded.size(), 2100U);
  EXPECT_EQ(loaded[1].id, 2);
  EXPECT_TRUE(loaded[1].done);
  EXPECT_EQ(loaded[1].stage, ObjectStage::kForeignKey);
  EXPECT_EQ(loaded[2].sql, "select '$1';");

  for (const char* detail : {"one", "two", "three"})
    ASSERT_TRUE(AddEvent(target(), "m", "note", detail).ok());
  const std::vector<EventRecord> events = LoadEvents(target(), "m", 2).value();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].detail, "two");
  EXPECT_EQ(events[1].detail, "three");
  EXPECT_THAT(events[1].at, ::testing::MatchesRegex("20..-..-..T..:..:..\\....Z"));
}

TEST_F(State, SchemaGoesWithTheLastMigration) {
  Insert("a");
  Insert("b");
  ASSERT_TRUE(AddTables(target(), "a", RecordsOf({{"public", "t"}})).ok());
  ASSERT_TRUE(InitializeLanes(target(), "a", 1, Lsn{1}).ok());
  ASSERT_TRUE(DeleteMigration(target(), "a").ok());
  EXPECT_TRUE(StateSchemaExists(target()).value());
  EXPECT_EQ(
      QueryText(target(),
                "select (select count(*) from walferry.lane) + (select count(*) from walferry.table_state)"),
      "0");
  ASSERT_TRUE(DeleteMigration(target(), "b").ok());
  EXPECT_FALSE(StateSchemaExists(target()).value());
  EXPECT_EQ(QueryText(target(), "select count(*) from pg_namespace where nspname = 'walferry'"), "0");
}

TEST_F(State, WhatOthersPutIntoTheSchemaIsNotDropped) {
  RunSql(target(), "create table walferry.mine (a int)");
  Insert("a");
  ASSERT_TRUE(DeleteMigration(target(), "a").ok());
  EXPECT_FALSE(StateSchemaExists(target()).value());
  EXPECT_EQ(QueryText(target(), "select count(*) from walferry.mine"), "0");
}

TEST_F(State, StateOfAnotherFormatIsRefused) {
  RunSql(target(), "comment on table walferry.migration is 'walferry state, format 99'");
  EXPECT_EQ(EnsureStateSchema(target()).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(StateSchemaExists(target()).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(StateSchema, ManyThatStartAtOnceAllFindItMade) {
  DatabasePair pair;
  std::vector<std::thread> threads;
  std::vector<absl::Status> statuses(8);
  for (absl::Status& status : statuses) {
    threads.emplace_back([&pair, &status] {
      Connection connection = MustConnect(pair.target_conninfo());
      status = EnsureStateSchema(connection);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(EnsureStateSchema(pair.target()).ok());
}

TEST(StateSchema, RoleWithoutCreateIsToldWhatToGrant) {
  DatabasePair pair;
  const std::string role = pair.name() + "_weak";
  RunSql(pair.target(), "create role " + role + " login");
  {
    Connection weak = MustConnect(pair.target_conninfo() + " user=" + role);
    const absl::Status status = EnsureStateSchema(weak);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(MessageOf(status)),
                HasSubstr("GRANT CREATE ON DATABASE \"" + pair.name() + "\" TO \"" + role + "\";"));
    EXPECT_FALSE(StateSchemaExists(weak).value());
    // An administrator may make the schema instead.
    RunSql(pair.target(), "create schema walferry authorization " + role);
    EXPECT_TRUE(EnsureStateSchema(weak).ok());
    EXPECT_TRUE(InsertMigration(weak, Sample("m")).ok());
    EXPECT_TRUE(DeleteMigration(weak, "m").ok());
  }
  RunSql(pair.target(), "drop owned by " + role + "; drop role " + role);
}

TEST(StateSchema, ReadersNeedReadAccessOnly) {
  DatabasePair pair;
  ASSERT_TRUE(EnsureStateSchema(pair.target()).ok());
  ASSERT_TRUE(InsertMigration(pair.target(), Sample("m")).ok());
  const std::string role = pair.name() + "_reader";
  RunSql(pair.target(), "create role " + role + " login");
  RunSql(pair.target(), "grant usage on schema walferry to " + role);
  RunSql(pair.target(), "grant select on all tables in schema walferry to " + role);
  {
    Connection reader = MustConnect(pair.target_conninfo() + " user=" + role);
    EXPECT_TRUE(StateSchemaExists(reader).value());
    EXPECT_TRUE(LoadMigration(reader, "m").value().has_value());
    EXPECT_TRUE(LoadTables(reader, "m").ok());
    EXPECT_TRUE(LoadLanes(reader, "m").ok());
    EXPECT_TRUE(LoadEvents(reader, "m", 10).ok());
    EXPECT_FALSE(MigrationIsLocked(reader, "m").value());
  }
  RunSql(pair.target(), "drop owned by " + role + "; drop role " + role);
}

}  // namespace
}  // namespace walferry
