// Schemas of both sides that differ, and the schema that walferry brings over itself.
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "stream/child_process.h"
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class SchemaOf : public MigrationTest {
 protected:
  // pg_dump's words for the whole schema of a database.
  static std::string Dumped(const std::string& conninfo) {
    const std::string path = ::testing::TempDir() + "/walferry_schema_" + std::to_string(getpid());
    ChildOptions options;
    options.argv = {"pg_dump", "--schema-only", "--no-publications", "--dbname=" + conninfo};
    options.stdout_path = path;
    absl::StatusOr<ChildProcess> child = ChildProcess::Start(options);
    EXPECT_TRUE(child.ok()) << child.status();
    EXPECT_EQ(child->Wait(), 0);
    std::ifstream file(path);
    std::string text;
    for (std::string line; std::getline(file, line);) {
      // Each run of pg_dump has its own key in \restrict and \unrestrict.
      if (!line.starts_with('\\')) text += line + "\n";
    }
    std::remove(path.c_str());
    return text;
  }
};

TEST_F(SchemaOf, RewrittenTablesGoOnAsIfNothingWas) {
  RunOnSource(
      "CREATE TABLE t (id int PRIMARY KEY, a int, b text); INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'x')");
  Migrate();
  RunOnSource("INSERT INTO t VALUES (3, 3, 'x')");
  RunOnSource("VACUUM FULL t");
  RunOnSource("UPDATE t SET b = 'y' WHERE id = 1; CLUSTER t USING t_pkey");
  RunOnSource("ALTER TABLE t ALTER a TYPE bigint USING a * 1000000000000");
  RunOnTarget("ALTER TABLE t ALTER a TYPE bigint USING a * 1000000000000");
  RunOnSource("INSERT INTO t VALUES (4, 5000000000, 'x'); DELETE FROM t WHERE id = 2");
  RunOnSource("ALTER TABLE t ADD c uuid DEFAULT gen_random_uuid()");
  RunOnTarget("ALTER TABLE t ADD c uuid");
  RunOnSource("UPDATE t SET b = 'z'");
  Migrate();
  ExpectSame("SELECT id, b, c FROM t ORDER BY id");
  EXPECT_EQ(Target("SELECT a FROM t WHERE id = 4"), "5000000000");
}

TEST_F(SchemaOf, ColumnsOfTheTargetAloneTakeDefaultsAndKeepTheirValues) {
  RunOnSource(
      "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'copied'), (2, 'copied')");
  RunOnTarget(
      "CREATE SEQUENCE s; CREATE TABLE t (n int DEFAULT nextval('s'), id int PRIMARY KEY, own text DEFAULT "
      "'default', a text, nothing int)");
  Migrate({"--schema", "none"});
  EXPECT_EQ(Target("SELECT id, a, own, nothing FROM t ORDER BY id"),
            "1|copied|default|NULL\n2|copied|default|NULL");
  RunOnTarget("UPDATE t SET own = 'local', nothing = 5 WHERE id = 1");
  RunOnSource("UPDATE t SET a = 'streamed'; INSERT INTO t VALUES (3, 'streamed')");
  Migrate();
  EXPECT_EQ(Target("SELECT id, a, own, nothing FROM t ORDER BY id"),
            "1|streamed|local|5\n2|streamed|default|NULL\n3|streamed|default|NULL");
  EXPECT_EQ(Target("SELECT count(DISTINCT n) FROM t"), "3");
}

TEST_F(SchemaOf, ColumnThatTheTargetLacksIsNamedBeforeAnythingIsMade) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, a text, missing int)");
  RunOnTarget("CREATE TABLE t (id int PRIMARY KEY, a text)");
  const WalferryRun run = Walferry("migrate", {"--schema", "none", "--until", "caught-up"});
  EXPECT_EQ(run.exit_code, 3) << run.err;
  EXPECT_THAT(run.err, AllOf(HasSubstr("public.t.missing"), HasSubstr("nothing was changed")));
  EXPECT_EQ(Source("SELECT count(*) FROM pg_publication"), "0");
  EXPECT_EQ(Source("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"), "0");
  EXPECT_EQ(Target("SELECT to_regnamespace('walferry')"), "NULL");
}

