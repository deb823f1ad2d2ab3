// Columns that change on the source while a migration is under way: the statements that walferry prints are
// run as they are, and lead to equal contents.
#include <regex>

#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ChangedColumns : public MigrationTest {
 protected:
  // A run that stops, the statements it prints, and a run that goes on.
  std::string FollowTheAdvice() {
    const std::string said = RefusalOf("migrate");
    std::smatch found;
    const std::regex advice("types of the source: (ALTER TABLE .*;)\n");
    if (!std::regex_search(said, found, advice)) {
      ADD_FAILURE() << said;
      return {};
    }
    const std::string statements = found[1];
    RunOnTarget(statements);
    Migrate();
    ExpectEqualContent(pair_);
    return statements;
  }
};

TEST_F(ChangedColumns, AddedWithDefaultsThatOldRowsHave) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5)");
  Migrate();
  RunOnSource(
      "ALTER TABLE t ADD a int NOT NULL DEFAULT 5, ADD b text DEFAULT 'it''s', ADD c timestamptz DEFAULT "
      "now(), "
      "ADD d numeric(10,2), ADD e int[] DEFAULT '{1,2}'; INSERT INTO t VALUES (6)");
  EXPECT_THAT(FollowTheAdvice(), AllOf(HasSubstr("NOT NULL"), HasSubstr("numeric(10,2)")));
  RunOnSource("INSERT INTO t (id) VALUES (7); UPDATE t SET a = 6 WHERE id = 1");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(ChangedColumns, AddedWithAVolatileDefaultIsCopiedAgain) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 50)");
  Migrate();
  RunOnSource(
      "ALTER TABLE t ADD u uuid DEFAULT gen_random_uuid(), ADD s serial; INSERT INTO t (id) VALUES (60)");
  FollowTheAdvice();
}

TEST_F(ChangedColumns, DefaultThatCameAfterTheColumnFillsNothing) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5)");
  Migrate();
  RunOnSource("ALTER TABLE t ADD n int; ALTER TABLE t ALTER n SET DEFAULT 5; INSERT INTO t VALUES (6)");
  FollowTheAdvice();
  EXPECT_EQ(Target("SELECT count(n) FROM t"), "1");
  EXPECT_THAT(Walferry("status").out, HasSubstr("SET DEFAULT 5"));
}

TEST_F(ChangedColumns, RowsThatWereFilledHereAndAreNullThereAreCopiedAgain) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5)");
  Migrate();
  RunOnSource("ALTER TABLE t ADD n int; ALTER TABLE t ALTER n SET DEFAULT 5");
  RunOnTarget("ALTER TABLE t ADD n int DEFAULT 5");
  RunOnTarget("VACUUM FULL t");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(ChangedColumns, AddedByHandWithoutTheDefaultIsCopiedAgain) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5)");
  Migrate();
  RunOnSource("ALTER TABLE t ADD a int NOT NULL DEFAULT 5; INSERT INTO t VALUES (6)");
  EXPECT_THAT(RefusalOf("migrate"), HasSubstr("ADD COLUMN"));
  RunOnTarget("ALTER TABLE t ADD a int");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(ChangedColumns, RenamedAndExchangedNames) {
  RunOnSource(
      "CREATE TABLE t (id int PRIMARY KEY, a text, b text, c text); INSERT INTO t VALUES (1, 'a', 'b', 'c')");
  Migrate();
  RunOnSource("ALTER TABLE t RENAME a TO d; INSERT INTO t VALUES (2, 'a', 'b', 'c')");
  FollowTheAdvice();
  RunOnSource(
      "ALTER TABLE t RENAME b TO x; ALTER TABLE t RENAME c TO b; ALTER TABLE t RENAME x TO c;"
      "INSERT INTO t VALUES (3, 'a', 'c', 'b')");
  FollowTheAdvice();
  EXPECT_EQ(Target("SELECT b, c FROM t WHERE id = 1"), "c|b");
}

// The target is ahead of the stream: rows of the old shape still come.
TEST_F(ChangedColumns, RenamedOnBothSidesBeforeTheStreamIsThere) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, a text, gone int); INSERT INTO t VALUES (1, 'a', 1)");
  Migrate();
  RunOnSource("INSERT INTO t VALUES (2, 'old shape', 2); UPDATE t SET a = 'old, too' WHERE id = 1");
  RunOnBoth("ALTER TABLE t RENAME a TO b; ALTER TABLE t DROP gone");
  RunOnSource("INSERT INTO t VALUES (3, 'new shape')");
  Migrate();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT string_agg(b, ' | ' ORDER BY id) FROM t"), "old, too | old shape | new shape");
}

