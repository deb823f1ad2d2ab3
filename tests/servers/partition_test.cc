// Partitioned tables: leaf by leaf, and through their root.
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

constexpr const char* kTree =
    "CREATE TABLE p (a int, k int, t text, PRIMARY KEY (a, k)) PARTITION BY LIST (k);"
    "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 (t text, k int NOT NULL, a int NOT "
    "NULL, "
    "PRIMARY KEY (a, k)); ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);"
    "CREATE TABLE p3 PARTITION OF p DEFAULT PARTITION BY RANGE (a);"
    "CREATE TABLE p31 PARTITION OF p3 FOR VALUES FROM (0) TO (100); CREATE TABLE p32 PARTITION OF p3 DEFAULT";

// Across partitions on the way in, on the way out and below the second level.
constexpr const char* kMoves =
    "UPDATE p SET k = 2 WHERE a = 1; UPDATE p SET k = 9 WHERE a = 2; UPDATE p SET a = a + 200 WHERE a = 3;"
    "UPDATE p SET t = 'changed' WHERE a = 4; DELETE FROM p WHERE a = 5; INSERT INTO p VALUES (6, 1, 'new'), "
    "(7, 2, "
    "'new'), (8, 3, 'new'), (300, 3, 'new')";

class PartitionLeaf : public MigrationTest {
 protected:
  void FillSource() {
    RunOnSource(
        "INSERT INTO p VALUES (1, 1, 'x'), (2, 2, 'x'), (3, 3, 'x'), (4, 1, 'x'), (5, 2, 'x'), (150, 4, "
        "'x')");
  }
};

TEST_F(PartitionLeaf, ArrivesInTheLeafOfTheSameNameAlsoWhereTheTargetsLeafIsPartitionedFurther) {
  RunOnSource(kTree);
  RunOnTarget(
      "CREATE TABLE p (t text, a int, k int, PRIMARY KEY (a, k)) PARTITION BY LIST (k);"
      "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) PARTITION BY HASH (a);"
      "CREATE TABLE p1_0 PARTITION OF p1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
      "CREATE TABLE p1_1 PARTITION OF p1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
      "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2); CREATE TABLE p31 (a int, k int, t text, PRIMARY KEY "
      "(a, k));"
      "CREATE TABLE p32 (a int PRIMARY KEY, k int, t text)");
  FillSource();
  Migrate({"--schema", "none"});
  RunOnSource(kMoves);
  Migrate();
  ExpectSame("SELECT a, k, t FROM p1 ORDER BY 1");
  ExpectSame("SELECT a, k, t FROM p2 ORDER BY 1");
  ExpectSame("SELECT a, k, t FROM p31 ORDER BY 1");
  ExpectSame("SELECT a, k, t FROM p32 ORDER BY 1");
  EXPECT_EQ(Target("SELECT count(*) FROM p32"), "3");
  EXPECT_EQ(Status().at("totals").at("missing_rows"), 0);
}

TEST_F(PartitionLeaf, TruncatesMissingRowsAndTheWholeTree) {
  RunOnSource(kTree);
  FillSource();
  Migrate();
  RunOnTarget("DELETE FROM p WHERE a IN (2, 4)");
  RunOnSource("UPDATE p SET t = 'y' WHERE a = 4; UPDATE p SET k = 1 WHERE a = 2; TRUNCATE p31");
  RunOnSource("INSERT INTO p VALUES (20, 2, 'after')");
  Migrate();
  EXPECT_EQ(Target("SELECT a, k FROM p ORDER BY a"), "1|1\n2|1\n5|2\n20|2\n150|4");
  EXPECT_EQ(TableStatus("public.p1").at("missing_rows"), 1);
  EXPECT_EQ(TableStatus("public.p2").at("missing_rows"), 1);
  RunOnSource("TRUNCATE p; INSERT INTO p VALUES (30, 3, 'last')");
  Migrate();
  EXPECT_EQ(Target("SELECT a, k, t FROM p"), "30|3|last");
}

TEST_F(PartitionLeaf, DetachedAttachedAndNewLeaves) {
  RunOnSource(kTree);
  FillSource();
  Publish();
  RunOnTarget(kTree);
  RunOnTarget(
      "INSERT INTO p VALUES (1, 1, 'x'), (2, 2, 'x'), (3, 3, 'x'), (4, 1, 'x'), (5, 2, 'x'), (150, 4, 'x')");
  RunOnSource("ALTER TABLE p DETACH PARTITION p1");
  RunOnSource("UPDATE p1 SET t = 'alone' WHERE a = 1; UPDATE p1 SET k = 7 WHERE a = 4");
  RunOnTarget("ALTER TABLE p DETACH PARTITION p1");
  RunOnBoth("CREATE TABLE p5 PARTITION OF p FOR VALUES IN (5)");
  RunOnSource("INSERT INTO p VALUES (50, 5, 'new leaf')");
  Stream();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT a, k, t FROM p1 ORDER BY a"), "1|1|alone\n4|7|x");
  EXPECT_EQ(Target("SELECT a FROM p5"), "50");
}

class PartitionRoot : public MigrationTest {};

