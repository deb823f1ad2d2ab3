// Rows of tables with each kind of identity, from the first copy through inserts, updates and deletes.
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using ::testing::HasSubstr;

class Row : public MigrationTest {};

TEST_F(Row, CopyAndChangesOfEveryKindOfIdentityArrive) {
  RunOnBoth(
      "CREATE TABLE keyed (id int PRIMARY KEY, a text); CREATE TABLE unkeyed (a int, b text);"
      "CREATE TABLE including (id int, v int NOT NULL, t text, PRIMARY KEY (id) INCLUDE (t));"
      "CREATE TABLE columnless (); CREATE TABLE indexed (id int, k int NOT NULL UNIQUE);"
      "CREATE TABLE full_identity (a int, b text)");
  RunOnSource(
      "CREATE TABLE reordered (a int PRIMARY KEY, b text, c numeric);"
      "ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_k_key;"
      "ALTER TABLE full_identity REPLICA IDENTITY FULL; ALTER TABLE unkeyed REPLICA IDENTITY NOTHING;"
      "INSERT INTO keyed SELECT i, 'copied' FROM generate_series(1, 20) i; INSERT INTO unkeyed VALUES (1, "
      "'copied');"
      "INSERT INTO including VALUES (1, 1, 'copied'), (2, 2, 'copied'); INSERT INTO columnless DEFAULT "
      "VALUES;"
      "INSERT INTO indexed VALUES (1, 1), (2, 2); INSERT INTO full_identity VALUES (1, 'x'), (1, 'x'), (2, "
      "NULL);"
      "INSERT INTO reordered VALUES (1, 'copied', 1.5)");
  RunOnTarget("CREATE TABLE reordered (c numeric, b text, a int PRIMARY KEY)");
  Migrate({"--schema", "none", "--no-identity", "insert-only"});
  ExpectSame("SELECT a, b, c FROM reordered ORDER BY a");
  EXPECT_EQ(Target("SELECT count(*) FROM keyed"), "20");

  RunOnSource(
      "INSERT INTO keyed SELECT i, 'new' FROM generate_series(21, 30) i; DELETE FROM keyed WHERE id > 25;"
      "UPDATE keyed SET id = -id WHERE id < 5; INSERT INTO unkeyed VALUES (1, 'copied'), (3, NULL);"
      "UPDATE including SET t = 'changed' WHERE id = 1; DELETE FROM including WHERE id = 2;"
      "INSERT INTO columnless DEFAULT VALUES; INSERT INTO columnless DEFAULT VALUES;"
      "UPDATE indexed SET id = 10, k = 10 WHERE k = 1; DELETE FROM indexed WHERE k = 2;"
      "UPDATE full_identity SET b = 'y' WHERE b IS NULL;"
      "DELETE FROM full_identity WHERE ctid = (SELECT min(ctid) FROM full_identity WHERE a = 1);"
      "UPDATE reordered SET b = 'changed'; INSERT INTO reordered VALUES (2, 'new', 2.50)");
  Migrate();
  for (const std::string table :
       {"keyed", "unkeyed", "including", "columnless", "indexed", "full_identity"}) {
    ExpectSame("SELECT t::text FROM " + table + " t ORDER BY 1");
  }
  ExpectSame("SELECT a, b, c FROM reordered ORDER BY a");
  EXPECT_EQ(Status().at("totals").at("missing_rows"), 0);
}

TEST_F(Row, FullIdentityFindsRowsByAllPublishedColumnsAndLeavesTheTargetsOwnAlone) {
  RunOnSource(
      "CREATE TABLE twice (a int, b text); CREATE TABLE own (a int, b text); CREATE TABLE keyed (id int "
      "PRIMARY KEY, t text);"
      "ALTER TABLE twice REPLICA IDENTITY FULL; ALTER TABLE own REPLICA IDENTITY FULL;"
      "ALTER TABLE keyed REPLICA IDENTITY FULL");
  RunOnTarget(
      "CREATE TABLE twice (a int, b text); CREATE TABLE own (b text, d text DEFAULT 'local', a int);"
      "CREATE TABLE keyed (id int PRIMARY KEY, t text)");
  Publish();
  RunOnSource(
      "INSERT INTO twice SELECT 1, repeat('word ', 3000) FROM generate_series(1, 3);"
      "INSERT INTO own VALUES (1, 'x'), (2, NULL); INSERT INTO keyed VALUES (1, 'x'), (2, 'x')");
  Stream();
  RunOnTarget("UPDATE own SET d = 'kept' WHERE a = 1");
  RunOnSource(
      "UPDATE twice SET a = 2 WHERE ctid = (SELECT min(ctid) FROM twice);"
      "DELETE FROM twice WHERE ctid = (SELECT max(ctid) FROM twice WHERE a = 1);"
      "UPDATE own SET b = 'y'; UPDATE keyed SET id = 3, t = NULL WHERE id = 1; DELETE FROM keyed WHERE id = "
      "2");
  Stream();
  ExpectSame("SELECT a, md5(b) FROM twice ORDER BY 1, 2");
  EXPECT_EQ(Target("SELECT a, b, d FROM own ORDER BY a"), "1|y|kept\n2|y|local");
  EXPECT_EQ(Target("SELECT id, t FROM keyed"), "3|NULL");
  EXPECT_EQ(Status().at("totals").at("missing_rows"), 0);
}

