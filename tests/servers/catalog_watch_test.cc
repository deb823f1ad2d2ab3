// What changes on the source while a migration is under way: partitions and tables that come, go, and are
// called otherwise.
#include <signal.h>

#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class CatalogWatch : public MigrationTest {
 protected:
  static constexpr const char* kTree =
      "CREATE TABLE p (id int, d int, t text DEFAULT 'x', PRIMARY KEY (id, d)) PARTITION BY RANGE (d);"
      "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);"
      "INSERT INTO p SELECT i, i % 10 FROM generate_series(1, 50) i;";
  // A `migrate` in the background that follows.
  WalferryProcess& Follow(const std::vector<std::string>& extra = {}) {
    WalferryProcess& migrate = Begin("migrate", extra);
    EXPECT_TRUE(WaitUntil([&] {
      return !migrate.running() || migrate.err().find("the target follows the source") != std::string::npos;
    })) << migrate.err();
    EXPECT_TRUE(migrate.running()) << migrate.err();
    return migrate;
  }
  void StopFollowing(WalferryProcess& migrate) {
    migrate.Signal(SIGTERM);
    EXPECT_EQ(migrate.Wait(), 0) << migrate.err();
  }
  std::string RefusedVerify(int exit_code) const {
    const WalferryRun run = Walferry("verify");
    EXPECT_EQ(run.exit_code, exit_code) << run.err << run.out;
    return run.err + run.out;
  }
};

TEST_F(CatalogWatch, PartitionMadeWhileTheStreamRunsIsFollowedFromItsFirstRow) {
  RunOnSource(kTree);
  WalferryProcess& migrate = Follow();
  RunOnSource(
      "BEGIN; CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (1, 11); "
      "COMMIT;"
      "CREATE INDEX p2_own ON p2 (t); INSERT INTO p SELECT i, 10 + i % 10 FROM generate_series(100, 200) i;"
      "UPDATE p SET t = 'y' WHERE d > 15");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM p", "152"));
  StopFollowing(migrate);
  Migrate();
  ExpectEqualContent(pair_);
  ExpectSame("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'p2'");
  EXPECT_EQ(Target("SELECT count(*) FROM pg_index WHERE indrelid = 'p2'::regclass AND indisprimary"), "1");
  EXPECT_EQ(Walferry("verify").exit_code, 0);
}

// What was written before a table was attached is in no stream.
TEST_F(CatalogWatch, AttachedTableThatHasRowsIsCopied) {
  RunOnSource(kTree);
  Migrate();
  RunOnSource(
      "CREATE TABLE p3 (t text, d int NOT NULL, id int NOT NULL); INSERT INTO p3 VALUES ('before', 25, 1);"
      "BEGIN; CREATE TABLE p2 (LIKE p INCLUDING ALL); INSERT INTO p2 VALUES (7, 12, 'same transaction');"
      "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20); COMMIT;"
      "ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (20) TO (30); INSERT INTO p VALUES (2, 26, 'after');"
      "UPDATE p SET t = 'changed' WHERE id = 1 AND d = 25");
  Migrate();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT count(*) FROM p WHERE d >= 10"), "3");
  EXPECT_EQ(Target("SELECT count(*) FROM pg_inherits WHERE inhparent = 'p'::regclass"), "3");
}

TEST_F(CatalogWatch, BranchOfPartitionsThatIsNewAsAWhole) {
  RunOnSource(kTree);
  Migrate();
  RunOnSource(
      "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id);"
      "CREATE TABLE p21 PARTITION OF p2 FOR VALUES FROM (0) TO (100); CREATE TABLE p22 PARTITION OF p2 "
      "DEFAULT;"
      "INSERT INTO p VALUES (1, 10), (500, 10);");
  Migrate();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT count(*) FROM p2"), "2");
}

