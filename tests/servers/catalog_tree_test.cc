// Partition trees and publications that change under way and back again.
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class CatalogTree : public MigrationTest {
 protected:
  void SetUp() override {
    RunOnSource(
        "CREATE TABLE p (id int, d int, PRIMARY KEY (id, d)) PARTITION BY RANGE (d);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);"
        "INSERT INTO p SELECT i, i % 20 FROM generate_series(1, 100) i");
  }
  std::string DryRun() const { return Walferry("cutover", {"--dry-run"}).out; }
  nlohmann::json Differences() const { return Status().at("catalog_differences"); }
  // Runs what is printed on the target, until nothing is.
  void FollowTheAdvice() {
    for (int round = 0; round < 5; ++round) {
      Migrate();
      const nlohmann::json differences = Differences();
      if (differences.empty()) return;
      for (const nlohmann::json& one : differences) {
        const std::string command = one.at("command");
        ASSERT_THAT(command, HasSubstr(" -- on the target")) << one;
        RunOnTarget(command);
      }
    }
    FAIL() << Differences();
  }
};

TEST_F(CatalogTree, PartitionThatWasGoneBeforeItWasMetAndComesBackIsCopied) {
  Migrate();
  RunOnSource(
      "CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30); INSERT INTO p VALUES (1, 21);"
      "ALTER TABLE p DETACH PARTITION p3");
  Migrate();
  RunOnSource(
      "INSERT INTO p3 VALUES (3, 23); ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (20) TO (30);"
      "INSERT INTO p VALUES (2, 22)");
  Migrate();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT count(*) FROM p3"), "3");
}

TEST_F(CatalogTree, PartitionThatWasLetGoAndComesBackIsCopied) {
  Migrate();
  RunOnSource("ALTER TABLE p DETACH PARTITION p2");
  RunOnTarget("ALTER TABLE p DETACH PARTITION p2");
  Migrate();
  EXPECT_THAT(DryRun(), HasSubstr("public.p2 is new"));
  RunOnTarget("TRUNCATE p2");
  RunOnSource(
      "INSERT INTO p2 VALUES (999, 15); ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20);"
      "INSERT INTO p VALUES (1000, 16)");
  RunOnTarget("ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)");
  Migrate();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Walferry("verify").exit_code, 0);
}

TEST_F(CatalogTree, TreeThatIsBuiltOtherwiseIsNamedWithTheStatements) {
  RunOnSource(
      "CREATE TABLE q (id int, d int, PRIMARY KEY (id, d)) PARTITION BY RANGE (d);"
      "CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (100) TO (200)");
  Migrate();
  RunOnSource(
      "BEGIN; ALTER TABLE p DETACH PARTITION p1; ALTER TABLE q ATTACH PARTITION p1 FOR VALUES FROM (0) TO "
      "(10); COMMIT;"
      "ALTER TABLE p DETACH PARTITION p2; ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (200)");
  Migrate();
  EXPECT_EQ(Walferry("cutover").exit_code, 1);
  FollowTheAdvice();
  ExpectSame("SELECT (SELECT count(*) FROM p), (SELECT count(*) FROM q)");
  ExpectSame(
      "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r' "
      "ORDER BY 1");
}

