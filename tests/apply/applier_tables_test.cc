// Tables: columns by name, types, partitions, and which tables are in scope at all.
#include "gmock/gmock.h"
#include "tests/apply/apply_stream.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ApplierTables : public ApplyTest {
 protected:
  std::string Refusal() {
    const absl::Status status = CatchUp();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    return std::string(MessageOf(status));
  }
};

TEST_F(ApplierTables, ColumnsAreMatchedByName) {
  pair_.RunOnSource("CREATE TABLE t (id int PRIMARY KEY, gone int, a text, b date); ALTER TABLE t DROP gone");
  pair_.RunOnTarget(
      "CREATE TABLE t (b date, gone int, a text, id bigint PRIMARY KEY); ALTER TABLE t DROP gone");
  BeginMigration();
  pair_.RunOnSource(
      "INSERT INTO t VALUES (1, 'a', '2024-02-29'), (2, 'b', 'infinity'); UPDATE t SET a = 'c' WHERE id = 1");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT id, a, b FROM t ORDER BY id"), Source("SELECT id, a, b FROM t ORDER BY id"));
}

TEST_F(ApplierTables, ExtraTargetColumnsTakeDefaults) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text)");
  pair_.RunOnTarget("ALTER TABLE t ADD own int DEFAULT 7, ADD nothing int");
  BeginMigration();
  pair_.RunOnSource("INSERT INTO t VALUES (1, 'a')");
  ASSERT_TRUE(CatchUp().ok());
  pair_.RunOnTarget("UPDATE t SET own = 8");
  pair_.RunOnSource("UPDATE t SET a = 'b'; INSERT INTO t VALUES (2, 'c')");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT * FROM t ORDER BY id"), "1|b|8|NULL\n2|c|7|NULL");
}

TEST_F(ApplierTables, MissingColumnsAreListedWithTheStatementToRun) {
  pair_.RunOnSource("CREATE TABLE t (id int PRIMARY KEY, a text, \"B\" text)");
  pair_.RunOnTarget("CREATE TABLE t (id int PRIMARY KEY)");
  BeginMigration();
  pair_.RunOnSource("INSERT INTO t VALUES (1, 'a', 'b')");
  EXPECT_THAT(Refusal(),
              AllOf(HasSubstr("public.t"), HasSubstr("a, B"),
                    HasSubstr("ALTER TABLE \"public\".\"t\" ADD COLUMN \"a\" TYPE, ADD COLUMN \"B\" TYPE")));
  pair_.RunOnTarget("ALTER TABLE t ADD a text, ADD \"B\" text");
  ApplyAndCompare("SELECT 1");
}

TEST_F(ApplierTables, MissingTableIsNamedAndWhatCameBeforeIsApplied) {
  pair_.RunOnSource("CREATE TABLE t (id int PRIMARY KEY)");
  pair_.RunOnBoth("CREATE TABLE u (id int PRIMARY KEY)");
  BeginMigration();
  pair_.RunOnSource("INSERT INTO u VALUES (1)");
  pair_.RunOnSource("INSERT INTO t VALUES (1)");
  EXPECT_THAT(Refusal(), HasSubstr("table public.t is not on the target"));
  EXPECT_EQ(Target("SELECT * FROM u"), "1");
}

TEST_F(ApplierTables, ColumnAddedOnBothSidesWhileStreaming) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY)");
  BeginMigration();
  RunningStream stream(pair_, Options(), std::nullopt);
  ASSERT_TRUE(stream.started().ok());
  pair_.RunOnSource("INSERT INTO t VALUES (1)");
  ASSERT_TRUE(WaitUntil([&] { return Target("SELECT count(*) FROM t") == "1"; }));
  pair_.RunOnTarget("ALTER TABLE t ADD a text");
  pair_.RunOnSource("ALTER TABLE t ADD a text");
  pair_.RunOnSource("INSERT INTO t VALUES (2, 'two')");
  ASSERT_TRUE(WaitUntil([&] { return Target("SELECT count(*) FROM t") == "2"; }));
  // A column that only the target loses is noticed by an error, and the catalog is read again.
  pair_.RunOnTarget("ALTER TABLE t ADD b text GENERATED ALWAYS AS ('x') STORED, DROP a, ADD a varchar(10)");
  pair_.RunOnSource("UPDATE t SET a = 'new'");
  ASSERT_TRUE(WaitUntil([&] { return Target("SELECT count(*) FROM t WHERE a = 'new'") == "2"; }));
  EXPECT_TRUE(stream.End().ok());
}