TEST_F(CatalogWatch, PartitionThatIsGoneBeforeItsRowsAreMetStopsNothing) {
  RunOnSource(kTree);
  Migrate();
  RunOnSource(
      "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (1, 11); DROP TABLE "
      "p2;"
      "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (2, 12);"
      "CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30); INSERT INTO p VALUES (3, 23);"
      "ALTER TABLE p DETACH PARTITION p3; INSERT INTO p VALUES (60, 0)");
  Migrate();
  EXPECT_EQ(Target("SELECT count(*) FROM p WHERE d >= 10"), "1");
  EXPECT_EQ(Target("SELECT count(*) FROM p1"), "51");
  EXPECT_THAT(RefusedVerify(5), HasSubstr("public.p3"));
}

TEST_F(CatalogWatch, NewPartitionsStopWhereThatIsWished) {
  RunOnSource(kTree);
  Migrate();
  RunOnSource("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (1, 11)");
  EXPECT_THAT(
      RefusalOf("migrate", {"--new-partitions", "stop"}),
      HasSubstr("CREATE TABLE \"public\".\"p2\" PARTITION OF \"public\".\"p\" FOR VALUES FROM (10) TO (20)"));
  EXPECT_EQ(Target("SELECT to_regclass('p2')"), "NULL");
  RunOnTarget("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)");
  Migrate({"--new-partitions", "stop"});
  ExpectEqualContent(pair_);
}

TEST_F(CatalogWatch, PartitionThatIsOnTheTargetWithRowsOfItsOwnIsNotTouched) {
  RunOnSource(kTree);
  Migrate();
  RunOnTarget(
      "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p2 VALUES (1, 10, 'mine')");
  RunOnSource("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (2, 11)");
  EXPECT_THAT(RefusalOf("migrate"), HasSubstr("public.p2"));
  EXPECT_EQ(Target("SELECT t FROM p2"), "mine");
}

// Without a primary key a partition to come would be published without identity, and the application's
// updates of it refused: such trees are published leaf by leaf.
TEST_F(CatalogWatch, TreeWithoutPrimaryKeyIsPublishedLeafByLeaf) {
  RunOnSource(
      "CREATE TABLE q (id int NOT NULL, d int, t text) PARTITION BY RANGE (d);"
      "CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (0) TO (10); ALTER TABLE q1 REPLICA IDENTITY FULL;"
      "INSERT INTO q VALUES (1, 1, 'a')");
  Migrate();
  RunOnSource(
      "CREATE TABLE q2 PARTITION OF q FOR VALUES FROM (10) TO (20); INSERT INTO q VALUES (2, 11, 'b');"
      "UPDATE q SET t = 'the application goes on' WHERE id = 2");
  EXPECT_THAT(RefusalOf("migrate"), AllOf(HasSubstr("public.q2"), HasSubstr("REPLICA IDENTITY FULL")));
  RunOnSource("UPDATE q SET t = 'and on' WHERE id = 2; ALTER TABLE q2 REPLICA IDENTITY FULL");
  Migrate();
  RunOnSource("UPDATE q SET t = 'followed' WHERE id = 2; INSERT INTO q VALUES (3, 12, 'c')");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(CatalogWatch, ExcludedPartitionsStayOutAlsoNewOnes) {
  RunOnSource(std::string(kTree) + "CREATE TABLE a_secret (id int PRIMARY KEY)");
  Migrate({"--exclude-tables", "public.*_secret"});
  RunOnSource(
      "CREATE TABLE p_secret PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (1, 11);"
      "CREATE TABLE t_secret (id int PRIMARY KEY); INSERT INTO p VALUES (70, 1)");
  Migrate();
  EXPECT_EQ(Target("SELECT to_regclass('p_secret')"), "NULL");
  EXPECT_EQ(Target("SELECT count(*) FROM p"), "51");
}

TEST_F(CatalogWatch, NewTableIsNamedAndNothingIsCalledProvenUntilItIsLeftOut) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
  WalferryProcess& migrate = Follow();
  RunOnSource("CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)");
  EXPECT_TRUE(WaitUntil([&] { return migrate.err().find("public.late") != std::string::npos; }))
      << migrate.err();
  StopFollowing(migrate);
  EXPECT_THAT(RefusedVerify(5), HasSubstr("public.late"));
  EXPECT_EQ(Walferry("verify", {"--accept", "new-tables"}).exit_code, 0);
  Migrate({"--exclude-tables", "public.late"});
  EXPECT_EQ(Walferry("verify").exit_code, 0);
}