// Seen to fail: the column was to be added, beside the one of the old name.
TEST_F(ChangedColumns, RenamedAndDroppedBeforeTheirCopy) {
  RunOnSource(
      "CREATE TABLE a_big (id int PRIMARY KEY, v text);"
      "INSERT INTO a_big SELECT i, repeat('x', 300) FROM generate_series(1, 200000) i;"
      "CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'a', 'b')");
  WalferryProcess& migrate = Begin("migrate", {"--copy-jobs", "1", "--until", "caught-up"});
  ASSERT_TRUE(TargetComesTo("SELECT to_regclass('t') IS NOT NULL", "t"));
  RunOnSource("ALTER TABLE t RENAME a TO d; ALTER TABLE t DROP b; INSERT INTO t VALUES (2, 'd')");
  if (migrate.Wait() != 0) {
    EXPECT_THAT(migrate.err(), HasSubstr("RENAME COLUMN \"a\" TO \"d\""));
  }
  FollowTheAdvice();
}

TEST_F(ChangedColumns, OfAPartitionedTableAreTheRoots) {
  RunOnSource(
      "CREATE TABLE m (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE m1 PARTITION OF m FOR "
      "VALUES FROM (0) "
      "TO (100); CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (100) TO (200); INSERT INTO m VALUES (1), "
      "(101)");
  Migrate();
  RunOnSource("ALTER TABLE m ADD COLUMN c int DEFAULT 3; INSERT INTO m VALUES (2), (102)");
  EXPECT_THAT(FollowTheAdvice(), HasSubstr("ALTER TABLE \"public\".\"m\" ADD COLUMN"));
}

TEST_F(ChangedColumns, RewrittenValuesAreCopiedAgain) {
  RunOnSource(
      "CREATE TABLE t (id int PRIMARY KEY, n int, v text, g int GENERATED ALWAYS AS (n * 2) STORED);"
      "INSERT INTO t (id, n, v) VALUES (1, 1, 'a'), (2, 2, 'b')");
  Migrate();
  // Nothing of the shape shows it.
  RunOnSource("ALTER TABLE t ALTER v TYPE text USING upper(v)");
  Migrate();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT v FROM t WHERE id = 1"), "A");
  RunOnSource("ALTER TABLE t ALTER v TYPE varchar(10); INSERT INTO t (id, n, v) VALUES (3, 3, 'c')");
  FollowTheAdvice();
  RunOnSource("ALTER TABLE t ALTER g DROP EXPRESSION; UPDATE t SET g = 777 WHERE id = 1");
  EXPECT_THAT(FollowTheAdvice(), HasSubstr("DROP EXPRESSION"));
  EXPECT_EQ(Target("SELECT g FROM t WHERE id = 1"), "777");
}

TEST_F(ChangedColumns, DroppedAndAddedAnewUnderTheSameNameIsCopiedAgain) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'old')");
  Migrate();
  RunOnSource("ALTER TABLE t DROP a; ALTER TABLE t ADD a text; INSERT INTO t VALUES (2, 'new')");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(ChangedColumns, DroppedIsLeftOutAndNamedUntilTheTargetDropsIt) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'a', 'b')");
  Migrate();
  RunOnSource("INSERT INTO t VALUES (2, 'a', 'b'); ALTER TABLE t DROP a; INSERT INTO t VALUES (3, 'b')");
  Migrate();
  EXPECT_EQ(Target("SELECT string_agg(id || b, ' ' ORDER BY id) FROM t"), "1b 2b 3b");
  EXPECT_THAT(Walferry("verify").out, HasSubstr("column a is on the target only"));
  EXPECT_THAT(Walferry("status").out, HasSubstr("ALTER TABLE \"public\".\"t\" DROP COLUMN \"a\""));
  RunOnTarget("ALTER TABLE t DROP COLUMN a");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(ChangedColumns, NameOfADroppedColumnIsTakenByAnotherOfItsType) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, b text, c text); INSERT INTO t VALUES (1, 'b', 'c')");
  Migrate();
  RunOnSource(
      "INSERT INTO t VALUES (2, 'b', 'c'); ALTER TABLE t DROP COLUMN b; ALTER TABLE t RENAME COLUMN c TO b;"
      "INSERT INTO t VALUES (3, 'c'); UPDATE t SET b = 'C' WHERE id = 1");
  EXPECT_EQ(FollowTheAdvice(),
            "ALTER TABLE \"public\".\"t\" DROP COLUMN \"b\"; ALTER TABLE \"public\".\"t\" RENAME COLUMN "
            "\"c\" TO \"b\";");
  EXPECT_EQ(Target("SELECT string_agg(id || b, ' ' ORDER BY id) FROM t"), "1C 2c 3c");
}