TEST_F(ApplierTables, RenamedTargetColumnIsReadAgainAndThenRefused) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text)");
  BeginMigration();
  RunningStream stream(pair_, Options(), std::nullopt);
  pair_.RunOnSource("INSERT INTO t VALUES (1, 'one')");
  ASSERT_TRUE(WaitUntil([&] { return Target("SELECT count(*) FROM t") == "1"; }));
  pair_.RunOnTarget("ALTER TABLE t RENAME a TO z");
  pair_.RunOnSource("UPDATE t SET a = 'two'");
  ASSERT_TRUE(WaitUntil([&] { return stream.ended(); }));
  EXPECT_THAT(std::string(MessageOf(stream.End(false))), HasSubstr("does not have on the target: a"));
}

TEST_F(ApplierTables, TypesWithoutEquality) {
  pair_.RunOnBoth(
      "CREATE TABLE t (id int, j json, x xml, p point, c circle); "
      "INSERT INTO t VALUES (1, '{\"a\":  1}', '<a/>', '(1,2)', '<(0,0),1>'), (1, '{\"a\": 1}', '<b/>', "
      "NULL, NULL), "
      "(2, NULL, NULL, '(3,4)', NULL)");
  pair_.RunOnSource("ALTER TABLE t REPLICA IDENTITY FULL");
  BeginMigration();
  const std::string changes =
      "UPDATE t SET j = '[1]' WHERE p IS NOT NULL AND id = 1; DELETE FROM t WHERE x::text = '<b/>'; "
      "UPDATE t SET c = '<(1,1),2>' WHERE id = 2; INSERT INTO t VALUES (3, '{\"b\":2}', '<c/>', '(5,6)', "
      "NULL)";
  ApplyAndCompare(changes);
  ApplyAndCompare("UPDATE t SET j = '{\"again\": true}', p = '(9,9)'", /*binary=*/true);
  EXPECT_EQ(CountersOf(counters_, "t").missing_rows, 0);
}