// Before its first change, of what the run read when it began; and after it.
TEST_F(SchemaOf, TablesMayBeAlteredWhileTheStreamRuns) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, gone int); CREATE TABLE other (id int PRIMARY KEY)");
  Publish();
  Begin("stream", SlotArguments());
  RunOnSource("INSERT INTO other VALUES (1)");
  ASSERT_TRUE(TargetComesTo("SELECT count(*) FROM other", "1"));
  for (int i = 1; i <= 2; ++i) {
    RunOnBoth(
        absl::StrFormat("ALTER TABLE t ADD COLUMN a%d text; ALTER TABLE t DROP COLUMN IF EXISTS gone", i));
    RunOnSource(absl::StrFormat("INSERT INTO t (id, a%1$d) VALUES (%1$d, 'new')", i));
    ASSERT_TRUE(TargetComesTo(absl::StrFormat("SELECT a%1$d FROM t WHERE id = %1$d", i), "new"));
  }
  ExpectSame("SELECT * FROM t ORDER BY id");
}

TEST_F(SchemaOf, MaterializedViewsOfTheSourceMayBeRefreshed) {
  RunOnSource(
      "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE MATERIALIZED VIEW m AS SELECT * "
      "FROM t;"
      "CREATE UNLOGGED TABLE u (id int PRIMARY KEY)");
  Migrate();
  RunOnSource(
      "INSERT INTO t VALUES (2); INSERT INTO u VALUES (1); REFRESH MATERIALIZED VIEW m; INSERT INTO t VALUES "
      "(3)");
  Migrate();
  ExpectSame("SELECT id FROM t ORDER BY id");
}

constexpr const char* kShop = R"sql(
CREATE SCHEMA shop; CREATE SCHEMA "Odd Schema"; CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm SCHEMA shop;
CREATE TYPE shop.state AS ENUM ('new', 'paid'); CREATE DOMAIN shop.email AS text CHECK (VALUE LIKE '%@%');
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := now(); RETURN NEW; END $$;
CREATE FUNCTION shop.double(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * x';
CREATE TABLE shop.customer (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, email shop.email UNIQUE, name text,
  upper_name text GENERATED ALWAYS AS (upper(name)) STORED, touched timestamptz DEFAULT now());
CREATE TABLE shop.purchase (id serial PRIMARY KEY, customer bigint NOT NULL REFERENCES shop.customer ON DELETE CASCADE,
  state shop.state DEFAULT 'new', amount numeric CHECK (amount >= 0), tags hstore, during tsrange,
  EXCLUDE USING gist (during WITH &&));
CREATE INDEX purchase_state ON shop.purchase (state) WHERE state = 'new'; CREATE INDEX purchase_double ON shop.purchase (shop.double(id));
CREATE INDEX customer_name ON shop.customer USING gin (name shop.gin_trgm_ops);
CREATE TRIGGER touch BEFORE UPDATE ON shop.customer FOR EACH ROW EXECUTE FUNCTION shop.touch();
CREATE TRIGGER quiet AFTER INSERT ON shop.purchase FOR EACH ROW EXECUTE FUNCTION shop.touch();
ALTER TABLE shop.purchase DISABLE TRIGGER quiet;
CREATE VIEW shop.totals AS SELECT customer, sum(amount) AS total FROM shop.purchase GROUP BY 1;
CREATE MATERIALIZED VIEW shop.frozen AS SELECT * FROM shop.totals; CREATE UNIQUE INDEX frozen_key ON shop.frozen (customer);
CREATE TABLE "Odd Schema"."Odd ""table""" ("Key" int PRIMARY KEY, "a b" text COLLATE "C");
CREATE TABLE measured (at date NOT NULL, v int, PRIMARY KEY (at)) PARTITION BY RANGE (at);
CREATE TABLE measured_old PARTITION OF measured FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE measured_new PARTITION OF measured DEFAULT; CREATE INDEX measured_v ON measured (v);
CREATE TABLE base (id int PRIMARY KEY, a text); CREATE TABLE derived (b text, PRIMARY KEY (id)) INHERITS (base);
CREATE SEQUENCE counter START 100 INCREMENT 10; CREATE STATISTICS purchase_stats ON customer, state FROM shop.purchase;
ALTER TABLE shop.customer ENABLE ROW LEVEL SECURITY; CREATE POLICY all_of_it ON shop.customer USING (true);
COMMENT ON TABLE shop.customer IS 'who buys'; COMMENT ON INDEX shop.purchase_state IS 'open ones';
ALTER TABLE shop.customer CLUSTER ON customer_pkey; ALTER TABLE base REPLICA IDENTITY FULL;
INSERT INTO shop.customer (email, name) SELECT i || '@x', 'name ' || i FROM generate_series(1, 50) i;
INSERT INTO shop.purchase (customer, amount, tags, during) SELECT i, i, 'a=>1', tsrange('2024-01-01'::timestamp + i * '1 h'::interval,
  '2024-01-01'::timestamp + (i + 1) * '1 h'::interval) FROM generate_series(1, 50) i;
INSERT INTO "Odd Schema"."Odd ""table""" VALUES (1, 'x'); INSERT INTO measured SELECT d, 1 FROM generate_series('2023-12-20'::date, '2024-01-10', '1 day') d;
INSERT INTO base VALUES (1, 'b'); INSERT INTO derived VALUES (2, 'd', 'dd'); SELECT nextval('counter'), nextval('counter');
REFRESH MATERIALIZED VIEW shop.frozen;
)sql";

