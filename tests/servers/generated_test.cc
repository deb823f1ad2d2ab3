// Generated columns, which a source before version 18 does not publish.
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

class Generated : public MigrationTest {};

TEST_F(Generated, TheTargetGeneratesItsOwnAfterCopyAndStream) {
  RunOnSource(
      "CREATE TABLE t (a int PRIMARY KEY, b int GENERATED ALWAYS AS (a * 2) STORED, c text);"
      "CREATE TABLE plain_there (a int PRIMARY KEY, b int GENERATED ALWAYS AS (a * 2) STORED);"
      "CREATE TABLE f (a int, b int GENERATED ALWAYS AS (a * 2) STORED); ALTER TABLE f REPLICA IDENTITY FULL;"
      "INSERT INTO t (a, c) VALUES (1, 'x'), (2, 'x'); INSERT INTO plain_there VALUES (1); INSERT INTO f "
      "VALUES (1), (2)");
  RunOnTarget(
      "CREATE TABLE t (c text, b int GENERATED ALWAYS AS (a * 22) STORED, a int PRIMARY KEY);"
      "CREATE TABLE plain_there (a int PRIMARY KEY, b int DEFAULT 7);"
      "CREATE TABLE f (a int, b int GENERATED ALWAYS AS (a * 22) STORED);"
      "CREATE TABLE seen (b int); CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS "
      "$$ BEGIN INSERT INTO public.seen VALUES (NEW.b); RETURN NULL; END $$;"
      "CREATE TRIGGER see AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION see();"
      "ALTER TABLE t ENABLE REPLICA TRIGGER see");
  Migrate({"--schema", "none"});
  EXPECT_EQ(Target("SELECT a, b FROM t ORDER BY a"), "1|22\n2|44");
  EXPECT_EQ(Target("SELECT a, b FROM plain_there"), "1|7");
  RunOnTarget("DELETE FROM seen");
  RunOnSource(
      "INSERT INTO t (a, c) VALUES (3, 'y'); UPDATE t SET a = 5 WHERE a = 2; INSERT INTO plain_there VALUES "
      "(2);"
      "UPDATE f SET a = 4 WHERE a = 1; DELETE FROM f WHERE a = 2");
  Migrate();
  EXPECT_EQ(Target("SELECT a, b, c FROM t ORDER BY a"), "1|22|x\n3|66|y\n5|110|x");
  EXPECT_EQ(Target("SELECT a, b FROM plain_there ORDER BY a"), "1|7\n2|7");
  EXPECT_EQ(Target("SELECT a, b FROM f"), "4|88");
  // A trigger of the target sees what the target generated.
  EXPECT_EQ(Target("SELECT b FROM seen ORDER BY b"), "66\n110");
  EXPECT_EQ(Status().at("totals").at("missing_rows"), 0);
}

TEST_F(Generated, ColumnThatOnlyTheTargetGeneratesIsRefusedBeforeAnythingIsMade) {
  RunOnSource("CREATE TABLE t (a int PRIMARY KEY, b int)");
  RunOnTarget("CREATE TABLE t (a int PRIMARY KEY, b int GENERATED ALWAYS AS (a * 2) STORED)");
  const WalferryRun run = Walferry("migrate", {"--schema", "none"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, ::testing::HasSubstr("public.t.b is generated on the target only"));
}

}  // namespace
}  // namespace walferry
