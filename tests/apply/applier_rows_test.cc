// Rows: how they are identified and what is set. Every test streams from a real source to a real target.
#include "gmock/gmock.h"
#include "tests/apply/apply_stream.h"

namespace walferry {
namespace {

using ::testing::HasSubstr;

class ApplierRows : public ApplyTest {};

TEST_F(ApplierRows, InsertUpdateDeleteByPrimaryKey) {
  pair_.RunOnBoth(
      "CREATE TABLE t (id int PRIMARY KEY, a text, b numeric); INSERT INTO t VALUES (1, 'one', 1.10)");
  BeginMigration();
  ApplyAndCompare(
      "INSERT INTO t VALUES (2, NULL, NULL), (3, '', 'NaN'), (4, E'quote '' backslash \\\\ \\n', -0.00); "
      "UPDATE t SET a = NULL WHERE id = 1; UPDATE t SET a = 'two', b = 2 WHERE id = 2; DELETE FROM t WHERE "
      "id = 3");
  EXPECT_EQ(CountersOf(counters_, "t"), (TableCounters{.inserts = 3, .updates = 2, .deletes = 1}));
  EXPECT_EQ(counters_.changes, 6U);
}

TEST_F(ApplierRows, MixedCaseAndQuotesInNames) {
  pair_.RunOnBoth(
      "CREATE SCHEMA \"My \"\"Schema\"; CREATE TABLE \"My \"\"Schema\".\"Order\" (\"Id\" int PRIMARY KEY, "
      "\"select\" text, \"a\"\"b\" text)");
  BeginMigration();
  ApplyAndCompare(
      "INSERT INTO \"My \"\"Schema\".\"Order\" VALUES (1, 'a', 'b'), (2, 'c', 'd'); UPDATE \"My "
      "\"\"Schema\".\"Order\" "
      "SET \"select\" = 'x' WHERE \"Id\" = 1; DELETE FROM \"My \"\"Schema\".\"Order\" WHERE \"Id\" = 2; "
      "TRUNCATE "
      "\"My \"\"Schema\".\"Order\"; INSERT INTO \"My \"\"Schema\".\"Order\" VALUES (3, 'e', 'f')");
}

TEST_F(ApplierRows, KeyUpdateMovesTheRow) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'one'), (2, 'two')");
  BeginMigration();
  ApplyAndCompare("UPDATE t SET id = 10 WHERE id = 1; UPDATE t SET id = id + 1, a = 'moved' WHERE id = 2");
  EXPECT_EQ(CountersOf(counters_, "t").missing_rows, 0);
}

TEST_F(ApplierRows, ReplicaIdentityIndex) {
  pair_.RunOnBoth(
      "CREATE TABLE t (id int PRIMARY KEY, u int NOT NULL, a text); CREATE UNIQUE INDEX t_u ON t (u); "
      "INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b')");
  pair_.RunOnSource("ALTER TABLE t REPLICA IDENTITY USING INDEX t_u");
  BeginMigration();
  ApplyAndCompare(
      "UPDATE t SET a = 'x', id = 5 WHERE u = 10; UPDATE t SET u = 21 WHERE u = 20; DELETE FROM t WHERE u = "
      "10");
}

TEST_F(ApplierRows, IdentityWithoutAnIndexOnTheTargetTouchesOneRow) {
  pair_.RunOnSource("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'a'), (2, 'a')");
  pair_.RunOnTarget("CREATE TABLE t (id int, a text); INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'a')");
  BeginMigration();
  pair_.RunOnSource("UPDATE t SET a = 'new' WHERE id = 2; DELETE FROM t WHERE id = 1");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT * FROM t ORDER BY a"), "3|a\n2|new");
}

TEST_F(ApplierRows, FullIdentityTouchesExactlyOneOfTwoEqualRows) {
  pair_.RunOnBoth(
      "CREATE TABLE t (a int, b text, c numeric); INSERT INTO t VALUES (1, 'x', NULL), (1, 'x', NULL), "
      "(NULL, NULL, "
      "NULL), (NULL, NULL, NULL), (2, NULL, 1.0), (2, NULL, 1.00)");
  pair_.RunOnSource("ALTER TABLE t REPLICA IDENTITY FULL");
  BeginMigration();
  ApplyAndCompare(
      "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE a = 1); "
      "UPDATE t SET b = 'y' WHERE ctid = (SELECT min(ctid) FROM t WHERE a IS NULL); "
      "DELETE FROM t WHERE a = 2 AND c::text = '1.00'");
  EXPECT_EQ(CountersOf(counters_, "t").missing_rows, 0);
}