constexpr const char* kShopGoesOn = R"sql(
INSERT INTO shop.customer (email, name) VALUES ('new@x', 'new'); UPDATE shop.customer SET name = 'other' WHERE id = 1;
INSERT INTO shop.purchase (customer, amount) VALUES (51, 7); DELETE FROM shop.customer WHERE id = 2;
UPDATE "Odd Schema"."Odd ""table""" SET "Key" = 2; UPDATE measured SET at = '2025-01-01' WHERE at = '2023-12-20'; UPDATE base SET a = 'B';
SELECT nextval('counter');
)sql";

TEST_F(SchemaOf, IsTheSourcesInFullAfterTheCutover) {
  RunOnSource(kShop);
  Migrate();
  // All but the triggers are there while the target follows.
  EXPECT_EQ(Target("SELECT count(*) FROM pg_indexes WHERE schemaname = 'shop' AND tablename = 'purchase'"),
            "4");
  RunOnSource(kShopGoesOn);
  const WalferryRun cutover = Walferry("cutover");
  ASSERT_EQ(cutover.exit_code, 0) << cutover.err;
  ASSERT_EQ(Walferry("cleanup", {"--yes"}).exit_code, 0);
  EXPECT_EQ(Dumped(pair_.source_conninfo()), Dumped(pair_.target_conninfo()));
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT total FROM shop.totals WHERE customer = 51"), "7");
  // A number that the source never gave out, and a trigger that fires.
  EXPECT_EQ(Target("SELECT nextval('counter')"), Source("SELECT nextval('counter')"));
  EXPECT_EQ(Target("INSERT INTO shop.purchase (customer, amount) VALUES (51, 1) RETURNING id"), "52");
  EXPECT_EQ(
      Target("INSERT INTO shop.customer (email, name) VALUES ('after@x', 'after') RETURNING id, upper_name"),
      "52|AFTER");
  EXPECT_EQ(Target("UPDATE shop.customer SET touched = NULL WHERE id = 52 RETURNING touched IS NOT NULL"),
            "t");
}

TEST_F(SchemaOf, CopyBringsSchemaAndRowsAndLeavesNothing) {
  RunOnSource(kShop);
  const WalferryRun copy = Walferry("copy");
  ASSERT_EQ(copy.exit_code, 0) << copy.err;
  EXPECT_EQ(Dumped(pair_.source_conninfo()), Dumped(pair_.target_conninfo()));
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT nextval('counter')"), Source("SELECT nextval('counter')"));
  EXPECT_EQ(Source("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"), "0");
  EXPECT_EQ(Source("SELECT count(*) FROM pg_publication"), "0");
  EXPECT_EQ(Target("SELECT to_regnamespace('walferry')"), "NULL");
}

TEST_F(SchemaOf, ForeignKeyThatRowsViolateWaitsForTheCutover) {
  RunOnSource(
      "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p);"
      "SET session_replication_role = replica; INSERT INTO c VALUES (1, 99); RESET session_replication_role");
  const WalferryRun migrated = Walferry("migrate", {"--until", "caught-up"});
  EXPECT_EQ(migrated.exit_code, 0) << migrated.err;
  EXPECT_THAT(migrated.err, AllOf(HasSubstr("left for later"), HasSubstr("c_p_fkey"),
                                  HasSubstr("SELECT r.* FROM public.c r WHERE r.p IS NOT NULL")));
  RunOnSource("INSERT INTO p VALUES (99)");
  Migrate();
  const WalferryRun cut = Walferry("cutover", {"--fence", "none"});
  EXPECT_EQ(cut.exit_code, 0) << cut.err;
  EXPECT_EQ(Target("SELECT convalidated FROM pg_constraint WHERE conname = 'c_p_fkey'"), "t");
}

