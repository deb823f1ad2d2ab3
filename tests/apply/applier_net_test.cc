// Net effects on a real server: the same rows as the source has, which applied the changes one by one.
#include <cstdlib>
#include <iostream>
#include <random>

#include "gmock/gmock.h"
#include "tests/apply/apply_stream.h"

namespace walferry {
namespace {

using ::testing::HasSubstr;

class ApplierNet : public ApplyTest {
 protected:
  std::uint64_t Replays() const { return counters_.replays; }
};

TEST_F(ApplierNet, ManyChangesAreFewStatements) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text, n numeric, at timestamptz)");
  BeginMigration();
  ApplyAndCompare(
      "INSERT INTO t SELECT g, 'row ' || g, g / 3.0, now() FROM generate_series(1, 2000) g; UPDATE t SET a = "
      "a || "
      "'!' WHERE id % 2 = 0; DELETE FROM t WHERE id % 5 = 0; INSERT INTO t VALUES (5, 'again', NULL, NULL)");
  EXPECT_EQ(CountersOf(counters_, "t"), (TableCounters{.inserts = 2001, .updates = 1000, .deletes = 400}));
  EXPECT_LT(counters_.statements, 10U);
}

TEST_F(ApplierNet, ValuesOfEveryKindSurviveArrays) {
  pair_.RunOnBoth(
      "CREATE TYPE mood AS ENUM ('sad', 'happy, \"very\"'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); "
      "CREATE TYPE pair AS (a int, b text); CREATE DOMAIN list AS int[]; "
      "CREATE TABLE t (id bigint PRIMARY KEY, t text, v varchar(5), c char(4), n name, by bytea, j json, jb "
      "jsonb, "
      "u uuid, ti timestamptz, iv interval, f float8, m mood, p positive, r int4range, co pair, ai int[], at "
      "text[], "
      "am mood[], bx box, pt point, li list, x xml, b bit(3), vb varbit, ip inet, mo money, mr "
      "int4multirange)");
  BeginMigration();
  const std::string rows =
      "INSERT INTO t SELECT g, E'quote \" back\\\\slash {,} NULL', 'null', 'ab', 'na\"me', '\\x00ff5c22', "
      "'{\"a\": \"\\u0041 \\\\\"}', '{\"a\": [1, null]}', gen_random_uuid(), now(), '1 mon -2 days 3.5 s', "
      "'-Infinity', 'happy, \"very\"', g, '[1,5)', ROW(1, 'a,b\"c')::pair, '{{1,2},{3,NULL}}', "
      "ARRAY['', NULL, 'NULL', 'a,\"b'], '{sad}', '((1,2),(3,4))', '(1.5,2)', '{7,8}', '<a>&lt;</a>', "
      "B'101', "
      "B'1', '10.0.0.0/8', 1.5, '{[1,3),[5,6)}' FROM generate_series(1, 3) g; INSERT INTO t (id) VALUES "
      "(10), (11); ";
  const std::string updates =
      "UPDATE t SET t = '', v = NULL, jb = 'null', ai = '{}', co = ROW(NULL, NULL)::pair WHERE id = 1; "
      "UPDATE t "
      "SET m = "
      "'sad', li = '{}' WHERE id IN (2, 10)";
  ApplyAndCompare(rows + updates);
  EXPECT_EQ(Replays(), 0U);
  EXPECT_LT(counters_.statements, 4U);
  ApplyAndCompare("DELETE FROM t; " + rows + updates, /*binary=*/true);
  EXPECT_EQ(Replays(), 0U);
}

TEST_F(ApplierNet, ShortfallIsCountedByRows) {
  pair_.RunOnBoth(
      "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t SELECT g FROM generate_series(1, 9) g");
  BeginMigration();
  pair_.RunOnTarget("DELETE FROM t WHERE id IN (2, 3, 4)");
  pair_.RunOnSource("UPDATE t SET a = 'x' WHERE id < 4; DELETE FROM t WHERE id IN (4, 5)");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(CountersOf(counters_, "t").missing_rows, 3);
  EXPECT_EQ(Target("SELECT string_agg(id || coalesce(a, '-'), ' ' ORDER BY id) FROM t"), "1x 6- 7- 8- 9-");
}

TEST_F(ApplierNet, UniqueValueThatMovesIsAppliedInTheSourcesOrder) {
  pair_.RunOnBoth(
      "CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE); INSERT INTO t SELECT g, g FROM generate_series(1, "
      "4) g");
  BeginMigration();
  ApplyAndCompare(
      "UPDATE t SET u = 100 WHERE id = 1; UPDATE t SET u = 1 WHERE id = 2; UPDATE t SET u = 2 WHERE id = 1; "
      "UPDATE t SET u = 300 WHERE id = 3; UPDATE t SET u = 3 WHERE id = 4");
  EXPECT_EQ(CountersOf(counters_, "t").missing_rows, 0);
}

