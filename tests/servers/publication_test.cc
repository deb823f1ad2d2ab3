// What the source publishes: publications that change, row filters, column lists, and shapes that change
// while the stream goes on.
#include <signal.h>

#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class PublicationOf : public MigrationTest {};

TEST_F(PublicationOf, TablesAddedAndDroppedWhileTheStreamRuns) {
  RunOnBoth("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)");
  Publish("FOR TABLE a");
  WalferryProcess& stream = Begin("stream", SlotArguments());
  RunOnSource("INSERT INTO b VALUES (1); INSERT INTO a VALUES (1)");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM a", "1"));
  RunOnSource("ALTER PUBLICATION p ADD TABLE b");
  RunOnSource("INSERT INTO b VALUES (2); INSERT INTO a VALUES (2)");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM a", "2"));
  EXPECT_EQ(Target("SELECT id FROM b"), "2");
  RunOnSource("ALTER PUBLICATION p DROP TABLE b");
  RunOnSource("INSERT INTO b VALUES (3); INSERT INTO a VALUES (3)");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM a", "3"));
  EXPECT_EQ(Target("SELECT id FROM b"), "2");
  stream.Signal(SIGTERM);
  EXPECT_EQ(stream.Wait(), 0) << stream.err();
}

TEST_F(PublicationOf, NewTableOfAllTablesStopsUntilTheTargetHasIt) {
  RunOnBoth("CREATE TABLE a (id int PRIMARY KEY)");
  Publish();
  RunOnSource("INSERT INTO a VALUES (1)");
  Stream();
  RunOnSource("CREATE TABLE b (id int PRIMARY KEY)");
  RunOnSource("INSERT INTO a VALUES (2)");
  RunOnSource("INSERT INTO b VALUES (1); INSERT INTO a VALUES (3)");
  EXPECT_THAT(RefusalOf("stream"), HasSubstr("public.b"));
  EXPECT_EQ(Target("SELECT max(id) FROM a"), "2");
  RunOnTarget("CREATE TABLE b (id int PRIMARY KEY)");
  Stream();
  ExpectEqualContent(pair_);
}

TEST_F(PublicationOf, TablesInSchema) {
  RunOnBoth(
      "CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)");
  Publish("FOR TABLES IN SCHEMA s");
  RunOnSource("INSERT INTO s.t VALUES (1); INSERT INTO other VALUES (1)");
  Stream();
  RunOnBoth("CREATE TABLE s.later (id int PRIMARY KEY); ALTER TABLE other SET SCHEMA s");
  RunOnSource("INSERT INTO s.later VALUES (1); INSERT INTO s.other VALUES (2)");
  Stream();
  EXPECT_EQ(Target("SELECT id FROM s.t"), "1");
  EXPECT_EQ(Target("SELECT id FROM s.later"), "1");
  EXPECT_EQ(Target("SELECT id FROM s.other"), "2");
}

TEST_F(PublicationOf, KindsThatAreNotPublishedStayOut) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text)");
  Publish("FOR TABLE t WITH (publish = 'insert, delete')");
  RunOnSource("INSERT INTO t VALUES (1, 'x'), (2, 'x'); UPDATE t SET a = 'y'; DELETE FROM t WHERE id = 2");
  Stream();
  EXPECT_EQ(Target("SELECT id, a FROM t"), "1|x");
  RunOnSource("ALTER PUBLICATION p SET (publish = 'insert, update, delete, truncate')");
  RunOnSource("UPDATE t SET a = 'z'");
  Stream();
  EXPECT_EQ(Target("SELECT id, a FROM t"), "1|z");
}

TEST_F(PublicationOf, ColumnListLeavesTheOtherColumnsAlone) {
  RunOnBoth("CREATE TABLE t (secret text DEFAULT 'local', id int PRIMARY KEY, a text)");
  Publish("FOR TABLE t (a, id)");
  RunOnSource("INSERT INTO t VALUES ('s', 1, 'x'), ('s', 2, 'x')");
  Stream();
  RunOnTarget("UPDATE t SET secret = 'kept' WHERE id = 1");
  RunOnSource("UPDATE t SET a = 'y', id = id + 10; DELETE FROM t WHERE id = 12; UPDATE t SET secret = 'new'");
  Stream();
  EXPECT_EQ(Target("SELECT secret, id, a FROM t"), "kept|11|y");
}