TEST_F(PartitionRoot, ArrivesInAPlainTable) {
  RunOnSource(kTree);
  RunOnTarget("CREATE TABLE p (k int, t text, a int, PRIMARY KEY (a, k))");
  Publish("FOR TABLE p WITH (publish_via_partition_root)");
  RunOnSource(
      "INSERT INTO p VALUES (1, 1, 'x'), (2, 2, 'x'), (3, 3, 'x'), (4, 1, 'x'), (5, 2, 'x'), (150, 4, 'x')");
  RunOnSource(kMoves);
  Stream();
  ExpectSame("SELECT a, k, t FROM p ORDER BY a, k");
  EXPECT_EQ(Target("SELECT count(*) FROM p"), "9");
  // Neither the truncation of a leaf nor its going is published through the root.
  RunOnSource("TRUNCATE p1; DROP TABLE p31; INSERT INTO p VALUES (1000, 2, 'after')");
  Stream();
  EXPECT_EQ(Target("SELECT count(*) FROM p"), "10");
  RunOnSource("TRUNCATE p; INSERT INTO p VALUES (1, 2, 'last')");
  Stream();
  EXPECT_EQ(Target("SELECT a, k, t FROM p"), "1|2|last");
}

TEST_F(PartitionRoot, TopmostPublishedAncestorIsTheTable) {
  RunOnSource(kTree);
  RunOnTarget(
      "CREATE TABLE p3 (a int, k int, t text, PRIMARY KEY (a, k)); CREATE TABLE p1 (LIKE p3 INCLUDING ALL)");
  Publish("FOR TABLE p3, p31, p1 WITH (publish_via_partition_root)");
  RunOnSource(
      "INSERT INTO p VALUES (1, 1, 'x'), (2, 2, 'x'), (3, 3, 'x'), (150, 3, 'x'); UPDATE p SET a = 160 WHERE "
      "a = 3");
  Stream();
  EXPECT_EQ(Target("SELECT a, k FROM p3 ORDER BY a"), "150|3\n160|3");
  EXPECT_EQ(Target("SELECT a FROM p1"), "1");
}

TEST_F(PartitionRoot, AlteredTreeGoesOn) {
  RunOnSource(kTree);
  RunOnTarget("CREATE TABLE p (a int, k int, t text, PRIMARY KEY (a, k))");
  Publish("FOR TABLE p WITH (publish_via_partition_root)");
  RunOnSource("INSERT INTO p VALUES (1, 1, 'x'), (2, 2, 'x')");
  Stream();
  RunOnSource("ALTER TABLE p DROP t; ALTER TABLE p ADD extra text DEFAULT 'e'");
  RunOnTarget("ALTER TABLE p ADD extra text");
  RunOnSource(
      "INSERT INTO p VALUES (3, 3, 'f'); UPDATE p SET extra = 'g' WHERE a = 2; UPDATE p SET k = 2 WHERE a = "
      "1");
  Stream();
  ExpectSame("SELECT a, k, extra FROM p WHERE a > 0 ORDER BY a");
}

// The tags of the rows follow the root's identity, the rows themselves the leaf's.
TEST_F(PartitionRoot, FullIdentityOfTheRootOverLeavesWithKeys) {
  RunOnBoth(
      "CREATE TABLE p (a int, k int, t text, PRIMARY KEY (a, k)) PARTITION BY LIST (k);"
      "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)");
  RunOnSource("ALTER TABLE p REPLICA IDENTITY FULL; ALTER TABLE p2 REPLICA IDENTITY FULL");
  Publish("FOR TABLE p WITH (publish_via_partition_root)");
  RunOnSource("INSERT INTO p SELECT i, 1 + i % 2, 'x' FROM generate_series(1, 8) i");
  RunOnSource(
      "UPDATE p SET t = 'y' WHERE a IN (1, 2); UPDATE p SET a = a + 10 WHERE a IN (3, 4); DELETE FROM p "
      "WHERE a IN (5, "
      "6); UPDATE p SET k = 3 - k WHERE a IN (7, 8)");
  Stream();
  ExpectSame("SELECT a, k, t FROM p ORDER BY a");
  EXPECT_EQ(Target("SELECT count(*) FROM p"), "6");
  EXPECT_EQ(TableStatus("public.p").at("missing_rows"), 0);
}

// The root has no identity of its own to update by: that of the leaf is what counts.
TEST_F(PartitionRoot, KeyOfALeafAlone) {
  RunOnSource(
      "CREATE TABLE p (a int, k int) PARTITION BY LIST (k); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
      "ALTER TABLE p1 ALTER a SET NOT NULL; CREATE UNIQUE INDEX p1_a ON p1 (a); ALTER TABLE p1 REPLICA "
      "IDENTITY USING "
      "INDEX p1_a");
  RunOnTarget("CREATE TABLE p1 (a int PRIMARY KEY, k int)");
  Publish("FOR TABLE p");
  RunOnSource(
      "INSERT INTO p VALUES (1, 1), (2, 1); UPDATE p SET a = 3 WHERE a = 1; DELETE FROM p WHERE a = 2");
  Stream();
  EXPECT_EQ(Target("SELECT a, k FROM p1"), "3|1");
}

}  // namespace
}  // namespace walferry
