#include "apply/last_stage.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kForeignKey[] =
    "ALTER TABLE ONLY app.\"c d; ADD CONSTRAINT\"\n    ADD CONSTRAINT \"k;\" FOREIGN KEY (p) REFERENCES "
    "app.p(id);";

TEST(ForeignKeySql, ComesNotValidAndIsValidatedLater) {
  EXPECT_EQ(
      WithNotValid(kForeignKey),
      "ALTER TABLE ONLY app.\"c d; ADD CONSTRAINT\"\n    ADD CONSTRAINT \"k;\" FOREIGN KEY (p) REFERENCES "
      "app.p(id) NOT VALID;");
  EXPECT_EQ(ValidationOf(kForeignKey), "ALTER TABLE app.\"c d; ADD CONSTRAINT\" VALIDATE CONSTRAINT \"k;\";");
}

TEST(ForeignKeySql, CommentAfterItStays) {
  const std::string sql =
      std::string(kForeignKey) + "\nCOMMENT ON CONSTRAINT \"k;\" ON app.c IS 'it''s; ok';";
  EXPECT_THAT(WithNotValid(sql), HasSubstr("app.p(id) NOT VALID;\nCOMMENT ON"));
}

TEST(ForeignKeySql, OfPartitionedTableOrNotValidByItselfStaysAsItIs) {
  for (const std::string sql :
       {"ALTER TABLE app.root\n    ADD CONSTRAINT k FOREIGN KEY (p) REFERENCES app.p(id);",
        "ALTER TABLE ONLY app.c\n    ADD CONSTRAINT k FOREIGN KEY (p) REFERENCES app.p(id) NOT VALID;"}) {
    EXPECT_EQ(WithNotValid(sql), sql);
    EXPECT_EQ(ValidationOf(sql), "");
  }
}

class LastStageOfTarget : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(EnsureStateSchema(pair_.target()).ok());
    MigrationRecord migration;
    migration.name = "m";
    ASSERT_TRUE(InsertMigration(pair_.target(), migration).ok());
    pair_.RunOnTarget(
        "create schema app; create table app.p (id int primary key); create table app.c (id int, p int);"
        "create function app.f() returns trigger language plpgsql as 'begin return new; end'");
    Add(ObjectStage::kForeignKey, "FK CONSTRAINT", "app.c k",
        "ALTER TABLE ONLY app.c\n    ADD CONSTRAINT k FOREIGN KEY (p) REFERENCES app.p(id);");
    Add(ObjectStage::kTrigger, "TRIGGER", "app.c t",
        "CREATE TRIGGER t AFTER INSERT ON app.c FOR EACH ROW EXECUTE FUNCTION app.f();");
    Add(ObjectStage::kTrigger, "POLICY", "app.c y", "CREATE POLICY y ON app.c USING (true);");
    Add(ObjectStage::kTrigger, "MATERIALIZED VIEW DATA", "app.mv", "REFRESH MATERIALIZED VIEW app.mv;");
    Add(ObjectStage::kTrigger, "EVENT TRIGGER", "e_" + pair_.name(), "CREATE EVENT TRIGGER …");
    ASSERT_TRUE(InsertObjects(pair_.target(), "m", objects_).ok());
  }
  void Add(ObjectStage stage, const std::string& kind, const std::string& name, const std::string& sql) {
    objects_.push_back({.id = static_cast<std::int64_t>(objects_.size()) + 1,
                        .stage = stage,
                        .kind = kind,
                        .name = name,
                        .sql = sql});
  }
  LastStage Plan() {
    return PlanLastStage(LoadObjects(pair_.target(), "m").value(),
                         ObjectCatalog::Read(pair_.target()).value());
  }
  static std::vector<std::string> NamesIn(const std::vector<SchemaObject>& objects) {
    std::vector<std::string> names;
    for (const SchemaObject& object : objects) names.push_back(object.name);
    return names;
  }
  DatabasePair pair_;
  std::vector<SchemaObject> objects_;
};

TEST_F(LastStageOfTarget, IsMadeInOneTransactionAndForeignKeysRemainToBeValidated) {
  const LastStage stage = Plan();
  EXPECT_THAT(NamesIn(stage.switching), ElementsAre("app.c k", "app.c t", "app.c y"));
  EXPECT_THAT(NamesIn(stage.validations), ElementsAre("app.c k"));
  EXPECT_THAT(NamesIn(stage.refreshes), ElementsAre("app.mv"));
  EXPECT_THAT(NamesIn(stage.event_triggers), ElementsAre("e_" + pair_.name()));
  pair_.RunOnTarget("insert into app.c values (1, 99)");  // In the way of a valid one.
  pair_.RunOnTarget("begin");
  const absl::Status made = MakeInTransaction(pair_.target(), "m", stage);
  ASSERT_TRUE(made.ok()) << made;
  pair_.RunOnTarget("commit");
  EXPECT_EQ(QueryText(pair_.target(), "select convalidated from pg_constraint where conname = 'k'"), "f");
  EXPECT_EQ(QueryText(pair_.target(),
                      "select string_agg(name, ',' order by id) from walferry.schema_object where done"),
            "app.c t,app.c y");
  const LastStage again = Plan();
  EXPECT_THAT(again.switching, IsEmpty());
  EXPECT_THAT(NamesIn(again.validations), ElementsAre("app.c k"));
}

TEST_F(LastStageOfTarget, CatalogDecidesAndNotTheMark) {
  pair_.RunOnTarget(
      "create policy y on app.c using (false); update walferry.schema_object set done = kind <> 'POLICY'");
  EXPECT_THAT(NamesIn(Plan().switching), ElementsAre("app.c k", "app.c t"));
}

TEST_F(LastStageOfTarget, FailureNamesTheObjectAndLeavesNothing) {
  pair_.RunOnTarget("drop function app.f()");
  pair_.RunOnTarget("begin");
  const absl::Status made = MakeInTransaction(pair_.target(), "m", Plan());
  EXPECT_EQ(SqlstateOf(made), "42883") << made;
  EXPECT_THAT(std::string(MessageOf(made)), HasSubstr("TRIGGER app.c t"));
  pair_.RunOnTarget("rollback");
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from pg_constraint where conname = 'k'"), "0");
}

TEST_F(LastStageOfTarget, ObjectThatNeedsALaterOneIsMadeAfterIt) {
  // The rule needs a view that comes with a later one here.
  objects_.clear();
  Add(ObjectStage::kTrigger, "RULE", "app.c r",
      "CREATE RULE r AS ON DELETE TO app.c DO ALSO SELECT * FROM app.v;");
  Add(ObjectStage::kTrigger, "VIEW", "app.v", "CREATE VIEW app.v AS SELECT 1 AS one;");
  LastStage stage;
  stage.switching = objects_;
  pair_.RunOnTarget("begin");
  const absl::Status made = MakeInTransaction(pair_.target(), "other", stage);
  ASSERT_TRUE(made.ok()) << made;
  pair_.RunOnTarget("commit");
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from pg_rules where rulename = 'r'"), "1");
}

}  // namespace
}  // namespace walferry