TEST_F(CatalogWatch, ChoiceOfTablesIsKeptAndAnotherOneRefused) {
  RunOnSource("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)");
  Migrate({"--tables", "public.a"});
  EXPECT_THAT(RefusalOf("migrate", {"--tables", "public.a,public.b"}), HasSubstr("public.b"));
  EXPECT_THAT(RefusalOf("migrate", {"--exclude-tables", "public.a"}), HasSubstr("public.a"));
  RunOnSource("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)");
  Migrate();
  EXPECT_EQ(Target("SELECT count(*) FROM a"), "1");
  EXPECT_EQ(Target("SELECT to_regclass('b')"), "NULL");
}

TEST_F(CatalogWatch, TablesMadeWhileTheSlotIsMadeAreMigratedOrAbsent) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY)");
  Connection open = MustConnect(pair_.source_conninfo());
  RunSql(open, "BEGIN; INSERT INTO t VALUES (1)");
  WalferryProcess& migrate = Begin("migrate", {"--until", "caught-up"});
  ASSERT_TRUE(WaitUntil([&] { return migrate.err().find("making slot") != std::string::npos; }))
      << migrate.err();
  RunOnSource(
      "CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1); DROP TABLE IF EXISTS gone");
  RunSql(open, "COMMIT");
  EXPECT_EQ(migrate.Wait(), 0) << migrate.err();
  RunOnSource("INSERT INTO late VALUES (2)");
  Migrate();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT count(*) FROM late"), "2");
}