TEST_F(SchemaOf, ForeignKeyThatRowsViolateToTheEndIsLeftNotValid) {
  RunOnSource(
      "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p);"
      "SET session_replication_role = replica; INSERT INTO c VALUES (1, 99)");
  Migrate();
  const WalferryRun cut = Walferry("cutover", {"--fence", "none"});
  EXPECT_THAT(cut.err, HasSubstr("c_p_fkey"));
  EXPECT_EQ(Target("SELECT convalidated FROM pg_constraint WHERE conname = 'c_p_fkey'"), "f");
}

// A source whose index does not show all rows, as after a change of a collation.
TEST_F(SchemaOf, UniqueIndexThatRowsViolateWaitsAndTheCutoverNamesIt) {
  RunOnSource(
      "CREATE TABLE t (id int PRIMARY KEY, a int); CREATE TABLE k (id int PRIMARY KEY, a int);"
      "INSERT INTO t VALUES (1, 7), (2, 8); CREATE UNIQUE INDEX t_a ON t (a);"
      "ALTER TABLE k ADD CONSTRAINT k_a FOREIGN KEY (a) REFERENCES t (a);"
      "UPDATE pg_index SET indisready = false WHERE indexrelid = 't_a'::regclass; INSERT INTO t VALUES (3, "
      "7);"
      "UPDATE pg_index SET indisready = true WHERE indexrelid = 't_a'::regclass");
  const WalferryRun migrated = Walferry("migrate", {"--until", "caught-up"});
  EXPECT_EQ(migrated.exit_code, 0) << migrated.err;
  EXPECT_THAT(migrated.err, HasSubstr("SELECT a, count(*) FROM public.t WHERE a IS NOT NULL GROUP BY a"));
  const WalferryRun refused = Walferry("cutover", {"--fence", "none"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("t_a"));
  RunOnSource("DELETE FROM t WHERE id = 3");
  Migrate();
  const WalferryRun cut = Walferry("cutover", {"--fence", "none"});
  EXPECT_EQ(cut.exit_code, 0) << cut.err;
  EXPECT_EQ(Target("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass"), "t");
}

// A second migration of other tables of the same databases, and a new beginning: types and functions are
// there.
TEST_F(SchemaOf, WhatAnotherMigrationBroughtIsTakenAsItIs) {
  RunOnSource(
      "CREATE TYPE mood AS ENUM ('a'); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';"
      "CREATE TABLE a (id serial PRIMARY KEY, m mood); CREATE TABLE b (id serial PRIMARY KEY, m mood);"
      "INSERT INTO b (m) VALUES ('a')");
  Migrate({"--tables", "public.a"});
  const std::string second = name() + "_second";
  const std::vector<std::string> of_second = {
      "--source", pair_.source_conninfo(), "--target", pair_.target_conninfo(), "--name", second};
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), of_second.begin(), of_second.end());
    return RunWalferry(arguments);
  };
  const WalferryRun migrated = run({"migrate", "--tables", "public.b", "--until", "caught-up"});
  EXPECT_EQ(migrated.exit_code, 0) << migrated.err;
  EXPECT_EQ(Target("SELECT count(*) FROM b"), "1");
  EXPECT_EQ(run({"cleanup", "--yes"}).exit_code, 0);
  RunOnTarget("DROP TABLE b; ALTER TYPE mood ADD VALUE 'b'");
  const WalferryRun refused = run({"migrate", "--tables", "public.b", "--until", "caught-up"});
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_THAT(refused.err, HasSubstr("not as on the source: TYPE public.mood"));
}

// More than are read in one page of the catalog.
TEST_F(SchemaOf, ThousandsOfTablesAreMetRightly) {
  const std::string tables =
      "DO $$ BEGIN FOR i IN 1..2100 LOOP EXECUTE pg_catalog.format('CREATE TABLE public.m%s (id int PRIMARY "
      "KEY, "
      "v int)', i); IF i % 100 = 0 THEN COMMIT; END IF; END LOOP; END $$";
  RunOnBoth(tables);
  Publish();
  RunOnTarget("ALTER TABLE m2099 ADD CHECK (v > 0), ALTER v TYPE bigint");
  RunOnSource(
      "DO $$ BEGIN FOR i IN 1..2100 LOOP EXECUTE pg_catalog.format('INSERT INTO public.m%s VALUES (%s, 1)', "
      "i, i); "
      "IF i % 100 = 0 THEN COMMIT; END IF; END LOOP; END $$");
  Stream();
  EXPECT_EQ(Target("SELECT v FROM m2099"), "1");
  RunOnTarget("ANALYZE");
  EXPECT_EQ(
      Target("SELECT count(*) FROM pg_class WHERE relname ~ '^m[0-9]+$' AND relkind = 'r' AND reltuples = 1"),
      "2100");
}

}  // namespace
}  // namespace walferry
