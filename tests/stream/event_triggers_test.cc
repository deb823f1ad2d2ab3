// DDL of ours past event triggers that refuse it.
#include "stream/event_triggers.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class EventTriggers : public ::testing::Test {
 protected:
  EventTriggers() {
    pair_.RunOnTarget(
        "create table ours (a int); create role plain_" + pair_.name() +
        " login; grant all on schema public to plain_" + pair_.name() +
        "; create function no() returns event_trigger language plpgsql as $$begin raise 'no ddl'; end$$;"
        "create event trigger aaa on ddl_command_start execute function no();"
        "create event trigger bbb on sql_drop when tag in ('DROP TABLE') execute function no();"
        "create event trigger off on ddl_command_start execute function no();"
        "alter event trigger off disable; alter event trigger aaa enable always");
  }
  ~EventTriggers() override {
    pair_.RunOnTarget(
        "alter event trigger aaa disable; alter event trigger bbb disable; drop owned by plain_" +
        pair_.name() + "; drop role plain_" + pair_.name());
  }
  std::string States() {
    return QueryText(pair_.target(), "select evtname, evtenabled from pg_event_trigger order by 1");
  }
  absl::Status DropOurs(Connection& connection) {
    return ExecutePastEventTriggers(connection,
                                    [&] { return connection.Execute("drop table public.ours").status(); });
  }

  DatabasePair pair_;
};

TEST_F(EventTriggers, SuperuserGetsPastThemAndTheyStayAsTheyWere) {
  const std::string before = States();
  EXPECT_EQ(before, "aaa|A\nbbb|O\noff|D");
  const absl::Status dropped = DropOurs(pair_.target());
  EXPECT_TRUE(dropped.ok()) << dropped;
  EXPECT_EQ(QueryText(pair_.target(), "select to_regclass('public.ours')"), "NULL");
  EXPECT_EQ(States(), before);
  EXPECT_FALSE(pair_.target().Execute("create table more (a int)").ok());
}

TEST_F(EventTriggers, ErrorOfTheCommandItselfLeavesThemAsTheyWere) {
  const std::string before = States();
  const absl::Status failed = ExecutePastEventTriggers(
      pair_.target(), [&] { return pair_.target().Execute("drop table public.nowhere").status(); });
  EXPECT_FALSE(failed.ok());
  EXPECT_EQ(States(), before);
}

TEST_F(EventTriggers, OthersAreToldWhatIsInTheWay) {
  pair_.RunOnTarget(
      "alter event trigger aaa disable; alter event trigger bbb disable; alter table ours owner to plain_" +
      pair_.name() + "; alter event trigger aaa enable always");
  Connection plain = MustConnect(pair_.target_conninfo() + " user=plain_" + pair_.name());
  const absl::Status refused = DropOurs(plain);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(refused)),
              AllOf(HasSubstr("no ddl"), HasSubstr("(\"aaa\")"), HasSubstr("DISABLE")));
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from ours"), "0");
}

TEST_F(EventTriggers, AreFoundByTheCommandsThatTheyFireAt) {
  const auto at_drop = EventTriggersAt(pair_.target(), {"DROP TABLE"});
  ASSERT_TRUE(at_drop.ok()) << at_drop.status();
  EXPECT_THAT(*at_drop, ElementsAre(Field(&EventTrigger::name, "aaa"), Field(&EventTrigger::name, "bbb")));
  pair_.RunOnTarget("alter event trigger aaa disable");
  EXPECT_THAT(EventTriggersAt(pair_.target(), {"CREATE PUBLICATION"}).value(), IsEmpty());
}

TEST_F(EventTriggers, FailureNamesThemWithTheirSide) {
  const absl::Status failed = pair_.target().Execute("create publication p").status();
  const absl::Status named = NameEventTriggers(pair_.target(), failed, "CREATE PUBLICATION", "the source");
  EXPECT_THAT(std::string(MessageOf(named)),
              AllOf(HasSubstr("no ddl"), HasSubstr("event triggers of the source"), HasSubstr("(\"aaa\")")));
  EXPECT_TRUE(NameEventTriggers(pair_.target(), absl::OkStatus(), "DROP PUBLICATION", "the source").ok());
}

}  // namespace
}  // namespace walferry