TEST_F(CatalogWatch, TableDroppedAndMadeAnewIsCopiedAnew) {
  RunOnSource(
      "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); CREATE TABLE u (id int PRIMARY "
      "KEY)");
  Migrate();
  RunOnSource(
      "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (3); INSERT INTO u VALUES "
      "(1)");
  EXPECT_THAT(RefusalOf("migrate"), HasSubstr("public.t"));
  Migrate();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT id FROM t"), "3");
  RunOnSource("INSERT INTO t VALUES (4)");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(CatalogWatch, DroppedTableLeavesTheOthersGoingOn) {
  RunOnSource(std::string(kTree) + "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
  Migrate();
  RunOnSource("INSERT INTO t VALUES (2); DROP TABLE t; ALTER TABLE p DETACH PARTITION p1; DROP TABLE p1");
  RunOnSource("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (2, 12)");
  Migrate();
  EXPECT_EQ(Target("SELECT count(*) FROM p2"), "1");
  EXPECT_THAT(RefusedVerify(4), AllOf(HasSubstr("public.t"), HasSubstr("is not on the source")));
  RunOnTarget("DROP TABLE t; DROP TABLE p1");
  Migrate();
  EXPECT_EQ(Walferry("verify").exit_code, 0);
}

TEST_F(CatalogWatch, TableThatLeavesThePublicationStopsTheStreamAndIsCopiedAnewWhenItIsBack) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
  WalferryProcess& migrate = Follow();
  RunOnSource("ALTER PUBLICATION " + name() +
              " DROP TABLE t; INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)");
  EXPECT_EQ(migrate.Wait(), 1);
  EXPECT_THAT(migrate.err(), HasSubstr("ADD TABLE ONLY \"public\".\"t\""));
  RunOnSource("ALTER PUBLICATION " + name() + " ADD TABLE ONLY t; INSERT INTO t VALUES (2)");
  Migrate();
  ExpectEqualContent(pair_);
  // Out and in again while nobody looked.
  RunOnSource("ALTER PUBLICATION " + name() + " DROP TABLE u; INSERT INTO u VALUES (5); ALTER PUBLICATION " +
              name() + " ADD TABLE ONLY u");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(CatalogWatch, PublicationThatIsNarrowed) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)");
  Migrate();
  RunOnSource("ALTER PUBLICATION " + name() + " SET (publish = 'insert'); UPDATE t SET v = 2");
  EXPECT_THAT(RefusalOf("migrate"), HasSubstr("publish = 'insert,update,delete,truncate'"));
  RunOnSource("ALTER PUBLICATION " + name() + " SET (publish = 'insert,update,delete,truncate')");
  Migrate();
  ExpectEqualContent(pair_);
  RunOnSource("ALTER PUBLICATION " + name() + " SET TABLE t WHERE (v > 100); INSERT INTO t VALUES (2, 5)");
  EXPECT_THAT(RefusalOf("migrate"), HasSubstr("row filter"));
  RunOnSource("ALTER PUBLICATION " + name() + " SET TABLE ONLY t");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(CatalogWatch, TableOfSomebodyElseInThePublicationIsNeverPassedOver) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)");
  Migrate({"--tables", "public.t"});
  RunOnSource("ALTER PUBLICATION " + name() + " ADD TABLE other; INSERT INTO other VALUES (1)");
  EXPECT_THAT(RefusalOf("migrate"),
              AllOf(HasSubstr("public.other"), HasSubstr("DROP TABLE \"public\".\"other\"")));
  RunOnSource("ALTER PUBLICATION " + name() + " DROP TABLE other; INSERT INTO t VALUES (1)");
  Migrate();
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "1");
}

TEST_F(CatalogWatch, PublicationDroppedAndMadeAgainCannotBeGoneOnWith) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY)");
  Migrate();
  RunOnSource("DROP PUBLICATION " + name() + "; INSERT INTO t VALUES (1); CREATE PUBLICATION " + name() +
              " FOR TABLE t");
  EXPECT_THAT(RefusalOf("migrate"), AllOf(HasSubstr("made again"), HasSubstr("cleanup")));
}

TEST_F(CatalogWatch, PartitionThatWasUnloggedIsCopiedAnew) {
  RunOnSource(kTree);
  Migrate();
  RunOnSource("ALTER TABLE p1 SET UNLOGGED; INSERT INTO p VALUES (1000, 1)");
  EXPECT_THAT(RefusalOf("migrate"), AllOf(HasSubstr("public.p1"), HasSubstr("SET LOGGED")));
  RunOnSource("ALTER TABLE p1 SET LOGGED; INSERT INTO p VALUES (1001, 1)");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(CatalogWatch, InsertOnlyTablesLeaveTheApplicationAloneAndAreCopiedAnewOnceTheyWereUpdated) {
  RunOnSource(
      "CREATE TABLE log (id int, v text); CREATE TABLE t (id int PRIMARY KEY); INSERT INTO log VALUES (1, "
      "'a')");
  EXPECT_EQ(Walferry("migrate", {"--until", "caught-up"}).exit_code, 3);
  Migrate({"--no-identity", "insert-only"});
  RunOnSource("INSERT INTO log VALUES (2, 'b'); INSERT INTO t VALUES (1)");
  Migrate();
  EXPECT_EQ(Target("SELECT count(*) FROM log"), "2");
  RunOnSource("UPDATE log SET v = 'c'; DELETE FROM log WHERE id = 2; INSERT INTO log VALUES (3, 'd')");
  EXPECT_TRUE(WaitUntil([&] {
    return Source("SELECT n_tup_upd + n_tup_del FROM pg_stat_all_tables WHERE relname = 'log'") == "3";
  }));
  Migrate();
  ExpectEqualContent(pair_);
  const WalferryRun cleanup = Walferry("cleanup", {"--yes"});
  EXPECT_EQ(cleanup.exit_code, 0) << cleanup.err;
  EXPECT_EQ(Source("SELECT count(*) FROM pg_publication WHERE pubname LIKE '" + name() + "%'"), "0");
}

TEST_F(CatalogWatch, SlotThatKeepsTooMuchWalIsGivenUpBeforeTheSourceIsFull) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, v text)");
  WalferryProcess& migrate = Follow({"--max-slot-wal", "4MB"});
  Connection open = MustConnect(pair_.source_conninfo());
  RunSql(open, "BEGIN; INSERT INTO t VALUES (0, 'open')");
  RunOnSource("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i; CHECKPOINT");
  EXPECT_EQ(migrate.Wait(), 1) << migrate.err();
  EXPECT_THAT(migrate.err(), AllOf(HasSubstr("--max-slot-wal 4"), HasSubstr("cleanup")));
  EXPECT_EQ(Source("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '" + name() + "'"), "0");
  RunSql(open, "COMMIT");
}