TEST_F(CatalogTree, RootThatIsRenamedIsNamed) {
  Migrate();
  RunOnSource("ALTER TABLE p RENAME TO renamed; INSERT INTO renamed VALUES (500, 5)");
  Migrate();
  EXPECT_THAT(DryRun(), HasSubstr("RENAME TO \"renamed\""));
  FollowTheAdvice();
  RunOnSource(
      "CREATE TABLE p3 PARTITION OF renamed FOR VALUES FROM (20) TO (30); INSERT INTO renamed VALUES (1, "
      "21)");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(CatalogTree, BranchThatIsDetachedIsNamedAndLetGo) {
  RunOnSource(
      "CREATE TABLE b PARTITION OF p FOR VALUES FROM (20) TO (40) PARTITION BY RANGE (d);"
      "CREATE TABLE b1 PARTITION OF b FOR VALUES FROM (20) TO (30); INSERT INTO p VALUES (1, 21)");
  Migrate();
  RunOnSource("ALTER TABLE p DETACH PARTITION b");
  Migrate();
  EXPECT_THAT(DryRun(), HasSubstr("DETACH PARTITION \"public\".\"b\""));
  RunOnTarget("ALTER TABLE p DETACH PARTITION b");
  Migrate();
  EXPECT_THAT(DryRun(), HasSubstr("public.b1 is new"));
}

TEST_F(CatalogTree, PublicationThatWasNarrowedBetweenTwoLooks) {
  RunOnSource("CREATE TABLE n (id int, v int); INSERT INTO n VALUES (1, 1)");
  Migrate({"--no-identity", "insert-only"});
  const std::vector<std::string> publications = {name(), name() + "_inserts"};
  for (const std::string& publication : publications) {
    const std::string actions = publication == name() ? "insert,update,delete,truncate" : "insert,truncate";
    RunOnSource("ALTER PUBLICATION " + publication +
                " SET (publish = 'truncate'); INSERT INTO n VALUES (2, 2);"
                "DELETE FROM p WHERE id < 10; ALTER PUBLICATION " +
                publication + " SET (publish = '" + actions + "')");
    Migrate();
    ExpectEqualContent(pair_);
  }
  RunOnSource("ALTER PUBLICATION " + name() + "_inserts SET (publish = 'insert,update,delete,truncate')");
  EXPECT_THAT(RefusalOf("migrate"), HasSubstr("publish = 'insert,truncate'"));
}

TEST_F(CatalogTree, UnloggedForAWhileIsNamedAndBornUnloggedIsCopied) {
  Migrate();
  RunOnSource(
      "ALTER TABLE p1 SET UNLOGGED; INSERT INTO p VALUES (500, 5); ALTER TABLE p1 SET LOGGED;"
      "CREATE UNLOGGED TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30); INSERT INTO p VALUES (1, 21);"
      "ALTER TABLE p3 SET LOGGED; INSERT INTO p VALUES (2, 22)");
  Migrate();
  EXPECT_EQ(Target("SELECT count(*) FROM p3"), "2");
  EXPECT_THAT(DryRun(), AllOf(HasSubstr("public.p1 was rewritten"), HasSubstr("rewritten-partitions")));
  EXPECT_EQ(Walferry("cutover").exit_code, 1);
}

TEST_F(CatalogTree, TruncatedPartitionIsNotNamed) {
  Migrate();
  RunOnSource("TRUNCATE p1; INSERT INTO p VALUES (500, 5)");
  Migrate();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Differences().dump(), "[]");
}

TEST_F(CatalogTree, UnloggedPartitionIsNamed) {
  Migrate();
  RunOnSource(
      "CREATE UNLOGGED TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30); INSERT INTO p VALUES (1, 21)");
  Migrate();
  EXPECT_THAT(DryRun(), HasSubstr("public.p3 is unlogged"));
}

TEST_F(CatalogTree, TableMadeAnewWithOtherColumnsIsNamedWithThem) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)");
  Migrate();
  RunOnSource(
      "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, w text NOT NULL DEFAULT 'x'); INSERT INTO t VALUES "
      "(5, 'y')");
  EXPECT_THAT(RefusalOf("migrate"), HasSubstr("public.t"));
  const std::string refused = RefusalOf("migrate");
  EXPECT_THAT(refused, AllOf(HasSubstr("ADD COLUMN"), HasSubstr("\"w\"")));
  RunOnTarget("ALTER TABLE t ADD COLUMN w text NOT NULL DEFAULT 'x'");
  Migrate();
  EXPECT_THAT(DryRun(), HasSubstr("DROP COLUMN \"v\""));
  RunOnTarget("ALTER TABLE t DROP COLUMN v");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(CatalogTree, NamesThatAreExchangedAreReachedByTheStatements) {
  RunOnSource(
      "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1)");
  Migrate();
  RunOnSource(
      "ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b; INSERT INTO a VALUES "
      "(2)");
  FollowTheAdvice();
  ExpectEqualContent(pair_);
}

TEST_F(CatalogTree, PublishedThroughTheRootForAWhile) {
  Migrate();
  RunOnSource("ALTER PUBLICATION " + name() +
              " SET (publish_via_partition_root = true); INSERT INTO p VALUES (500, 5);"
              "ALTER PUBLICATION " +
              name() + " SET (publish_via_partition_root = false); INSERT INTO p VALUES (501, 5)");
  Migrate();
  ExpectEqualContent(pair_);
}

}  // namespace
}  // namespace walferry
