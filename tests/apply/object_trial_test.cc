// The last objects of the schema, tried beforehand.
#include "apply/object_trial.h"

#include <thread>

#include "absl/time/clock.h"
#include "apply/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Trial : public ::testing::Test {
 protected:
  Trial() {
    pair_.RunOnTarget(
        "create table a (id int primary key); create table b (id int primary key, a int);"
        "create function t() returns trigger language plpgsql as 'begin return new; end'");
  }
  void Add(ObjectStage stage, const std::string& kind, const std::string& name, const std::string& sql) {
    objects_.push_back({.id = static_cast<std::int64_t>(objects_.size()) + 1,
                        .stage = stage,
                        .kind = kind,
                        .name = name,
                        .sql = sql});
  }
  void AddLast(const std::string& kind, const std::string& name, const std::string& sql) {
    Add(ObjectStage::kTrigger, kind, name, sql);
  }
  std::vector<ObjectTrial> Try() {
    const auto failed = TryObjects(pair_.target(), objects_);
    EXPECT_TRUE(failed.ok()) << failed.status();
    return failed.ok() ? *failed : std::vector<ObjectTrial>();
  }
  std::string Census() {
    return QueryText(pair_.target(),
                     "select (select count(*) from pg_trigger), (select count(*) from pg_policy), (select "
                     "count(*) from pg_constraint), (select count(*) from pg_event_trigger), (select "
                     "count(*) from pg_default_acl), (select count(*) from pg_locks where locktype = "
                     "'relation' and mode like '%Exclusive%')");
  }

  DatabasePair pair_;
  std::vector<SchemaObject> objects_;
};

TEST_F(Trial, FailuresAreToldAndNothingStays) {
  AddLast("POLICY", "public.a p", "CREATE POLICY p ON public.a TO nobody_here USING (true);");
  AddLast("ROW SECURITY", "public.a", "ALTER TABLE public.a ENABLE ROW LEVEL SECURITY;");
  AddLast("TRIGGER", "public.a t",
          "CREATE TRIGGER t AFTER INSERT ON public.a FOR EACH ROW EXECUTE FUNCTION "
          "public.t();\nCOMMENT ON TRIGGER t ON public.a IS 'mine';");
  AddLast("DEFAULT ACL", "DEFAULT PRIVILEGES FOR TABLES",
          "ALTER DEFAULT PRIVILEGES FOR ROLE nobody_here GRANT SELECT ON TABLES TO nobody_here;");
  AddLast("MATERIALIZED VIEW DATA", "public.mv", "REFRESH MATERIALIZED VIEW public.mv;");
  Add(ObjectStage::kIndex, "INDEX", "public.i", "CREATE INDEX i ON public.nowhere (id);");
  const std::string before = Census();
  const std::vector<ObjectTrial> failed = Try();
  ASSERT_THAT(failed, SizeIs(2));
  EXPECT_EQ(failed[0].object.name, "public.a p");
  EXPECT_EQ(SqlstateOf(failed[0].status), "42704") << failed[0].status;
  EXPECT_TRUE(failed[0].tried);
  EXPECT_EQ(failed[1].object.kind, "DEFAULT ACL");
  EXPECT_EQ(Census(), before);
  EXPECT_EQ(QueryText(pair_.target(), "show session_replication_role"), "origin");
}

TEST_F(Trial, ObjectsThatAreDoneAreNotTried) {
  AddLast("POLICY", "public.a p", "CREATE POLICY p ON public.a TO nobody_here USING (true);");
  objects_.back().done = true;
  EXPECT_THAT(Try(), IsEmpty());
}

// The state of a partition's trigger comes beside the root's trigger, in whatever order.
TEST_F(Trial, ObjectsMayNeedOneAnother) {
  pair_.RunOnTarget(
      "create table p (id int) partition by list (id); create table p1 partition of p for values in (1)");
  AddLast("TRIGGER", "public.p1 t", "ALTER TABLE public.p1 DISABLE TRIGGER t;");
  AddLast("TRIGGER", "public.p t",
          "CREATE TRIGGER t AFTER INSERT ON public.p FOR EACH ROW EXECUTE FUNCTION public.t();");
  AddLast("TRIGGER", "public.a u", "ALTER TABLE public.a DISABLE TRIGGER u;");
  const std::vector<ObjectTrial> failed = Try();
  ASSERT_THAT(failed, SizeIs(1));
  EXPECT_EQ(failed[0].object.name, "public.a u");
}

// An ENABLE ALWAYS event trigger that is itself among the objects is in nobody's way.
TEST_F(Trial, EventTriggersAreTriedAlone) {
  pair_.RunOnTarget(
      "create function no() returns event_trigger language plpgsql as $$begin raise 'no ddl'; end$$");
  AddLast("EVENT TRIGGER", "aaa",
          "CREATE EVENT TRIGGER aaa ON ddl_command_start EXECUTE FUNCTION public.no();\n"
          "ALTER EVENT TRIGGER aaa ENABLE ALWAYS;");
  AddLast("TRIGGER", "public.a t",
          "CREATE TRIGGER t AFTER INSERT ON public.a FOR EACH ROW EXECUTE FUNCTION public.t();");
  EXPECT_THAT(Try(), IsEmpty());
}

// A lane that writes for long is not pushed aside, and does not wait for long.
TEST_F(Trial, TableThatIsBusyIsNotTried) {
  Connection writer = MustConnect(pair_.target_conninfo());
  RunSql(writer, "begin; insert into a values (1)");
  AddLast("TRIGGER", "public.a t",
          "CREATE TRIGGER t AFTER INSERT ON public.a FOR EACH ROW EXECUTE FUNCTION public.t();");
  AddLast("TRIGGER", "public.b t",
          "CREATE TRIGGER t AFTER INSERT ON public.b FOR EACH ROW EXECUTE FUNCTION public.t();");
  const absl::Time begin = absl::Now();
  const std::vector<ObjectTrial> failed = Try();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
  ASSERT_THAT(failed, SizeIs(1));
  EXPECT_FALSE(failed[0].tried);
  EXPECT_EQ(failed[0].object.name, "public.a t");
  RunSql(writer, "commit");
  EXPECT_THAT(Try(), IsEmpty());
}

}  // namespace
}  // namespace walferry