TEST_F(ApplierRows, FullIdentityUsesTheTargetsPrimaryKey) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'source')");
  pair_.RunOnSource("ALTER TABLE t REPLICA IDENTITY FULL");
  BeginMigration();
  pair_.RunOnTarget("UPDATE t SET a = 'differs'");
  ApplyAndCompare("UPDATE t SET a = 'new' WHERE id = 1; UPDATE t SET id = 2");
}

TEST_F(ApplierRows, UnchangedToastKeepsTheValue) {
  pair_.RunOnBoth(
      "CREATE TABLE t (id int PRIMARY KEY, n int, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL; "
      "INSERT INTO t SELECT i, 0, repeat('v' || i, 5000) FROM generate_series(1, 3) i");
  BeginMigration();
  ApplyAndCompare(
      "UPDATE t SET n = 1 WHERE id = 1; UPDATE t SET id = 20 WHERE id = 2; UPDATE t SET big = 'short' WHERE "
      "id = 3");
  EXPECT_EQ(Target("SELECT length(big) FROM t WHERE id = 20"), "10000");
}

TEST_F(ApplierRows, UpdateThatSetsNothingStillLooksForItsRow) {
  pair_.RunOnBoth(
      "CREATE TABLE t (id int PRIMARY KEY, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL; "
      "INSERT INTO t SELECT i, repeat('v', 9000) FROM generate_series(1, 2) i");
  BeginMigration();
  pair_.RunOnTarget("DELETE FROM t WHERE id = 2");
  pair_.RunOnSource("UPDATE t SET id = id");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(CountersOf(counters_, "t"), (TableCounters{.updates = 2, .missing_rows = 1, .one_by_one = 2}));
}

TEST_F(ApplierRows, InsertWithUnchangedToastIsRefused) {
  pair_.RunOnBoth(
      "CREATE TABLE t (id int, f bool, big text, PRIMARY KEY (id, f)); ALTER TABLE t ALTER big SET STORAGE "
      "EXTERNAL");
  pair_.RunOnSource("INSERT INTO t VALUES (1, false, repeat('v', 9000))");
  BeginMigration("FOR TABLE t WHERE (f)");
  pair_.RunOnSource("UPDATE t SET f = true");
  const absl::Status status = CatchUp();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("large column big"));
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "0");
}

TEST_F(ApplierRows, GeneratedAlwaysIdentityIsInsertedAndLeftAlone) {
  pair_.RunOnBoth("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text)");
  BeginMigration();
  ApplyAndCompare(
      "INSERT INTO t (a) VALUES ('a'), ('b'); UPDATE t SET a = 'c' WHERE id = 1; DELETE FROM t WHERE id = 2");
}

TEST_F(ApplierRows, GeneratedAlwaysIdentityKeyUpdate) {
  pair_.RunOnBoth(
      "CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, n int, big text); "
      "ALTER TABLE t ALTER big SET STORAGE EXTERNAL; INSERT INTO t SELECT i, i, repeat('v', 9000) FROM "
      "generate_series(1, 3) i");
  pair_.RunOnTarget("ALTER TABLE t ALTER id SET GENERATED ALWAYS; ALTER TABLE t ADD own text DEFAULT 'kept'");
  BeginMigration();
  pair_.RunOnSource("UPDATE t SET id = id + 100 WHERE id > 1; UPDATE t SET n = 7 WHERE id = 1");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT id, n, length(big), own FROM t ORDER BY id"),
            "1|7|9000|kept\n102|2|9000|kept\n103|3|9000|kept");
}

TEST_F(ApplierRows, GeneratedAlwaysIdentityOutsideTheKey) {
  pair_.RunOnBoth(
      "CREATE TABLE t (k text PRIMARY KEY, id int GENERATED ALWAYS AS IDENTITY, n int, "
      "twice int GENERATED ALWAYS AS (n * 2) STORED)");
  BeginMigration();
  ApplyAndCompare(
      "INSERT INTO t (k, n) VALUES ('a', 1), ('b', 2); UPDATE t SET n = 5 WHERE k = 'a'; "
      "UPDATE t SET id = DEFAULT WHERE k = 'b'");
  EXPECT_EQ(Target("SELECT id, twice FROM t ORDER BY k"), "1|10\n3|4");
}