TEST_F(ApplierTables, EnumsDomainsCompositesArraysRanges) {
  pair_.RunOnBoth(
      "CREATE TYPE mood AS ENUM ('sad', 'it''s ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); "
      "CREATE DOMAIN positive_list AS positive[]; CREATE TYPE pair AS (a int, b text); "
      "CREATE TYPE float_range AS RANGE (subtype = float8); "
      "CREATE TABLE k (m mood, d positive, PRIMARY KEY (m, d)); "
      "CREATE TABLE f (m mood, ms mood[], d positive, dl positive_list, p pair, ps pair[], r int4range, "
      "fr float_range, mr int4multirange, t timestamptz, i interval, n numeric, b bytea, u uuid, js jsonb, "
      "ip inet, "
      "bits bit varying, ch char(5), v varchar(5), mon money, tx tsvector)");
  pair_.RunOnSource("ALTER TABLE f REPLICA IDENTITY FULL");
  BeginMigration();
  const std::string insert =
      "INSERT INTO f VALUES ('it''s ok', '{sad,it''s ok}', 1, '{1,2}', '(1,\"x, y\")', "
      "'{\"(1,a)\",\"(,)\"}', '[1,5)', "
      "'[0.5,infinity)', '{[1,2),[5,6)}', '2024-01-01 00:00:00.123456+02', '1 mon -3 days 00:00:01', 1.50, "
      "'\\x00ff', '00000000-0000-0000-0000-000000000001', '{\"a\": [1.50, null]}', '10.0.0.1/8', B'101', "
      "'ab', "
      "'cd', '12.34', 'a:1 b:2'), (NULL, NULL, NULL, NULL, NULL, NULL, 'empty', NULL, NULL, '-infinity', "
      "NULL, 'NaN', '', "
      "NULL, NULL, NULL, NULL, NULL, '', NULL, NULL)";
  ApplyAndCompare(insert);
  ApplyAndCompare(insert, /*binary=*/true);
  ApplyAndCompare(
      "UPDATE f SET ms = '{}', p = ROW(2, NULL) WHERE ctid = (SELECT min(ctid) FROM f WHERE d = 1); "
      "DELETE FROM f WHERE ctid = (SELECT min(ctid) FROM f WHERE d IS NULL)");
  ApplyAndCompare(
      "UPDATE f SET u = NULL, fr = '[1,2]'; INSERT INTO k VALUES ('sad', 1), ('sad', 2); "
      "UPDATE k SET m = 'it''s ok' WHERE d = 2; DELETE FROM k WHERE d = 1",
      /*binary=*/true);
  EXPECT_EQ(CountersOf(counters_, "f").missing_rows, 0);
}

// "IS NULL" is true for both.
TEST_F(ApplierTables, NullIsNotACompositeOfNulls) {
  pair_.RunOnBoth(
      "CREATE TYPE pair AS (a int, b text); CREATE DOMAIN pair_domain AS pair; "
      "CREATE TABLE f (c pair, d pair_domain, n int); "
      "INSERT INTO f VALUES (ROW(NULL, NULL), ROW(NULL, NULL), 1), (NULL, NULL, 1), (ROW(1, NULL), NULL, 1), "
      "(NULL, ROW(NULL, NULL), 1); "
      "CREATE TABLE k (id int PRIMARY KEY, c pair, d pair_domain, cs pair[])");
  pair_.RunOnSource("ALTER TABLE f REPLICA IDENTITY FULL");
  BeginMigration();
  for (const bool binary : {false, true}) {
    ApplyAndCompare("UPDATE f SET n = n + 1 WHERE c::text IS NULL AND d::text IS NULL", binary);
    ApplyAndCompare("UPDATE f SET n = n + 10 WHERE c::text IS NULL AND d::text = '(,)'", binary);
    ApplyAndCompare("UPDATE f SET n = n + 100 WHERE c::text = '(,)'", binary);
    EXPECT_EQ(CountersOf(counters_, "f").missing_rows, 0);
  }
  ApplyAndCompare(
      "UPDATE f SET c = NULL WHERE c::text = '(,)'; UPDATE f SET c = ROW(NULL, NULL) WHERE n < 10");
  ApplyAndCompare("DELETE FROM f WHERE c::text IS NULL AND d::text = '(,)'");
  // The same in statements about many rows.
  ApplyAndCompare(
      "INSERT INTO k VALUES (1, NULL, ROW(NULL, NULL), '{NULL,\"(,)\"}'), (2, ROW(NULL, NULL), NULL, NULL), "
      "(3, ROW(1, NULL), NULL, '{}')");
  ApplyAndCompare("UPDATE k SET c = d, d = c; UPDATE k SET cs = array[c, NULL]", /*binary=*/true);
  EXPECT_EQ(Target("SELECT id, c::text, d::text FROM k ORDER BY id"), "1|(,)|NULL\n2|NULL|(,)\n3|NULL|(1,)");
}

