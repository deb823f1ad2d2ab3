// What the target refuses although the source had it.
#include <utility>

#include "gmock/gmock.h"
#include "tests/apply/apply_stream.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ApplierConflict : public ApplyTest {
 protected:
  void MakeTable() {
    pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, secret text)");
    BeginMigration();
  }
  int Count(ApplierEvent::Kind kind) const {
    int count = 0;
    for (const ApplierEvent& event : events_) count += event.kind == kind ? 1 : 0;
    return count;
  }
};

TEST_F(ApplierConflict, ConflictStopsAndNamesTheConstraint) {
  MakeTable();
  pair_.RunOnTarget("INSERT INTO t VALUES (2, 'mine')");
  pair_.RunOnSource("INSERT INTO t VALUES (1, 'hush')");
  pair_.RunOnSource("BEGIN; INSERT INTO t VALUES (10, 'hush'); INSERT INTO t VALUES (2, 'hush'); COMMIT");
  pair_.RunOnSource("INSERT INTO t VALUES (3, 'hush')");
  ApplierOptions options = Options();
  options.lanes = 1;  // Others would go on.
  const absl::Status status = CatchUp(options);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(status)),
              AllOf(HasSubstr("INSERT into public.t in transaction"), HasSubstr("t_pkey"), HasSubstr("23505"),
                    Not(HasSubstr("hush")), Not(HasSubstr("(2)"))));
  EXPECT_EQ(Target("SELECT * FROM t ORDER BY id"), "1|hush\n2|mine");
  pair_.RunOnTarget("DELETE FROM t WHERE id = 2");
  ASSERT_TRUE(CatchUp().ok());
  ExpectEqualContent(pair_);
}

TEST_F(ApplierConflict, SkipLoggedSkipsOnlyTheFailingRow) {
  MakeTable();
  pair_.RunOnTarget("INSERT INTO t VALUES (2, 'mine'); ALTER TABLE t ADD CHECK (secret <> 'bad')");
  pair_.RunOnSource(
      "BEGIN; INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (2, 'hush'); INSERT INTO t VALUES (3, "
      "'c'); UPDATE t SET secret = 'bad' WHERE id = 1; UPDATE t SET secret = 'd' WHERE id = 3; COMMIT");
  pair_.RunOnSource("INSERT INTO t VALUES (4, 'e')");
  ApplierOptions options = Options();
  options.on_conflict = OnConflict::kSkipLogged;
  const absl::Status status = CatchUp(options);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Target("SELECT * FROM t ORDER BY id"), "1|a\n2|mine\n3|d\n4|e");
  TableCounters counted = CountersOf(counters_, "t");
  // How many went one by one depends on what was in a batch with the conflict.
  EXPECT_GE(std::exchange(counted.one_by_one, 0), 2);
  EXPECT_EQ(counted, (TableCounters{.inserts = 3, .updates = 1, .conflicts = 2}));
  EXPECT_EQ(Count(ApplierEvent::Kind::kConflictSkipped), 2);
  for (const ApplierEvent& event : events_) EXPECT_THAT(event.text, Not(HasSubstr("hush")));
}

TEST_F(ApplierConflict, SkipLoggedInALargeTransaction) {
  MakeTable();
  pair_.RunOnTarget("INSERT INTO t VALUES (1500, 'mine')");
  pair_.RunOnSource("INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 2000) i");
  ApplierOptions options = Options();
  options.on_conflict = OnConflict::kSkipLogged;
  options.batch_bytes = 16 << 10;
  RunningStream stream(pair_, options, SourceEnd(), false, 600 << 10);
  const absl::Status status = stream.End(false);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Target("SELECT count(*), count(*) FILTER (WHERE secret = 'mine') FROM t"), "2000|1");
  EXPECT_EQ(CountersOf(stream.applier().counters(), "t").conflicts, 1);
}

