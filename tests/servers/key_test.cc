// Which row is meant: keys that do not arrive whole, and rows that merely look alike.
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Key : public MigrationTest {
 protected:
  // Only (tenant, le) is unique, and le is not published: tenant alone says nothing.
  void MakeAccounts() {
    RunOnSource(
        "CREATE TABLE acc (tenant int, email text NOT NULL, v text, le text GENERATED ALWAYS AS "
        "(lower(email)) STORED,"
        "PRIMARY KEY (tenant, le)); INSERT INTO acc VALUES (1, 'A@x', 'a'), (1, 'B@x', 'b'), (1, 'C@x', "
        "'c')");
  }
};

TEST_F(Key, UpdateOfAnIdentityThatIsNotPublishedWholeStopsTheStream) {
  MakeAccounts();
  const WalferryRun run = Walferry("migrate", {"--until", "caught-up"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.err,
              AllOf(HasSubstr("stops at the first update or delete of public.acc"), HasSubstr("(le)")));
  RunOnSource("INSERT INTO acc VALUES (1, 'D@x', 'd')");
  Migrate();
  ExpectSame("SELECT * FROM acc ORDER BY email");
  RunOnSource("DELETE FROM acc WHERE email = 'C@x'");
  for (const bool again : {false, true}) {
    SCOPED_TRACE(again);
    EXPECT_THAT(
        RefusalOf("migrate"),
        AllOf(HasSubstr("a DELETE of table public.acc"), HasSubstr("does not say which row it is about"),
              HasSubstr("column le"), HasSubstr("ALTER TABLE \"public\".\"acc\" REPLICA IDENTITY FULL")));
    EXPECT_EQ(Target("SELECT string_agg(v, '' ORDER BY v) FROM acc"), "abcd");
  }
}

TEST_F(Key, WithTheWayOutThatIsNamedTheRightRowIsMeant) {
  for (const std::string identity : {"FULL", "USING INDEX acc_email"}) {
    SCOPED_TRACE(identity);
    MakeAccounts();
    RunOnSource("CREATE UNIQUE INDEX acc_email ON acc (tenant, email); ALTER TABLE acc REPLICA IDENTITY " +
                identity);
    Migrate();
    RunOnSource(
        "UPDATE acc SET v = 'new' WHERE email = 'B@x'; DELETE FROM acc WHERE email = 'C@x'; "
        "UPDATE acc SET email = 'AA@x' WHERE v = 'a'");
    Migrate();
    ExpectSame("SELECT * FROM acc ORDER BY email");
    EXPECT_EQ(Status().at("totals").at("missing_rows"), 0);
    EXPECT_EQ(Walferry("cleanup", {"--yes"}).exit_code, 0);
    RunOnBoth("DROP TABLE acc");
  }
}

TEST_F(Key, SlotWithSuchAnIdentityIsNotAdopted) {
  MakeAccounts();
  RunOnTarget("CREATE TABLE acc (tenant int, email text, v text)");
  Publish("FOR TABLE acc");
  EXPECT_THAT(RefusalOf("stream"), AllOf(HasSubstr("the replica identity of public.acc"), HasSubstr("(le)"),
                                         HasSubstr("ALTER TABLE \"public\".\"acc\" REPLICA IDENTITY FULL")));
  EXPECT_EQ(Target("SELECT count(*) FROM pg_namespace WHERE nspname = 'walferry'"), "0");
  // Inserts need no identity.
  RunOnSource(
      "ALTER PUBLICATION p SET (publish = 'insert, truncate'); INSERT INTO acc VALUES (1, 'D@x', 'd')");
  Stream();
  EXPECT_EQ(Target("SELECT * FROM acc"), "1|D@x|d");
}

// Of a partition it is the partition's own identity that counts.
TEST_F(Key, PartitionWithSuchAnIdentityIsFound) {
  RunOnSource(
      "CREATE TABLE p (id int, k int, g int GENERATED ALWAYS AS (id + 1) STORED, PRIMARY KEY (id, k)) "
      "PARTITION BY "
      "LIST (k); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES "
      "IN (2);"
      "ALTER TABLE p2 ALTER g SET NOT NULL; CREATE UNIQUE INDEX p2_g ON p2 (g); ALTER TABLE p2 REPLICA "
      "IDENTITY "
      "USING INDEX p2_g");
  RunOnTarget("CREATE TABLE p (id int, k int, PRIMARY KEY (id, k))");
  Publish("FOR TABLE p WITH (publish_via_partition_root)");
  EXPECT_THAT(RefusalOf("stream"), AllOf(HasSubstr("the replica identity of public.p2"), HasSubstr("(g)"),
                                         HasSubstr("REPLICA IDENTITY USING INDEX \"p2_pkey\"")));
}

TEST_F(Key, ColumnThatOnlyTheTargetGeneratesStopsStreamToo) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, b int)");
  RunOnTarget("CREATE TABLE t (id int PRIMARY KEY, b int GENERATED ALWAYS AS (id * 3) STORED)");
  Publish();
  RunOnSource("INSERT INTO t VALUES (1, 100)");
  EXPECT_THAT(RefusalOf("stream"),
              AllOf(HasSubstr("the target generates public.t.b"),
                    HasSubstr("ALTER TABLE \"public\".\"t\" ALTER COLUMN \"b\" DROP EXPRESSION")));
  EXPECT_EQ(Target("SELECT count(*) FROM pg_namespace WHERE nspname = 'walferry'"), "0");
  RunOnTarget("ALTER TABLE t ALTER b DROP EXPRESSION");
  Stream();
  ExpectSame("SELECT * FROM t");
  // Also when it comes to be so later.
  RunOnTarget("ALTER TABLE t DROP b; ALTER TABLE t ADD b int GENERATED ALWAYS AS (id * 3) STORED");
  RunOnSource("INSERT INTO t VALUES (2, 200)");
  EXPECT_THAT(RefusalOf("stream"), HasSubstr("column b of table public.t is published by the source"));
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "1");
}

