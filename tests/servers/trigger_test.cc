// Triggers, foreign keys and rules of the target while changes of the source come in.
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

class Trigger : public MigrationTest {
 protected:
  // A table of what fired, and a function that writes into it.
  void WatchTriggers() {
    RunOnTarget(
        "CREATE TABLE fired (what text); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO public.fired VALUES (TG_NAME || ' ' || TG_OP); RETURN NULL; END $$");
  }
  std::string Fired() {
    return Target("SELECT what || ' ' || count(*) FROM fired GROUP BY what ORDER BY what COLLATE \"C\"");
  }
};

TEST_F(Trigger, OnlyReplicaAndAlwaysTriggersOfTheTargetFire) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text, b text)");
  WatchTriggers();
  RunOnTarget(
      "CREATE TRIGGER ordinary AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();"
      "CREATE TRIGGER replica AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();"
      "CREATE TRIGGER on_a AFTER UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION note();"
      "CREATE TRIGGER always AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();"
      "ALTER TABLE t ENABLE REPLICA TRIGGER replica, ENABLE REPLICA TRIGGER on_a, ENABLE ALWAYS TRIGGER "
      "always");
  Publish();
  RunOnSource("INSERT INTO t VALUES (1, 'x', 'x'), (2, 'x', 'x')");
  RunOnSource("UPDATE t SET a = 'y' WHERE id = 1");
  RunOnSource("DELETE FROM t WHERE id = 2");
  Stream();
  EXPECT_EQ(Fired(), "always INSERT 2\non_a UPDATE 1\nreplica DELETE 1\nreplica INSERT 2\nreplica UPDATE 1");
}

TEST_F(Trigger, BeforeTriggersOfTheTargetMayChangeRows) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text)");
  RunOnTarget(
      "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := upper(NEW.a); RETURN "
      "NEW; "
      "END $$; CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION shout();"
      "ALTER TABLE t ENABLE REPLICA TRIGGER shout");
  Publish();
  RunOnSource("INSERT INTO t VALUES (1, 'one'), (2, 'two'); UPDATE t SET a = 'three' WHERE id = 2");
  Stream();
  EXPECT_EQ(Target("SELECT id, a FROM t ORDER BY id"), "1|ONE\n2|THREE");
}

TEST_F(Trigger, ForeignKeysOfTheTargetNeitherRefuseNorCascade) {
  RunOnBoth(
      "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, parent int "
      "REFERENCES "
      "parent ON DELETE CASCADE, a text)");
  WatchTriggers();
  Publish("FOR TABLE child");
  RunOnSource("INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 1, 'x'), (2, 2, 'x')");
  Stream();
  // Nobody published the parents.
  EXPECT_EQ(Target("SELECT id, parent FROM child ORDER BY id"), "1|1\n2|2");
  RunOnSource("ALTER PUBLICATION p ADD TABLE parent; DELETE FROM parent WHERE id = 1");
  Stream();
  EXPECT_EQ(Target("SELECT id FROM child"), "2");
  // The cascade's own DELETE came from the source; the parent was missing here all along.
  EXPECT_EQ(TableStatus("public.child").at("missing_rows"), 0);
}

TEST_F(Trigger, RowsThatTriggersAndRulesOfTheSourceWroteComeOnce) {
  RunOnSource(
      "CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE log (n int GENERATED ALWAYS AS IDENTITY "
      "PRIMARY "
      "KEY, id int); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := NEW.a || "
      "'!'; "
      "INSERT INTO public.log (id) VALUES (NEW.id); RETURN NEW; END $$;"
      "CREATE TRIGGER note BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note();"
      "CREATE RULE also AS ON INSERT TO t DO ALSO INSERT INTO log (id) VALUES (NEW.id + 100)");
  RunOnSource("INSERT INTO t VALUES (1, 'x')");
  Migrate();
  RunOnSource("INSERT INTO t VALUES (2, 'y'); UPDATE t SET a = 'z' WHERE id = 1");
  Migrate();
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT count(*) FROM log"), "5");
}

}  // namespace
}  // namespace walferry