TEST_F(PublicationOf, SourceRestartedWhileTheStreamRuns) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY)");
  Publish();
  WalferryProcess& stream = Begin("stream", SlotArguments());
  RunOnSource("INSERT INTO t VALUES (1)");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM t", "1"));
  // A fast shutdown waits for the walsender, which waits for the stream to confirm everything.
  RestartSource("fast");
  RunOnSource("INSERT INTO t VALUES (2)");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM t", "2"));
  stream.Signal(SIGTERM);
  EXPECT_EQ(stream.Wait(), 0) << stream.err();
}

TEST_F(PublicationOf, SlotThatForgotConfirmationsInACrashRepeatsNothing) {
  RunOnBoth("CREATE TABLE t (a int)");
  Publish("FOR TABLE t");
  RunOnSource("CHECKPOINT; INSERT INTO t VALUES (1)");
  Stream();
  const std::string position =
      "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '" + slot() + "'";
  const std::string confirmed = Source(position);
  RestartSource("immediate");
  EXPECT_EQ(Source("SELECT pg_lsn '" + confirmed + "' > (" + position + ")"), "t")
      << "the slot forgot nothing";
  RunOnSource("INSERT INTO t VALUES (2)");
  Stream();
  EXPECT_EQ(Target("SELECT a FROM t ORDER BY 1"), "1\n2");
}

TEST_F(PublicationOf, SlotAdvancedBySomebodyElseIsRefused) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY)");
  Publish();
  RunOnSource("INSERT INTO t VALUES (1)");
  Stream();
  RunOnSource("INSERT INTO t VALUES (2)");
  RunOnSource("SELECT pg_replication_slot_advance('" + slot() + "', pg_current_wal_lsn())");
  RunOnSource("INSERT INTO t VALUES (3)");
  EXPECT_THAT(RefusalOf("stream"), HasSubstr(slot()));
  EXPECT_EQ(Target("SELECT id FROM t"), "1");
}

class RowFilter : public MigrationTest {};

TEST_F(RowFilter, UpdatesAcrossTheFilterBecomeInsertsAndDeletes) {
  RunOnBoth("CREATE TABLE t (id int, k int, a text, PRIMARY KEY (id, k))");
  Publish("FOR TABLE t WHERE (k > 10)");
  RunOnSource("INSERT INTO t VALUES (1, 11, 'in'), (2, 1, 'out'), (3, 12, 'in'), (4, 2, 'out')");
  Stream();
  EXPECT_EQ(Target("SELECT id FROM t ORDER BY id"), "1\n3");
  RunOnSource(
      "UPDATE t SET k = 20 WHERE id = 2; UPDATE t SET k = 5 WHERE id = 1; UPDATE t SET k = 3 WHERE id = 4;"
      "UPDATE t SET a = 'still in' WHERE id = 3; DELETE FROM t WHERE id = 4");
  Stream();
  EXPECT_EQ(Target("SELECT id, k, a FROM t ORDER BY id"), "2|20|out\n3|12|still in");
  EXPECT_EQ(TableStatus("public.t").at("missing_rows"), 0);
  // A truncation is not filtered.
  RunOnSource("TRUNCATE t");
  Stream();
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "0");
}

TEST_F(RowFilter, InsertThatLacksAnUnchangedValueIsRefusedAndNeverMadeNull) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, big text)");
  RunOnSource("ALTER TABLE t ALTER big SET STORAGE EXTERNAL");
  Publish("FOR TABLE t WHERE (id > 10)");
  RunOnSource("INSERT INTO t VALUES (1, repeat('x', 10000)), (11, 'small')");
  Stream();
  // The row comes in by an UPDATE that does not carry `big`.
  RunOnSource("UPDATE t SET id = 20 WHERE id = 1");
  EXPECT_THAT(RefusalOf("stream"), AllOf(HasSubstr("public.t"), HasSubstr("big")));
  EXPECT_EQ(Target("SELECT id FROM t"), "11");
}

TEST_F(RowFilter, FilterThatFailsStopsTheStreamWithTheSourcesWords) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY)");
  Publish("FOR TABLE t WHERE (1 / (id - 5) > -100)");
  RunOnSource("INSERT INTO t VALUES (1)");
  Stream();
  RunOnSource("INSERT INTO t VALUES (5)");
  const WalferryRun run = Walferry("stream", {"--until", "caught-up"});
  EXPECT_NE(run.exit_code, 0);
  EXPECT_THAT(run.err, HasSubstr("division by zero"));
  EXPECT_EQ(Target("SELECT id FROM t"), "1");
}

class ChangedShape : public MigrationTest {};