TEST_F(ApplierTables, ARowThatMerelyLooksAlikeIsNotTheRow) {
  pair_.RunOnBoth(
      "CREATE EXTENSION citext; CREATE TABLE f (n numeric, c citext); INSERT INTO f VALUES (1.0, 'a'), "
      "(1.00, "
      "'a'), (1.0, 'A')");
  pair_.RunOnSource("ALTER TABLE f REPLICA IDENTITY FULL");
  BeginMigration();
  pair_.RunOnTarget("DELETE FROM f WHERE n::text = '1.00' OR c::text = 'A'");
  pair_.RunOnSource("DELETE FROM f WHERE n::text = '1.00'; UPDATE f SET n = 2 WHERE c::text = 'A'");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT * FROM f"), "1.0|a");
  EXPECT_EQ(CountersOf(counters_, "f").missing_rows, 2);
}

TEST_F(ApplierTables, NumbersAreComparedAsTheTargetStoredThem) {
  pair_.RunOnSource(
      "CREATE TABLE f (a numeric, b numeric[], c numeric); ALTER TABLE f REPLICA IDENTITY FULL; "
      "CREATE TABLE k (a numeric PRIMARY KEY, n int)");
  pair_.RunOnTarget(
      "CREATE DOMAIN amount AS numeric(8,3); CREATE DOMAIN price AS amount; CREATE TABLE f (a numeric(10,2), "
      "b "
      "numeric(10,2)[], c price); CREATE TABLE k (a numeric(10,2), n int)");
  BeginMigration();
  pair_.RunOnSource(
      "INSERT INTO f VALUES (1.5, '{2.5,3}', 4.5), (2, NULL, 1.0006); INSERT INTO k VALUES (1.5, 1), (2, 1)");
  pair_.RunOnSource("DELETE FROM f WHERE a = 1.5; UPDATE f SET c = 7; UPDATE k SET n = 2 WHERE a = 1.5");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT * FROM f"), "2.00|NULL|7.000");
  EXPECT_EQ(Target("SELECT * FROM k ORDER BY a"), "1.50|2\n2.00|1");
  EXPECT_EQ(CountersOf(counters_, "f").missing_rows + CountersOf(counters_, "k").missing_rows, 0);
}

TEST_F(ApplierTables, OfSeveralRowsThatFitAKeyNoneIsChosen) {
  pair_.RunOnSource("CREATE TABLE t (id int PRIMARY KEY, a text)");
  pair_.RunOnTarget("CREATE TABLE t (id int, a text); INSERT INTO t VALUES (1, 'mine')");
  BeginMigration();
  pair_.RunOnSource("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
  pair_.RunOnSource("UPDATE t SET a = 'c' WHERE id = 2; DELETE FROM t WHERE id = 1");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("several rows of the target fit the DELETE from public.t"),
                               HasSubstr("unique index"), HasSubstr("start again")));
  EXPECT_EQ(Target("SELECT * FROM t ORDER BY id, a"), "1|a\n1|mine\n2|b");
  pair_.RunOnTarget("DELETE FROM t WHERE a = 'mine'");
  ApplyAndCompare("SELECT 1");
}

TEST_F(ApplierTables, ColumnThatOnlyTheTargetGeneratesIsRefusedWithTheStatementToRun) {
  pair_.RunOnSource("CREATE TABLE t (id int PRIMARY KEY, b int)");
  pair_.RunOnTarget("CREATE TABLE t (id int PRIMARY KEY, b int GENERATED ALWAYS AS (id * 3) STORED)");
  BeginMigration();
  pair_.RunOnSource("INSERT INTO t VALUES (1, 100)");
  EXPECT_THAT(Refusal(),
              HasSubstr("run there ALTER TABLE \"public\".\"t\" ALTER COLUMN \"b\" DROP EXPRESSION;"));
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "0");
  pair_.RunOnTarget("ALTER TABLE t ALTER COLUMN b DROP EXPRESSION");
  ApplyAndCompare("UPDATE t SET b = b + 1");
}

