// session_replication_role, and what is done without it.
#include "gmock/gmock.h"
#include "tests/apply/apply_stream.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ApplierRole : public ApplyTest {
 protected:
  void SetUp() override {
    role_ = "r_" + pair_.name();
    pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text)");
    pair_.RunOnTarget("CREATE TABLE log (a text)");
    BeginMigration("FOR TABLE t");
    pair_.RunOnTarget(
        "CREATE ROLE " + role_ + " LOGIN; GRANT ALL ON SCHEMA walferry, public TO " + role_ +
        "; GRANT ALL ON ALL TABLES IN SCHEMA walferry, public TO " + role_ +
        "; CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.log "
        "VALUES (NEW.a); RETURN NEW; END$$");
  }
  void TearDown() override { pair_.RunOnTarget("DROP OWNED BY " + role_ + "; DROP ROLE " + role_); }

  ApplierOptions AsRole() const {
    ApplierOptions options = Options();
    options.target += " user=" + role_;
    return options;
  }

  std::string role_;
};

TEST_F(ApplierRole, ReplicaRoleKeepsTriggersAndForeignKeysQuiet) {
  pair_.RunOnTarget("CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION noted()");
  pair_.RunOnSource("INSERT INTO t VALUES (1, 'a')");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT count(*) FROM log"), "0");
  EXPECT_EQ(events_.at(0).kind, ApplierEvent::Kind::kReplicaRole);
}

TEST_F(ApplierRole, AlwaysTriggersFireAndAreMentioned) {
  pair_.RunOnTarget(
      "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION noted(); "
      "ALTER TABLE t ENABLE ALWAYS TRIGGER g");
  pair_.RunOnSource("INSERT INTO t VALUES (1, 'a')");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT * FROM log"), "a");
  EXPECT_THAT(events_.at(0).text, HasSubstr("except 1 triggers"));
}

TEST_F(ApplierRole, RulesThatFireAllTheSameRefuse) {
  pair_.RunOnTarget("CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING");
  pair_.RunOnSource("INSERT INTO t VALUES (1, 'a')");
  for (const char* const state : {"ALWAYS", "REPLICA"}) {
    pair_.RunOnTarget(std::string("ALTER TABLE t ENABLE ") + state + " RULE r");
    const absl::Status status = CatchUp();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(MessageOf(status)),
                AllOf(HasSubstr("rule r of table public.t"), HasSubstr("DISABLE RULE")));
  }
  pair_.RunOnTarget("ALTER TABLE t ENABLE RULE r");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT * FROM t"), "1|a");
}

TEST_F(ApplierRole, WithoutReplicaRoleTriggersRefuse) {
  pair_.RunOnTarget(
      "CREATE TRIGGER my_trigger BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION noted(); "
      "CREATE TABLE child (id int CONSTRAINT my_key REFERENCES t)");
  const absl::Status status = CatchUp(AsRole());
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(
      std::string(MessageOf(status)),
      AllOf(HasSubstr("trigger my_trigger of public.t"), HasSubstr("foreign key my_key of public.child"),
            HasSubstr("GRANT SET ON PARAMETER session_replication_role TO")));
}

TEST_F(ApplierRole, WithoutReplicaRoleItGoesOnWhereNothingCanFire) {
  pair_.RunOnTarget(
      "ALTER TABLE t ADD UNIQUE (a) DEFERRABLE; CREATE TRIGGER off BEFORE INSERT ON t FOR EACH ROW "
      "EXECUTE FUNCTION noted(); ALTER TABLE t DISABLE TRIGGER off");
  pair_.RunOnSource("INSERT INTO t VALUES (1, 'a')");
  const absl::Status status = CatchUp(AsRole());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(events_.at(0).kind, ApplierEvent::Kind::kNoReplicaRole);
  EXPECT_EQ(Target("SELECT * FROM t"), "1|a");
}

TEST_F(ApplierRole, TheGrantIsEnough) {
  pair_.RunOnTarget(
      "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION noted(); GRANT SET ON PARAMETER "
      "session_replication_role TO " +
      role_);
  pair_.RunOnSource("INSERT INTO t VALUES (1, 'a')");
  ASSERT_TRUE(CatchUp(AsRole()).ok());
  EXPECT_EQ(Target("SELECT count(*) FROM log"), "0");
}

}  // namespace
}  // namespace walferry