TEST_F(ChangedShape, ReplicaIdentityChangesBetweenChanges) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, k int NOT NULL, a text); CREATE UNIQUE INDEX t_k ON t (k)");
  Publish();
  RunOnSource("INSERT INTO t SELECT i, 100 + i, 'x' FROM generate_series(1, 6) i");
  RunOnSource("UPDATE t SET a = 'by key' WHERE id = 1; ALTER TABLE t REPLICA IDENTITY USING INDEX t_k");
  RunOnSource("UPDATE t SET k = 202, id = 12 WHERE id = 2; DELETE FROM t WHERE id = 3");
  RunOnSource("ALTER TABLE t REPLICA IDENTITY FULL");
  RunOnSource("UPDATE t SET id = 14, k = 204 WHERE id = 4; DELETE FROM t WHERE id = 5");
  RunOnSource("ALTER TABLE t REPLICA IDENTITY DEFAULT; DROP INDEX t_k");
  RunOnSource("UPDATE t SET id = 16 WHERE id = 6");
  Stream();
  ExpectSame("SELECT id, k, a FROM t ORDER BY id");
  EXPECT_EQ(TableStatus("public.t").at("missing_rows"), 0);
}

TEST_F(ChangedShape, RenamedSchemaAndTableAreFoundByTheirNewNames) {
  RunOnBoth("CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY)");
  RunOnTarget(
      "CREATE SCHEMA r; CREATE TABLE r.t (id int PRIMARY KEY); CREATE TABLE r.u (id int PRIMARY KEY)");
  Publish();
  Begin("stream", SlotArguments());
  RunOnSource("INSERT INTO s.t VALUES (1)");
  ASSERT_TRUE(TargetComesTo("SELECT id FROM s.t", "1"));
  // A source before version 16 does not tell of a renamed schema until the table itself is altered.
  RunOnSource("ALTER SCHEMA s RENAME TO r; ALTER TABLE r.t ALTER id SET STATISTICS 50");
  RunOnSource("INSERT INTO r.t VALUES (2)");
  ASSERT_TRUE(TargetComesTo("SELECT id FROM r.t", "2"));
  RunOnSource("ALTER TABLE r.t RENAME TO u");
  RunOnSource("INSERT INTO r.u VALUES (3)");
  ASSERT_TRUE(TargetComesTo("SELECT id FROM r.u", "3"));
  EXPECT_EQ(Target("SELECT id FROM s.t"), "1");
}

TEST_F(ChangedShape, TablesThatExchangedTheirNamesStopTheStreamOfAnAdoptedSlot) {
  RunOnBoth("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)");
  Publish("FOR TABLE a, b");
  RunOnSource("INSERT INTO a VALUES (1); INSERT INTO b VALUES (2)");
  Stream();
  ExpectEqualContent(pair_);
  RunOnSource(
      "ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b; INSERT INTO a VALUES "
      "(3)");
  EXPECT_THAT(RefusalOf("stream"), HasSubstr("is another one than when the slot was adopted"));
  EXPECT_EQ(Target("SELECT count(*) FROM a"), "1");
}

TEST_F(ChangedShape, ColumnWithADefaultThatOldRowsNeverStored) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE f (id int)");
  RunOnSource("ALTER TABLE f REPLICA IDENTITY FULL");
  Publish();
  RunOnSource("INSERT INTO t VALUES (1, 'x'), (2, 'x'); INSERT INTO f VALUES (1), (2)");
  RunOnBoth(
      "ALTER TABLE t ADD b text DEFAULT 'filled', ADD c int DEFAULT 7; ALTER TABLE f ADD b text DEFAULT "
      "'old'");
  RunOnTarget("ALTER TABLE t ALTER b SET DEFAULT 'wrong'");
  RunOnSource(
      "UPDATE t SET a = 'y' WHERE id = 1; UPDATE f SET b = 'new' WHERE id = 1; DELETE FROM f WHERE id = 2");
  RunOnSource("INSERT INTO t (id) VALUES (3)");
  Stream();
  EXPECT_EQ(Target("SELECT id, a, b, c FROM t WHERE id IN (1, 3) ORDER BY id"),
            "1|y|filled|7\n3|NULL|filled|7");
  ExpectSame("SELECT id, b FROM f");
}

TEST_F(ChangedShape, ColumnAddedOnTheSourceAloneStopsUntilTheTargetHasIt) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x')");
  Migrate();
  RunOnSource("INSERT INTO t VALUES (2, 'before'); ALTER TABLE t ADD extra int");
  RunOnSource("UPDATE t SET extra = 5 WHERE id = 1; INSERT INTO t VALUES (3, 'after', 6)");
  EXPECT_THAT(RefusalOf("migrate"),
              AllOf(HasSubstr("public.t"), HasSubstr("extra"), HasSubstr("ADD COLUMN \"extra\"")));
  EXPECT_EQ(Target("SELECT id, a FROM t ORDER BY id"), "1|x\n2|before");
  RunOnTarget("ALTER TABLE t ADD extra int");
  Migrate();
  ExpectSame("SELECT id, a, extra FROM t ORDER BY id");
}