TEST_F(ApplierTables, EqualityOfExtensionsIsFoundOutsideOfTheSearchPath) {
  pair_.RunOnBoth(
      "CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE TABLE t (id citext PRIMARY KEY, a text); "
      "CREATE TABLE f (c citext, h hstore, cs citext[]); INSERT INTO t VALUES ('Aa', 'x'); "
      "INSERT INTO f VALUES ('Aa', 'a=>1', '{X}'), ('aA', 'a=>1', '{x}')");
  pair_.RunOnSource("ALTER TABLE f REPLICA IDENTITY FULL");
  BeginMigration();
  ApplyAndCompare(
      "UPDATE t SET id = 'aa'; UPDATE f SET h = 'b=>2' WHERE c::text = 'aA'; DELETE FROM f WHERE cs::text = "
      "'{X}'");
}

TEST_F(ApplierTables, TextGoesIntoOtherTypesAndBinaryIsRefused) {
  pair_.RunOnSource("CREATE TABLE t (id int PRIMARY KEY, n int)");
  pair_.RunOnTarget("CREATE TABLE t (id bigint PRIMARY KEY, n numeric)");
  BeginMigration();
  pair_.RunOnSource("INSERT INTO t VALUES (1, 5); UPDATE t SET n = 6");
  const absl::Status status = CatchUp(Options(), /*binary=*/true);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(MessageOf(status)),
              AllOf(HasSubstr("column id of table public.t"), HasSubstr("--binary off")));
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT * FROM t"), "1|6");
}

TEST_F(ApplierTables, NondeterministicCollationInKey) {
  pair_.RunOnBoth(
      "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); "
      "CREATE TABLE t (a text COLLATE ci PRIMARY KEY, n int); CREATE TABLE f (a text COLLATE ci, n int); "
      "INSERT INTO t VALUES ('x', 1); INSERT INTO f VALUES ('x', 1), ('X', 1)");
  pair_.RunOnSource("ALTER TABLE f REPLICA IDENTITY FULL");
  BeginMigration();
  ApplyAndCompare("UPDATE t SET a = 'X'; UPDATE t SET n = 2; DELETE FROM f WHERE a COLLATE \"C\" = 'X'");
}

TEST_F(ApplierTables, PartitionedTargets) {
  const std::string partitions =
      "CREATE TABLE p (id int, k int, a text, PRIMARY KEY (id, k)) PARTITION BY LIST (k); "
      "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2); ";
  pair_.RunOnBoth(partitions);
  BeginMigration();
  ApplyAndCompare(
      "INSERT INTO p VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 1, 'c'); UPDATE p SET k = 2 WHERE id = 1; "
      "UPDATE p SET a = 'x'; DELETE FROM p WHERE id = 3");
  ApplyAndCompare("TRUNCATE p2; INSERT INTO p VALUES (9, 1, 'n')");
}

TEST_F(ApplierTables, PartitionRootOnTheWireAndOtherPartitionsOnTheTarget) {
  pair_.RunOnSource(
      "CREATE TABLE p (id int, k int, a text) PARTITION BY LIST (k); CREATE TABLE p1 PARTITION OF p FOR "
      "VALUES IN (1, 2); CREATE TABLE p2 PARTITION OF p DEFAULT; INSERT INTO p SELECT 1, i, 'same' FROM "
      "generate_series(1, 6) i; ALTER TABLE p REPLICA IDENTITY FULL; ALTER TABLE p1 REPLICA IDENTITY FULL; "
      "ALTER TABLE p2 REPLICA IDENTITY FULL");
  pair_.RunOnTarget(
      "CREATE TABLE p (id int, k int, a text) PARTITION BY HASH (k); CREATE TABLE h0 PARTITION OF p FOR "
      "VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE h1 PARTITION OF p FOR VALUES WITH (MODULUS 2, "
      "REMAINDER 1); INSERT INTO p SELECT 1, i, 'same' FROM generate_series(1, 6) i");
  BeginMigration("FOR TABLE p WITH (publish_via_partition_root)");
  pair_.RunOnSource(
      "UPDATE p SET a = 'new' WHERE k IN (1, 5); DELETE FROM p WHERE k = 2; UPDATE p SET k = 7 WHERE k = 6");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT * FROM p ORDER BY k"), Source("SELECT * FROM p ORDER BY k"));
  EXPECT_EQ(CountersOf(counters_, "p").missing_rows, 0);
  pair_.RunOnSource("TRUNCATE p");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT count(*) FROM p"), "0");
}