// A list of columns leaves to the target what it generates or does not have.
TEST_F(Key, ColumnThatIsNotPublishedMayBeGeneratedByTheTarget) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, b int, c int)");
  RunOnTarget("CREATE TABLE t (id int PRIMARY KEY, b int GENERATED ALWAYS AS (id * 3) STORED)");
  Publish("FOR TABLE t (id)");
  RunOnSource(
      "INSERT INTO t VALUES (1, 100, 1), (2, 100, 1); UPDATE t SET id = 5 WHERE id = 1; DELETE FROM t WHERE "
      "id = 2");
  Stream();
  EXPECT_EQ(Target("SELECT * FROM t"), "5|15");
}

TEST_F(Key, NullCompositeAndCompositeOfNullsAreDifferentRows) {
  RunOnSource(
      "CREATE TYPE pair AS (a int, b text); CREATE TABLE t (c pair, v int); ALTER TABLE t REPLICA IDENTITY "
      "FULL;"
      "INSERT INTO t VALUES (ROW(NULL, NULL), 1), (NULL, 1), (ROW(1, 'x'), 1)");
  Migrate();
  RunOnSource("UPDATE t SET v = 2 WHERE c::text IS NULL; DELETE FROM t WHERE c::text = '(,)'");
  Migrate();
  ExpectSame("SELECT c::text, v FROM t ORDER BY v");
  EXPECT_EQ(Target("SELECT c::text, v FROM t ORDER BY v"), "(1,x)|1\nNULL|2");
  EXPECT_EQ(Status().at("totals").at("missing_rows"), 0);
}

TEST_F(Key, RowsOfAWiderIdentityThatAreOneRowOfTheTargetKeepTheirOrder) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, tenant int NOT NULL, v int)");
  RunOnSource(
      "CREATE UNIQUE INDEX t_wide ON t (id, tenant); ALTER TABLE t REPLICA IDENTITY USING INDEX t_wide; "
      "INSERT INTO t "
      "VALUES (1, 0, 0)");
  const std::vector<std::string> arguments = {"--schema", "none", "--lanes", "2", "--batch-bytes", "64kB"};
  Migrate(arguments);
  RunOnSource(
      "DO $$ BEGIN FOR i IN 1..3000 LOOP DELETE FROM t WHERE id = 1; COMMIT; INSERT INTO t VALUES (1, i, i); "
      "COMMIT; "
      "END LOOP; END $$");
  Migrate(arguments);
  ExpectSame("SELECT * FROM t");
}

}  // namespace
}  // namespace walferry