TEST_F(ChangedShape, RefusedChangeThatIsSkippedDoesNotHoldTheOthersUp) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text)");
  Publish();
  RunOnTarget("INSERT INTO t VALUES (1, 'in the way')");
  RunOnSource("INSERT INTO t VALUES (1, 'x')");
  RunOnSource("INSERT INTO t VALUES (2, 'x')");
  EXPECT_THAT(RefusalOf("stream"), AllOf(HasSubstr("public.t"), HasSubstr("t_pkey")));
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "1");
  Stream({"--on-conflict", "skip-logged"});
  RunOnSource("INSERT INTO t VALUES (3, 'x')");
  Stream();
  EXPECT_EQ(Target("SELECT id, a FROM t ORDER BY id"), "1|in the way\n2|x\n3|x");
  EXPECT_EQ(TableStatus("public.t").at("conflicts"), 1);
}

TEST_F(PublicationOf, ColumnListIsAllThatTheTargetNeedsAndThatVerifyCompares) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, a text, secret text)");
  RunOnTarget("CREATE TABLE t (id int PRIMARY KEY, a text)");
  Publish("FOR TABLE t (id, a)");
  RunOnSource("INSERT INTO t VALUES (1, 'x', 's'), (2, 'y', 's'); UPDATE t SET a = 'z' WHERE id = 2");
  Stream();
  EXPECT_EQ(Walferry("verify").exit_code, 0);
  RunOnTarget("UPDATE t SET a = 'other' WHERE id = 1");
  EXPECT_EQ(Walferry("verify").exit_code, 4);
}

TEST_F(PublicationOf, SeveralAtOnce) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
  Publish("FOR TABLE t WHERE (id % 2 = 0)");
  RunOnSource("CREATE PUBLICATION \"a,b\" FOR TABLE t WHERE (id % 3 = 0), u");
  const std::vector<std::string> both = {"--slot",    slot(),    "--publication",
                                         "p,\"a,b\"", "--until", "caught-up"};
  // The publications have to be there where the slot's changes are decoded.
  RunOnSource("SELECT pg_drop_replication_slot('" + slot() + "')");
  RunOnSource("SELECT pg_create_logical_replication_slot('" + slot() + "', 'pgoutput')");
  RunOnSource("INSERT INTO t SELECT generate_series(1, 12); INSERT INTO u VALUES (1)");
  const WalferryRun missing = Walferry("stream", {"--slot", slot(), "--publication", "p,nope"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.err, HasSubstr("publication nope does not exist"));
  const WalferryRun first = Walferry("stream", both);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(Target("SELECT count(*), (SELECT count(*) FROM u) FROM t"), "8|1");
  RunOnSource("INSERT INTO u VALUES (2)");
  const WalferryRun again = Walferry("stream", {"--until", "caught-up"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(Target("SELECT count(*) FROM u"), "2");
}

TEST_F(PublicationOf, DifferentColumnListsAreRefused) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text)");
  Publish("FOR TABLE t (id)");
  RunOnSource("CREATE PUBLICATION q FOR TABLE t");
  const WalferryRun refused = Walferry("stream", {"--slot", slot(), "--publication", "p,q"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("different column lists"), HasSubstr("public.t")));
}

// As the built-in subscription takes it.
TEST_F(PublicationOf, TablesMayComeLater) {
  RunOnBoth("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int[] PRIMARY KEY, v xml)");
  RunOnSource("INSERT INTO a VALUES (1); CREATE TABLE c (id int PRIMARY KEY)");
  Publish("");
  Stream();
  RunOnSource("ALTER PUBLICATION p ADD TABLE a, b; INSERT INTO a VALUES (2)");
  RunOnSource("INSERT INTO b VALUES ('{1,2}', '<x/>'); DELETE FROM b; INSERT INTO b VALUES ('{3}', NULL)");
  Stream();
  EXPECT_EQ(Target("SELECT id FROM a"), "2") << "rows from before are not copied";
  ExpectSame("SELECT id, v::text FROM b");
  RunOnSource("ALTER PUBLICATION p ADD TABLE c; INSERT INTO c VALUES (1)");
  EXPECT_THAT(RefusalOf("stream"), HasSubstr("public.c"));
  RunOnTarget("CREATE TABLE c (id int PRIMARY KEY)");
  Stream();
  EXPECT_EQ(Target("SELECT id FROM c"), "1");
}

}  // namespace
}  // namespace walferry