TEST_F(Row, MissingRowsAreCountedByTableAndDoNotStopTheStream) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE f (a int, b text)");
  RunOnSource(
      "ALTER TABLE f REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 'x'), (2, 'x'), (3, 'x'); INSERT INTO f "
      "VALUES (1, 'x')");
  Publish();
  RunOnSource("UPDATE t SET a = 'y' WHERE id = 1; DELETE FROM t WHERE id = 2; DELETE FROM f");
  RunOnSource("INSERT INTO t VALUES (4, 'last')");
  Stream();
  EXPECT_EQ(Target("SELECT id, a FROM t"), "4|last");
  EXPECT_EQ(TableStatus("public.t").at("missing_rows"), 2);
  EXPECT_EQ(TableStatus("public.f").at("missing_rows"), 1);
}

TEST_F(Row, MissingRowStopsTheStreamWhereAskedFor) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text)");
  RunOnSource("INSERT INTO t VALUES (1, 'x')");
  Publish();
  RunOnSource("UPDATE t SET a = 'secret' WHERE id = 1");
  const std::string refusal = RefusalOf("stream", {"--on-missing-row", "stop"});
  EXPECT_THAT(refusal, HasSubstr("public.t"));
  EXPECT_THAT(refusal, ::testing::Not(HasSubstr("secret")));
  RunOnTarget("INSERT INTO t VALUES (1, 'x')");
  Stream({"--on-missing-row", "stop"});
  EXPECT_EQ(Target("SELECT id, a FROM t"), "1|secret");
}

TEST_F(Row, LargeValuesArriveAndUnchangedOnesAreKept) {
  RunOnSource(
      "CREATE TABLE big (id int PRIMARY KEY, t text, j jsonb, n int); ALTER TABLE big ALTER t SET STORAGE "
      "EXTERNAL;"
      "CREATE TABLE big_key (k text PRIMARY KEY, n int); ALTER TABLE big_key ALTER k SET STORAGE EXTERNAL;"
      "INSERT INTO big SELECT i, repeat('0123456789', 20000 + i), NULL, 0 FROM generate_series(1, 3) i");
  Migrate();
  RunOnSource(
      "UPDATE big SET n = 1; INSERT INTO big VALUES (4, repeat('x', 500000), NULL, 1);"
      "UPDATE big SET j = jsonb_build_object('a', repeat('y', 9000)) WHERE id = 2;"
      "UPDATE big SET id = 30 WHERE id = 3; UPDATE big SET t = NULL WHERE id = 1; UPDATE big SET n = 2;"
      "INSERT INTO big_key VALUES (repeat('k', 2600), 1); UPDATE big_key SET n = 2");
  Migrate();
  ExpectSame("SELECT id, length(t), md5(t), md5(j::text), n FROM big ORDER BY id");
  ExpectSame("SELECT md5(k), n FROM big_key");
  EXPECT_EQ(Target("SELECT length(t) FROM big WHERE id = 30"), "200030");
}

TEST_F(Row, DroppedColumnsOfEitherSideAreNotInTheWay) {
  RunOnSource(
      "CREATE TABLE t (gone int, id int PRIMARY KEY, a text, b int); ALTER TABLE t DROP gone;"
      "CREATE TABLE f (a int, gone text, b text); ALTER TABLE f REPLICA IDENTITY FULL");
  RunOnTarget(
      "CREATE TABLE t (id int PRIMARY KEY, a text, gone text, gone_too int, b int); ALTER TABLE t DROP gone, "
      "DROP gone_too; CREATE TABLE f (a int, b text)");
  Publish();
  RunOnSource(
      "INSERT INTO t VALUES (1, 'x', 1), (2, 'x', 2); INSERT INTO f VALUES (1, 'x', NULL), (2, 'x', 'x')");
  RunOnSource("ALTER TABLE t DROP b; ALTER TABLE f DROP gone");
  RunOnSource("UPDATE t SET a = 'y' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (3, 'z')");
  RunOnSource("UPDATE f SET b = 'y' WHERE a = 1; DELETE FROM f WHERE a = 2");
  RunOnTarget("ALTER TABLE f ADD gone text");
  Stream();
  EXPECT_EQ(Target("SELECT id, a, b FROM t ORDER BY id"), "1|y|1\n3|z|NULL");
  EXPECT_EQ(Target("SELECT a, b FROM f"), "1|y");
  EXPECT_EQ(Status().at("totals").at("missing_rows"), 0);
}

TEST_F(Row, KeyOfIdentityAlwaysColumnsIsUpdated) {
  RunOnSource(
      "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text);"
      "INSERT INTO t (a) VALUES ('one'), ('two'), ('three')");
  Migrate();
  RunOnSource(
      "UPDATE t SET id = DEFAULT WHERE a = 'one'; UPDATE t SET a = 'TWO' WHERE a = 'two'; INSERT INTO t (a) "
      "VALUES ('new'); DELETE FROM t WHERE a = 'three'");
  Migrate();
  ExpectSame("SELECT id, a FROM t ORDER BY id");
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "3");
}

TEST_F(Row, ValuesSwappedUnderADeferrableUniqueConstraint) {
  RunOnSource(
      "CREATE TABLE t (id int PRIMARY KEY, place int UNIQUE DEFERRABLE INITIALLY DEFERRED);"
      "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)");
  Migrate();
  RunOnSource("UPDATE t SET place = 4 - place; INSERT INTO t VALUES (4, 4)");
  RunOnSource("BEGIN; UPDATE t SET place = 4 WHERE id = 1; UPDATE t SET place = 3 WHERE id = 4; COMMIT");
  Migrate();
  EXPECT_EQ(Target("SELECT id, place FROM t ORDER BY id"), "1|4\n2|2\n3|1\n4|3");
}

}  // namespace
}  // namespace walferry