TEST_F(ApplierNet, TriggerThatAlwaysFiresSeesTheSourcesOrder) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE seen (n serial, what text)");
  pair_.RunOnTarget(
      "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen (what) "
      "VALUES "
      "(TG_OP || coalesce(NEW.id, OLD.id)); RETURN NULL; END $$; CREATE TRIGGER note AFTER INSERT OR UPDATE "
      "OR "
      "DELETE ON t FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE t ENABLE ALWAYS TRIGGER note");
  BeginMigration("FOR TABLE t");
  pair_.RunOnSource(
      "INSERT INTO t VALUES (2), (1); UPDATE t SET a = 'x' WHERE id = 2; DELETE FROM t WHERE id = 2; INSERT "
      "INTO t "
      "VALUES (2)");
  ASSERT_TRUE(CatchUp().ok());
  EXPECT_EQ(Target("SELECT string_agg(what, ' ' ORDER BY n) FROM seen"),
            "INSERT2 INSERT1 UPDATE2 DELETE2 INSERT2");
}

TEST_F(ApplierNet, TruncateStandsBetween) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE o (id int PRIMARY KEY)");
  BeginMigration();
  ApplyAndCompare(
      "INSERT INTO t VALUES (1), (2); INSERT INTO o VALUES (1); TRUNCATE t; INSERT INTO t VALUES (2); UPDATE "
      "t SET a "
      "= 'x'; INSERT INTO o VALUES (2)");
}

// Few keys, so that every transition comes up; a seed makes it repeatable.
class RandomChanges {
 public:
  explicit RandomChanges(unsigned seed) : random_(seed) {}

  std::string Script(int statements) {
    std::string sql;
    for (int i = 0; i < statements; ++i) {
      const int roll = Roll(20);
      sql += roll == 0 ? "COMMIT; BEGIN; " : roll == 1 ? Rollback() : Statement();
    }
    return "BEGIN; " + sql + "COMMIT";
  }

 private:
  int Roll(int sides) { return static_cast<int>(random_() % static_cast<unsigned>(sides)); }
  std::string Table() {
    static constexpr const char* kTables[] = {"plain",  "wide_key", "uniq", "full_pk",
                                              "no_key", "num",      "extra"};
    return kTables[Roll(7)];
  }
  std::string Key() { return std::to_string(Roll(12)); }
  std::string Rollback() { return "SAVEPOINT s; " + Statement() + "ROLLBACK TO s; "; }

  std::string Statement() {
    const std::string table = Table();
    const std::string key = Key();
    switch (Roll(7)) {
      case 0:
      case 1:
        return "INSERT INTO " + table + " (k, l, a, n) VALUES (" + key + ", 1, 'v" +
               std::to_string(Roll(1000)) + "', " + std::to_string(Roll(9)) + ") ON CONFLICT DO NOTHING; ";
      case 2:
        return "DELETE FROM " + table + " WHERE k = " + key + "; ";
      case 3:
        return "UPDATE " + table + " SET n = n + 1 WHERE k = " + key + "; ";
      case 4:
        return "UPDATE " + table + " SET big = repeat(md5('" + std::to_string(Roll(1000)) +
               "'), 300) WHERE k = " + key + "; ";
      case 5:
        return "UPDATE " + table + " SET a = NULL WHERE k < " + key + "; ";
      default: {
        const std::string other = Key();
        return "UPDATE " + table + " SET k = " + other + " WHERE k = " + key +
               " AND NOT EXISTS (SELECT FROM " + table + " WHERE k = " + other + "); ";
      }
    }
  }

  std::mt19937 random_;
};

constexpr char kShapes[] =
    "CREATE TABLE plain (k int PRIMARY KEY, l int, a text, n int, big text); "
    "CREATE TABLE wide_key (k int, l int, a text, n int, big text, PRIMARY KEY (l, k)); "
    "CREATE TABLE uniq (k int PRIMARY KEY, l int, a text UNIQUE, n int, big text); "
    "CREATE TABLE full_pk (k int PRIMARY KEY, l int, a text, n int, big text); "
    "CREATE TABLE no_key (k int, l int, a text, n int, big text); "
    "CREATE TABLE num (k numeric PRIMARY KEY, l int, a text, n int, big text); "
    "CREATE TABLE extra (k int PRIMARY KEY, l int, a text, n int, big text); "
    "ALTER TABLE plain ALTER big SET STORAGE EXTERNAL; ALTER TABLE extra ALTER big SET STORAGE EXTERNAL; "
    "ALTER TABLE uniq ALTER big SET STORAGE EXTERNAL; ALTER TABLE full_pk REPLICA IDENTITY FULL; "
    "ALTER TABLE no_key REPLICA IDENTITY FULL;";

TEST_F(ApplierNet, RandomChangesComeOutAsOnTheSource) {
  const char* const given = std::getenv("WALFERRY_TEST_SEED");
  const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
  std::cout << "WALFERRY_TEST_SEED=" << seed << std::endl;
  pair_.RunOnBoth(kShapes);
  BeginMigration();
  RandomChanges changes(seed);
  for (int round = 0; round < 6; ++round) {
    SCOPED_TRACE(round);
    const std::string script = changes.Script(700);
    ApplyAndCompare(script, round % 2 == 1);
    std::int64_t missing = 0;
    for (const auto& [table, counters] : counters_.tables) missing += counters.missing_rows;
    EXPECT_EQ(missing, 0);
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace walferry
