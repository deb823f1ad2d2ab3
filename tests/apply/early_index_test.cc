#include "apply/early_index.h"

#include <memory>

#include "gtest/gtest.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

class EarlyIndex : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(EnsureStateSchema(pair_.target()).ok());
    MigrationRecord record;
    record.name = "m";
    ASSERT_TRUE(InsertMigration(pair_.target(), record).ok());
    pair_.RunOnTarget(
        "create table a (id int not null, v int); create table \"B b\" (id int not null, v int)");
    Insert({Object(1, "CONSTRAINT", "ALTER TABLE ONLY public.a\n    ADD CONSTRAINT a_pkey PRIMARY KEY (id);"),
            Object(2, "CONSTRAINT", "ALTER TABLE ONLY public.\"B b\"\n    ADD CONSTRAINT b_key UNIQUE (id);"),
            Object(3, "INDEX", "CREATE INDEX a_v ON public.a USING btree (v);"),
            Object(4, "INDEX", "CREATE UNIQUE INDEX a_both ON public.a USING btree (id, v);"),
            Object(5, "INDEX", "CREATE INDEX b_v ON public.\"B b\" USING btree (v);")});
  }

  static SchemaObject Object(std::int64_t id, const std::string& kind, const std::string& sql) {
    SchemaObject object;
    object.id = id;
    object.kind = kind;
    object.name = "object " + std::to_string(id);
    object.sql = sql;
    return object;
  }

  void Insert(const std::vector<SchemaObject>& objects) {
    ASSERT_TRUE(InsertObjects(pair_.target(), "m", objects).ok());
  }

  void Begin(int jobs) {
    indexes_ = std::make_unique<EarlyIndexes>(pair_.target_conninfo(), "m",
                                              LoadObjects(pair_.target(), "m").value(), jobs, nullptr);
  }

  static TableRecord Copied(const std::string& name, std::int64_t bytes) {
    TableRecord record;
    record.table = {"public", name};
    record.phase = TablePhase::kCopied;
    record.bytes = bytes;
    return record;
  }

  std::string Done() {
    return QueryText(pair_.target(),
                     "select string_agg(id::text, ',' order by id) from walferry.schema_object where done");
  }

  std::string Waiting() {
    return QueryText(pair_.target(),
                     "select count(*) from pg_stat_activity where datname = current_database() and "
                     "wait_event_type = 'Lock'");
  }

  std::unique_ptr<Connection> HoldA() {
    auto holder = std::make_unique<Connection>(MustConnect(pair_.target_conninfo()));
    RunSql(*holder, "begin; lock table a in row exclusive mode");
    return holder;
  }

  DatabasePair pair_;
  StopSignal stop_;
  std::unique_ptr<EarlyIndexes> indexes_;
};

TEST_F(EarlyIndex, OnlyThoseOfTablesThatWereHandedOverAreMade) {
  Begin(2);
  indexes_->Add(Copied("B b", 10));
  indexes_->Add(Copied("unknown", 10));
  EXPECT_TRUE(WaitUntil([&] { return Done() == "2,5"; }));
  ASSERT_TRUE(indexes_->Finish(stop_).ok());
  EXPECT_EQ(Done(), "2,5");
  EXPECT_EQ(QueryText(pair_.target(),
                      "select string_agg(indexname, ',' order by indexname) from pg_indexes "
                      "where schemaname = 'public'"),
            "b_key,b_v");
}

TEST_F(EarlyIndex, NoBuildWaitsForAnotherOneOfItsTable) {
  Begin(3);
  auto holder = HoldA();
  indexes_->Add(Copied("a", 1000));
  indexes_->Add(Copied("B b", 10));
  EXPECT_TRUE(WaitUntil([&] { return Done() == "2,5"; }));
  EXPECT_TRUE(WaitUntil([&] { return Waiting() == "1"; }));
  RunSql(*holder, "commit");
  ASSERT_TRUE(indexes_->Finish(stop_).ok());
  EXPECT_EQ(Done(), "1,2,3,4,5");
}

TEST_F(EarlyIndex, StopAndDestructionCancelWhatIsUnderWay) {
  for (const bool by_stop : {true, false}) {
    Begin(1);
    auto holder = HoldA();
    indexes_->Add(Copied("a", 1000));
    EXPECT_TRUE(WaitUntil([&] { return Waiting() == "1"; }));
    if (by_stop) {
      stop_.Request();
      EXPECT_EQ(indexes_->Finish(stop_).code(), absl::StatusCode::kCancelled);
    }
    indexes_.reset();
    EXPECT_EQ(Waiting(), "0");
    EXPECT_EQ(Done(), "NULL");
  }
}

TEST_F(EarlyIndex, WhatCannotBeMadeIsLeftToWhoComesAfter) {
  pair_.RunOnTarget("insert into a values (1, 1), (1, 2)");
  Begin(2);
  indexes_->Add(Copied("a", 1000));
  ASSERT_TRUE(indexes_->Finish(stop_).ok());
  EXPECT_EQ(Done(), "3,4");
  const absl::Status status =
      CreateObjects(pair_.target_conninfo(), "m", ObjectStage::kIndex, 2, stop_, nullptr);
  EXPECT_EQ(SqlstateOf(status), "23505") << status;
  pair_.RunOnTarget("delete from a where v = 2");
  ASSERT_TRUE(CreateObjects(pair_.target_conninfo(), "m", ObjectStage::kIndex, 2, stop_, nullptr).ok());
  EXPECT_EQ(Done(), "1,2,3,4,5");
}

}  // namespace
}  // namespace walferry