TEST_F(ChangedColumns, NameOfADroppedColumnIsTakenByOneOfAnotherType) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'b')");
  Migrate();
  RunOnSource(
      "ALTER TABLE t DROP b; ALTER TABLE t ADD b date DEFAULT '2001-01-01'; INSERT INTO t VALUES (2)");
  FollowTheAdvice();
}

// The source does not rewrite them where its TimeZone is UTC.
TEST_F(ChangedColumns, TimestampsThatBecameMomentsAreCopiedAgain) {
  RunOnSource(
      "SET TimeZone = 'UTC'; CREATE TABLE t (id int PRIMARY KEY, at timestamp, a varchar(3));"
      "INSERT INTO t VALUES (1, '2001-02-03 04:05:06', 'abc')");
  Migrate();
  RunOnTarget("ALTER DATABASE " + Target("SELECT current_database()") + " SET TimeZone = 'Asia/Tokyo'");
  RunOnSource(
      "SET TimeZone = 'UTC'; ALTER TABLE t ALTER at TYPE timestamptz, ALTER a TYPE text; INSERT INTO t "
      "VALUES "
      "(2, '2001-02-03 04:05:06Z', 'abcdef')");
  FollowTheAdvice();
  EXPECT_EQ(Target("SELECT count(DISTINCT at) FROM t"), "1");
}

// A difference that keeps nothing from being applied: what `status` prints is run, and nothing is left.
TEST_F(ChangedColumns, IdentitiesAndSequencesAreNamedWithStatementsThatCanBeRun) {
  RunOnSource(
      "CREATE TABLE t (id serial PRIMARY KEY, n int NOT NULL, o int GENERATED ALWAYS AS IDENTITY, p int);"
      "INSERT INTO t (n) VALUES (1), (2)");
  Migrate();
  RunOnSource(
      "ALTER TABLE t ALTER id DROP DEFAULT; DROP SEQUENCE t_id_seq; ALTER TABLE t ALTER id ADD GENERATED BY "
      "DEFAULT AS IDENTITY (START 3); ALTER TABLE t ALTER n ADD GENERATED ALWAYS AS IDENTITY (START 9);"
      "ALTER TABLE t ALTER o DROP IDENTITY; CREATE SEQUENCE \"My seq\" OWNED BY t.p; ALTER TABLE t ALTER p "
      "SET "
      "DEFAULT nextval('\"My seq\"'); INSERT INTO t (o) VALUES (7)");
  Migrate();
  ExpectEqualContent(pair_);
  const std::string said = Walferry("status").out;
  std::smatch found;
  ASSERT_TRUE(std::regex_search(said, found, std::regex("run (.*;) -- on the target"))) << said;
  RunOnTarget(found[1]);
  Migrate();
  EXPECT_THAT(Walferry("status").out, ::testing::Not(HasSubstr("on the source only")));
  const std::string owned =
      "SELECT string_agg(pg_get_serial_sequence('t', c), ' ') FROM unnest('{id,n,p}'::text[]) c";
  EXPECT_EQ(Target(owned), Source(owned));
}

TEST_F(ChangedColumns, ChangedMoreThanOnceBetweenTwoLooksIsCopiedAgain) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'a')");
  Migrate();
  RunOnSource(
      "ALTER TABLE t RENAME a TO b; INSERT INTO t VALUES (2, 'in between'); ALTER TABLE t RENAME b TO a;"
      "INSERT INTO t VALUES (3, 'after')");
  EXPECT_THAT(RefusalOf("migrate"), HasSubstr("copies it anew"));
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(ChangedColumns, VerifyNamesColumnsOfOneSideAndGoesOnWithTheOtherTables) {
  RunOnSource(
      "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1); CREATE TABLE b (id int PRIMARY KEY);"
      "CREATE TABLE c (id int PRIMARY KEY)");
  Migrate();
  RunOnSource("ALTER TABLE a ADD n int DEFAULT 5");
  RunOnTarget("DROP TABLE b");
  const WalferryRun run = Walferry("verify");
  EXPECT_EQ(run.exit_code, 4) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("column n is on the source only"),
                             HasSubstr("public.b  is not on the target"), HasSubstr("equal      public.c")));
}

}  // namespace
}  // namespace walferry