TEST_F(CatalogWatch, SlotIsGivenUpWhileTheFirstCopyWaitsForALockOfTheTarget) {
  RunOnBoth("CREATE TABLE o (id int PRIMARY KEY)");
  RunOnSource("CREATE TABLE w (id int, v text); INSERT INTO o VALUES (1)");
  RunOnTarget(
      "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(1); "
      "RETURN new; END';"
      "CREATE TRIGGER wait BEFORE INSERT ON o FOR EACH ROW EXECUTE FUNCTION wait();"
      "ALTER TABLE o ENABLE ALWAYS TRIGGER wait");
  Connection lock = MustConnect(pair_.target_conninfo());
  RunSql(lock, "SELECT pg_advisory_lock(1)");
  WalferryProcess& migrate =
      Begin("migrate", {"--schema", "none", "--exclude-tables", "public.w", "--max-slot-wal", "4MB"});
  ASSERT_TRUE(WaitUntil([&] {
    return Target("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") != "0";
  })) << migrate.err();
  RunOnSource("INSERT INTO w SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i");
  EXPECT_EQ(migrate.Wait(), 1) << migrate.err();
  EXPECT_THAT(migrate.err(), HasSubstr("--max-slot-wal 4"));
  EXPECT_EQ(Source("SELECT count(*) FROM pg_replication_slots"), "0");
}

TEST_F(CatalogWatch, SlotIsGivenUpWhileTheCopyOfAPartitionWaitsForATransaction) {
  RunOnSource(
      "CREATE TABLE w (id int, v text); CREATE TABLE o (id int PRIMARY KEY); CREATE TABLE p (id int, d int, "
      "PRIMARY KEY (id, d)) PARTITION BY RANGE (d); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO "
      "(10)");
  WalferryProcess& migrate = Follow({"--exclude-tables", "public.w", "--max-slot-wal", "4MB"});
  Connection open = MustConnect(pair_.source_conninfo());
  RunSql(open, "BEGIN; INSERT INTO o VALUES (1)");
  RunOnSource(
      "CREATE TABLE p2 (LIKE p INCLUDING ALL); INSERT INTO p2 VALUES (1, 12); ALTER TABLE p ATTACH PARTITION "
      "p2 FOR VALUES FROM (10) TO (20)");
  EXPECT_TRUE(WaitUntil([&] { return migrate.err().find("making a snapshot") != std::string::npos; }))
      << migrate.err();
  RunOnSource("INSERT INTO w SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i");
  EXPECT_EQ(migrate.Wait(), 1) << migrate.err();
  EXPECT_EQ(Source("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '" + name() + "'"), "0");
  RunSql(open, "COMMIT");
}