TEST_F(ApplierConflict, SkipLoggedDoesNotSkipForWantOfPrivileges) {
  MakeTable();
  pair_.RunOnTarget("CREATE ROLE r_" + pair_.name() +
                    " LOGIN; GRANT SET ON PARAMETER session_replication_role TO r_" + pair_.name() +
                    "; GRANT ALL ON SCHEMA walferry TO r_" + pair_.name() +
                    "; GRANT ALL ON ALL TABLES IN SCHEMA walferry TO r_" + pair_.name() +
                    "; GRANT SELECT ON t TO r_" + pair_.name());
  pair_.RunOnSource("INSERT INTO t VALUES (1, 'a')");
  ApplierOptions options = Options();
  options.target += " user=r_" + pair_.name();
  options.on_conflict = OnConflict::kSkipLogged;
  const absl::Status status = CatchUp(options);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("42501"));
  pair_.RunOnTarget("DROP OWNED BY r_" + pair_.name() + "; DROP ROLE r_" + pair_.name());
}

TEST_F(ApplierConflict, ValuesThatDoNotFitAreNotQuoted) {
  pair_.RunOnSource("CREATE TABLE t (id int PRIMARY KEY, secret text)");
  pair_.RunOnTarget("CREATE TABLE t (id int PRIMARY KEY, secret int)");
  BeginMigration();
  pair_.RunOnSource("INSERT INTO t VALUES (1, 'hush')");
  const absl::Status status = CatchUp();
  EXPECT_THAT(std::string(MessageOf(status)), AllOf(HasSubstr("22P02"), Not(HasSubstr("hush"))));
}

TEST_F(ApplierConflict, BatchesAreReplayedOneTransactionAtATime) {
  MakeTable();
  pair_.RunOnTarget("INSERT INTO t VALUES (50, 'mine')");
  for (int i = 1; i <= 60; ++i) pair_.RunOnSource(absl::StrFormat("INSERT INTO t VALUES (%d, 'x')", i));
  ApplierOptions options = Options();
  options.lanes = 1;  // Others would go on.
  EXPECT_FALSE(CatchUp(options).ok());
  EXPECT_EQ(Target("SELECT count(*) FROM t WHERE secret = 'x'"), "49");
  EXPECT_EQ(Count(ApplierEvent::Kind::kReplay), counters_.replays);
}

// What the target's tables were like when they were read does not decide what a conflict is.
TEST_F(ApplierConflict, UniqueIndexThatCameMeanwhileIsReadBeforeAConflictIsOne) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, v int)");
  BeginMigration();
  RunningStream stream(pair_, Options(), std::nullopt);
  ASSERT_TRUE(stream.started().ok());
  pair_.RunOnSource("INSERT INTO t SELECT i, i FROM generate_series(1, 10) i");
  ASSERT_TRUE(WaitUntil([&] { return Target("SELECT count(*) FROM t") == "10"; }));
  pair_.RunOnTarget("CREATE UNIQUE INDEX t_v ON t (v)");
  pair_.RunOnSource("UPDATE t SET v = NULL WHERE id = 1; UPDATE t SET v = 1 WHERE id = 2");
  pair_.RunOnSource("BEGIN; UPDATE t SET v = -1 WHERE id = 3; UPDATE t SET v = 3 WHERE id = 4; COMMIT");
  ASSERT_TRUE(WaitUntil(
      [&] { return Target("SELECT id, v FROM t WHERE id < 5 ORDER BY id") == "1|NULL\n2|1\n3|-1\n4|3"; }));
  EXPECT_TRUE(stream.End().ok());
}

TEST_F(ApplierConflict, ForeignKeysOfAnotherOrderDoNotMatter) {
  pair_.RunOnBoth(
      "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int REFERENCES a DEFERRABLE INITIALLY "
      "DEFERRED, PRIMARY KEY (id))");
  BeginMigration();
  ApplyAndCompare("BEGIN; INSERT INTO b VALUES (1); INSERT INTO a VALUES (1); COMMIT; ");
  ApplyAndCompare("BEGIN; DELETE FROM a; DELETE FROM b; COMMIT");
}

}  // namespace
}  // namespace walferry