TEST_F(ApplierRows, TablesWithoutColumns) {
  pair_.RunOnBoth("CREATE TABLE t ()");
  pair_.RunOnSource("ALTER TABLE t REPLICA IDENTITY FULL");
  BeginMigration();
  ApplyAndCompare(
      "INSERT INTO t DEFAULT VALUES; INSERT INTO t DEFAULT VALUES; INSERT INTO t DEFAULT VALUES; "
      "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t)");
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "2");
}

TEST_F(ApplierRows, MissingRowsAreCountedByTable) {
  pair_.RunOnBoth(
      "CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE u (id int PRIMARY KEY); "
      "INSERT INTO t SELECT i, 'a' FROM generate_series(1, 4) i; INSERT INTO u VALUES (1)");
  BeginMigration();
  pair_.RunOnTarget("DELETE FROM t WHERE id > 1; DELETE FROM u");
  pair_.RunOnSource("UPDATE t SET a = 'b'; DELETE FROM u");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(CountersOf(counters_, "t"), (TableCounters{.updates = 4, .missing_rows = 3}));
  EXPECT_EQ(CountersOf(counters_, "u"), (TableCounters{.deletes = 1, .missing_rows = 1}));
  // They are in the state, too.
  const std::vector<TableRecord> none = LoadTables(pair_.target(), kMigration).value();
  for (const TableRecord& record : none)
    EXPECT_EQ(record.counters.missing_rows > 0, true) << record.table.ToString();
}

TEST_F(ApplierRows, MissingRowStopsWhereAskedFor) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'a'), (2, 'a')");
  BeginMigration();
  pair_.RunOnTarget("DELETE FROM t WHERE id = 2");
  pair_.RunOnSource("UPDATE t SET a = 'before' WHERE id = 1");
  pair_.RunOnSource(
      "BEGIN; UPDATE t SET a = 'with it' WHERE id = 1; UPDATE t SET a = 'b' WHERE id = 2; COMMIT");
  ApplierOptions options = Options();
  options.on_missing_row = OnMissingRow::kStop;
  options.lanes = 1;  // Others would go on.
  const absl::Status status = CatchUp(options);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("UPDATE of public.t"));
  EXPECT_EQ(Target("SELECT * FROM t"), "1|before");
}

TEST_F(ApplierRows, TruncateSeveralTablesRestartIdentity) {
  pair_.RunOnBoth(
      "CREATE TABLE a (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY); CREATE TABLE b (id int PRIMARY "
      "KEY "
      "REFERENCES a); CREATE TABLE c (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY); "
      "INSERT INTO a DEFAULT VALUES; INSERT INTO a DEFAULT VALUES; INSERT INTO b VALUES (1); INSERT INTO c "
      "DEFAULT VALUES");
  BeginMigration();
  ApplyAndCompare("TRUNCATE a, b RESTART IDENTITY; TRUNCATE c");
  EXPECT_EQ(Target("SELECT nextval('a_id_seq'), nextval('c_id_seq')"), "1|2");
  ApplyAndCompare("INSERT INTO a VALUES (7); INSERT INTO b VALUES (7)");
  EXPECT_EQ(CountersOf(counters_, "b").inserts, 1);
}

TEST_F(ApplierRows, TruncateCascadeTruncatesWhatTheSourceDid) {
  pair_.RunOnBoth(
      "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY REFERENCES a); "
      "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)");
  BeginMigration();
  ApplyAndCompare("TRUNCATE a CASCADE");
}

TEST_F(ApplierRows, ManyShapesOfStatementsAreBounded) {
  std::string columns;
  for (int i = 0; i < 12; ++i) columns += ", c" + std::to_string(i) + " int";
  pair_.RunOnBoth("CREATE TABLE t (id serial" + columns + ")");
  pair_.RunOnSource("ALTER TABLE t REPLICA IDENTITY FULL");
  BeginMigration();
  // Every pattern of NULLs is a statement of its own: more than are kept prepared.
  std::string sql = "INSERT INTO t SELECT i";
  for (int i = 0; i < 12; ++i) sql += ", CASE WHEN i & (1 << " + std::to_string(i) + ") <> 0 THEN i END";
  ApplyAndCompare(sql +
                  " FROM generate_series(0, 1499) i; DELETE FROM t WHERE id % 2 = 0; UPDATE t SET c0 = 1");
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "750");
}

}  // namespace
}  // namespace walferry