TEST_F(CatalogWatch, StatementsForANewBranchOfPartitionsCanBeRun) {
  RunOnSource(
      "CREATE TABLE p (id int, d int) PARTITION BY RANGE (d); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM "
      "(0) TO (10); ALTER TABLE p REPLICA IDENTITY FULL; ALTER TABLE p1 REPLICA IDENTITY FULL");
  Migrate();
  RunOnSource(
      "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id);"
      "CREATE TABLE p2a PARTITION OF p2 FOR VALUES IN (1); ALTER TABLE p2a REPLICA IDENTITY FULL;"
      "INSERT INTO p VALUES (1, 12)");
  const std::string said = RefusalOf("migrate", {"--new-partitions", "stop"});
  const std::size_t begin = said.find("CREATE TABLE");
  ASSERT_NE(begin, said.npos) << said;
  RunOnTarget(said.substr(begin, said.find(" and run again") - begin));
  Migrate({"--new-partitions", "stop"});
  ExpectSame("SELECT tableoid::regclass, id, d FROM p");
}

TEST_F(CatalogWatch, DroppedBeforeItsCopyIsNoPartOfTheMigrationAnyMore) {
  RunOnSource(
      "CREATE TABLE a (id int PRIMARY KEY, t text); INSERT INTO a SELECT i, repeat('x', 300) FROM "
      "generate_series(1, "
      "200000) i; CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY)");
  WalferryProcess& migrate = Begin("migrate", {"--copy-jobs", "1", "--until", "caught-up"});
  EXPECT_TRUE(WaitUntil([&] { return migrate.err().find("schema created") != std::string::npos; }))
      << migrate.err();
  RunOnSource("DROP TABLE b");
  migrate.Wait();
  Migrate();
  EXPECT_EQ(Target("SELECT count(*) FROM a"), "200000");
  ExpectSame("SELECT count(*) FROM c");

  // It is on the target only, which is for somebody to decide.
  const nlohmann::json differences = Status().at("catalog_differences");
  ASSERT_EQ(differences.size(), 1) << differences;
  EXPECT_EQ(differences[0].at("kind"), "dropped-tables");
  EXPECT_EQ(differences[0].at("object"), "public.b");
  EXPECT_THAT(Walferry("cutover", {"--fence", "none"}).err, HasSubstr("public.b was dropped on the source"));
  RunOnTarget(differences[0].at("command"));
  EXPECT_EQ(Status().at("catalog_differences").size(), 0);
  EXPECT_EQ(Walferry("verify").exit_code, 0);
}

// It holds the migration's lock no more.
TEST_F(CatalogWatch, LostTargetConnectionEndsARunThatWaitsForTheSource) {
  RunOnSource(kTree);
  Migrate();
  Connection locker = MustConnect(pair_.source_conninfo());
  RunSql(locker, "BEGIN; LOCK TABLE pg_catalog.pg_publication_rel IN ACCESS EXCLUSIVE MODE");
  WalferryProcess& migrate = Begin("migrate");
  ASSERT_TRUE(WaitUntil([&] { return migrate.err().find("trying again") != std::string::npos; }))
      << migrate.err();
  RunOnTarget(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
      "application_name LIKE 'walferry %'");
  RunSql(locker, "ROLLBACK");
  EXPECT_EQ(migrate.Wait(absl::Seconds(20)), 75) << migrate.err();

  RunSql(locker, "BEGIN; LOCK TABLE pg_catalog.pg_publication_rel IN ACCESS EXCLUSIVE MODE");
  std::vector<std::string> impatient = Arguments("migrate");
  impatient.back() = "1s";
  const WalferryRun gave_up = RunWalferry(impatient);
  EXPECT_EQ(gave_up.exit_code, 75);
  EXPECT_THAT(gave_up.err, HasSubstr("gave up for now"));
  RunSql(locker, "ROLLBACK");
  Migrate();
}

}  // namespace
}  // namespace walferry