// The tags follow the root's identity, the tuples the leaf's: a "full" old row holds the key alone.
TEST_F(ApplierTables, FullRootWithLeavesThatHaveAKey) {
  pair_.RunOnBoth(
      "CREATE TABLE p (id int, k int, a text, PRIMARY KEY (id, k)) PARTITION BY LIST (k); "
      "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p SELECT i, 1, 'a' FROM "
      "generate_series(1, 4) i");
  pair_.RunOnSource("ALTER TABLE p REPLICA IDENTITY FULL");
  BeginMigration("FOR TABLE p WITH (publish_via_partition_root)");
  ApplyAndCompare(
      "UPDATE p SET a = 'b' WHERE id = 1; UPDATE p SET id = 20 WHERE id = 2; DELETE FROM p WHERE id = 3");
  EXPECT_EQ(CountersOf(counters_, "p").missing_rows, 0);
}

TEST_F(ApplierTables, InheritanceChildrenAreNotTouchedWithTheirParent) {
  pair_.RunOnBoth(
      "CREATE TABLE parent (id int PRIMARY KEY, a text); CREATE TABLE child () INHERITS (parent); "
      "ALTER TABLE child ADD PRIMARY KEY (id); INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES "
      "(1, 'c')");
  BeginMigration();
  ApplyAndCompare(
      "UPDATE ONLY parent SET a = 'new'; DELETE FROM ONLY child; INSERT INTO child VALUES (2, 'c2'); "
      "TRUNCATE ONLY parent");
}

TEST_F(ApplierTables, OlderTransactionsAreInTheCopy) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
  BeginMigration();
  pair_.RunOnSource("INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)");
  const Lsn copied = SourceEnd();
  pair_.RunOnSource("TRUNCATE t, u; INSERT INTO t VALUES (2); INSERT INTO u VALUES (2)");
  const Lsn copied_later = SourceEnd();
  pair_.RunOnSource("INSERT INTO t VALUES (3); INSERT INTO u VALUES (3)");
  pair_.RunOnTarget("INSERT INTO t VALUES (1); INSERT INTO u VALUES (2)");
  ApplierOptions options = Options();
  options.copied_at = {{{"public", "t"}, copied}, {{"public", "u"}, copied_later}};
  ASSERT_TRUE(CatchUp(options).ok());
  ExpectEqualContent(pair_);
}

TEST_F(ApplierTables, TablesThatAreNotListedAreLeftOutAndSaidOnce) {
  pair_.RunOnSource("CREATE TABLE other (id int PRIMARY KEY)");
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY)");
  BeginMigration();
  pair_.RunOnSource("INSERT INTO other VALUES (1), (2); INSERT INTO t VALUES (1)");
  pair_.RunOnSource("INSERT INTO other VALUES (3); TRUNCATE other, t; INSERT INTO t VALUES (2)");
  ApplierOptions options = Options();
  options.copied_at = {{{"public", "t"}, Lsn{}}};
  options.only_listed = true;
  ASSERT_TRUE(CatchUp(options).ok());
  EXPECT_EQ(Target("SELECT * FROM t"), "2");
  int said = 0;
  for (const ApplierEvent& event : events_) {
    if (event.kind != ApplierEvent::Kind::kSkippedTable) continue;
    EXPECT_EQ(event.table.ToString(), "public.other");
    ++said;
  }
  EXPECT_EQ(said, 1);
}

}  // namespace
}  // namespace walferry
