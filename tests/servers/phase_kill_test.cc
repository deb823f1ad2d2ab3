// `walferry migrate` killed with SIGKILL in each of its phases, and run again by the same command: it goes
// on, and both sides are equal in the end. Locks and open transactions hold it in the phase that is meant,
// where the source's catalog may change meanwhile, too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "tests/support/server_pair.h"
#include "tests/support/walferry_process.h"

namespace walferry {
namespace {

class PhaseKill : public ::testing::Test {
 protected:
  void SetUp() override {
    pair.RunOnSource(R"sql(
create table a (id int primary key, name text, b_id int);
create table b (id serial primary key, name text unique);
create table "Odd ""name""" (id int primary key, v numeric);
alter table a add foreign key (b_id) references b;
create index on a (name);
create view v as select a.name, b.name as other from a join b on a.b_id = b.id;
create function stamp() returns trigger language plpgsql as $$ begin new.name = new.name || '!'; return new; end $$;
create trigger stamp before insert on b for each row execute function stamp();
insert into b (name) select 'b' || g from generate_series(1, 500) g;
insert into a select g, 'a' || g, 1 + g % 500 from generate_series(1, 5000) g;
insert into "Odd ""name""" select g, g / 3.0 from generate_series(1, 1000) g;
)sql");
  }

  std::unique_ptr<WalferryProcess> Start(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(),
                     {"--source", pair.source_conninfo(), "--target", pair.target_conninfo()});
    return std::make_unique<WalferryProcess>(arguments);
  }

  std::string Status(const std::string& key) const {
    const WalferryRun run = RunWalferry(
        {"status", "--json", "--source", pair.source_conninfo(), "--target", pair.target_conninfo()});
    if (run.exit_code != 0) return "";
    return nlohmann::json::parse(run.out).at(key).get<std::string>();
  }

  // Statements of walferry (and its children) that wait for a lock in a database.
  static std::string Waiting(Connection& connection, const std::string& like) {
    return QueryText(connection,
                     "select count(*) from pg_stat_activity where datname = current_database() and "
                     "wait_event_type = 'Lock' and query ilike " +
                         QuoteLiteral(like));
  }

  void Kill(WalferryProcess& walferry) {
    ASSERT_TRUE(walferry.running()) << walferry.err();
    walferry.Kill();
  }

  void ContinueUntilEqual() {
    pair.RunOnSource(
        "insert into b (name) values ('after the kill'); update a set name = name || '+' where id % 7 = 0; "
        "delete from a where id % 11 = 0");
    const auto walferry = Start({"migrate", "--until", "caught-up"});
    EXPECT_EQ(walferry->Wait(absl::Seconds(60)), 0) << walferry->err();
    ExpectEqualContent(pair);
    EXPECT_EQ(Status("phase"), "follow");
    ExpectNothingLeftOver();
  }

  void ExpectNothingLeftOver() {
    EXPECT_EQ(QueryText(pair.source(),
                        "select string_agg(slot_name, ',') from pg_replication_slots where database = "
                        "current_database()"),
              "walferry");
    EXPECT_EQ(QueryText(pair.source(), "select string_agg(pubname, ',') from pg_publication"), "walferry");
    EXPECT_EQ(QueryText(pair.target(),
                        "select count(*) from pg_index where indrelid in ('a'::regclass, 'b'::regclass)"),
              "4");
    EXPECT_EQ(QueryText(pair.target(), "select count(*) from pg_index where not indisvalid"), "0");
  }

  // A connection with an open transaction that did `sql`; dropping it rolls back.
  static std::unique_ptr<Connection> Hold(const std::string& conninfo, const std::string& sql) {
    auto connection = std::make_unique<Connection>(MustConnect(conninfo));
    RunSql(*connection, "begin");
    RunSql(*connection, sql);
    return connection;
  }

  // Returns with walferry waiting between the making of the slot and the record of it, for a transaction on
  // the target that the caller ends.
  std::unique_ptr<Connection> HoldAfterTheSlot(WalferryProcess& walferry) {
    const auto writer = Hold(pair.source_conninfo(), "insert into b (name) values ('open')");
    const auto slot_waits = [&] {
      return QueryText(pair.source(),
                       "select count(*) from pg_replication_slots where slot_name = 'walferry'") == "1";
    };
    EXPECT_TRUE(WaitUntil(slot_waits, absl::Seconds(20))) << walferry.err();
    auto holder = Hold(pair.target_conninfo(), "lock table walferry.migration in exclusive mode");
    RunSql(*writer, "commit");
    const auto update_waits = [&] { return Waiting(pair.target(), "update walferry.migration%") == "1"; };
    EXPECT_TRUE(WaitUntil(update_waits, absl::Seconds(20))) << walferry.err();
    return holder;
  }

  DatabasePair pair;
};

TEST_F(PhaseKill, PublicationIsMadeByTheNextRun) {
  // CREATE PUBLICATION waits for a lock on a table, with the migration recorded already.
  auto holder = Hold(pair.source_conninfo(), "lock table a in share update exclusive mode");
  auto walferry = Start({"migrate"});
  const auto waits = [&] { return Waiting(pair.source(), "%create publication%") == "1"; };
  if (!WaitUntil(waits, absl::Seconds(20))) FAIL() << "never waited: " << walferry->err();
  EXPECT_EQ(Status("phase"), "publication");
  Kill(*walferry);
  holder.reset();
  ContinueUntilEqual();
}

// What waits for a lock has looked up the name, and finds it gone.
TEST_F(PhaseKill, TableRenamedWhileThePublicationIsMadeIsLookedUpAgain) {
  auto holder =
      Hold(pair.source_conninfo(), "lock table \"Odd \"\"name\"\"\" in share update exclusive mode");
  auto walferry = Start({"migrate", "--until", "caught-up"});
  const auto waits = [&] { return Waiting(pair.source(), "%create publication%") == "1"; };
  if (!WaitUntil(waits, absl::Seconds(20))) FAIL() << "never waited: " << walferry->err();
  RunSql(*holder, "alter table \"Odd \"\"name\"\"\" rename to even; commit");
  EXPECT_EQ(walferry->Wait(absl::Seconds(60)), 0) << walferry->err();
  EXPECT_EQ(QueryText(pair.target(), "select count(*) from even"), "1000");
  ContinueUntilEqual();
}

TEST_F(PhaseKill, HalfMadeSlotIsMadeAgain) {
  // The slot waits for the transaction: it is in pg_replication_slots, and not usable.
  auto holder = Hold(pair.source_conninfo(), "insert into b (name) values ('open')");
  auto walferry = Start({"migrate"});
  const auto waits = [&] {
    return QueryText(pair.source(),
                     "select count(*) from pg_replication_slots where slot_name = 'walferry' and active and "
                     "confirmed_flush_lsn is null") == "1";
  };
  ASSERT_TRUE(WaitUntil(waits, absl::Seconds(20))) << walferry->err();
  EXPECT_EQ(Status("phase"), "slot");
  Kill(*walferry);
  RunSql(*holder, "commit");
  ContinueUntilEqual();
}

TEST_F(PhaseKill, SlotThatWasNotRecordedIsMadeAgain) {
  auto walferry = Start({"migrate"});
  const auto holder = HoldAfterTheSlot(*walferry);
  Kill(*walferry);
  RunSql(*holder, "rollback");
  EXPECT_EQ(Status("phase"), "slot");
  ContinueUntilEqual();
}

// Seen to fail: pg_dump could not lock the table by the name that the slot's snapshot has.
TEST_F(PhaseKill, NamesThatAreOthersSinceTheSlotAreThoseOfAnotherSnapshot) {
  pair.RunOnSource(
      "create table old (id int primary key, v int); create index on old (v); insert into old values (1, 1);"
      "create view seen as select * from a; create table gone (id int primary key)");
  auto walferry = Start({"migrate", "--until", "caught-up"});
  const auto holder = HoldAfterTheSlot(*walferry);
  pair.RunOnSource(
      "alter table old rename to young; alter table young rename v to w; insert into young values (2, 2);"
      "drop view seen; drop table gone");
  RunSql(*holder, "commit");
  EXPECT_EQ(walferry->Wait(absl::Seconds(60)), 0) << walferry->err();
  EXPECT_NE(walferry->err().find("under a new snapshot"), std::string::npos) << walferry->err();
  EXPECT_EQ(QueryText(pair.target(), "select indexdef from pg_indexes where indexname = 'old_v_idx'"),
            "CREATE INDEX old_v_idx ON public.young USING btree (w)");
  ContinueUntilEqual();
}

// Its index would be of a column that the table of the snapshot does not have.
TEST_F(PhaseKill, ColumnRenamedSinceTheSlotIsDumpedUnderAnotherSnapshot) {
  pair.RunOnSource("create table t (id int primary key, v int); create index on t (v)");
  auto walferry = Start({"migrate", "--until", "caught-up"});
  const auto holder = HoldAfterTheSlot(*walferry);
  pair.RunOnSource("alter table t rename v to w; insert into t values (1, 1)");
  RunSql(*holder, "commit");
  EXPECT_EQ(walferry->Wait(absl::Seconds(60)), 0) << walferry->err();
  EXPECT_NE(walferry->err().find("under a new one"), std::string::npos) << walferry->err();
  EXPECT_EQ(QueryText(pair.target(), "select indexdef from pg_indexes where indexname = 't_v_idx'"),
            "CREATE INDEX t_v_idx ON public.t USING btree (w)");
  ContinueUntilEqual();
}

// Seen to fail: the target's table, with the name of the dump, was looked for by that of the slot's snapshot,
// and the one of the source, with its first name again, was to be made by hand.
TEST_F(PhaseKill, NamesOfTheDumpAreThoseOfTheTarget) {
  pair.RunOnSource(
      "create table t (id int primary key, v int); insert into t values (1, 1);"
      "create table gone (id int primary key)");
  auto walferry = Start({"migrate"});
  const auto slot = HoldAfterTheSlot(*walferry);
  pair.RunOnSource(
      "drop table gone; alter table t rename to gone; alter table gone rename v to w;"
      "insert into gone values (2, 2)");
  // The schema is made, and not committed.
  const auto schema = Hold(pair.target_conninfo(), "create table public.gone (id int)");
  RunSql(*slot, "commit");
  const auto schema_waits = [&] { return Waiting(pair.target(), "%create table public.gone%") == "1"; };
  if (!WaitUntil(schema_waits, absl::Seconds(20))) FAIL() << "never waited: " << walferry->err();
  pair.RunOnSource("alter table gone rename to t; alter table t rename w to v; insert into t values (3, 3)");
  RunSql(*schema, "rollback");
  EXPECT_EQ(walferry->Wait(absl::Seconds(60)), 1);
  EXPECT_NE(walferry->err().find("run ALTER TABLE \"public\".\"gone\" RENAME TO \"t\""), std::string::npos)
      << walferry->err();
  pair.RunOnTarget("alter table gone rename to t; alter table t rename w to v");
  ContinueUntilEqual();
}

TEST_F(PhaseKill, TableRenamedWhileACopyDumpsTheSchemaIsLookedUpAgain) {
  pair.RunOnSource("create table root (id int) partition by range (id)");
  const auto locker = Hold(pair.source_conninfo(), "alter table root rename to trunk");
  auto walferry = Start({"copy"});
  const auto dump_waits = [&] { return Waiting(pair.source(), "lock table%") == "1"; };
  ASSERT_TRUE(WaitUntil(dump_waits, absl::Seconds(20))) << walferry->err();
  RunSql(*locker, "commit");
  EXPECT_EQ(walferry->Wait(absl::Seconds(60)), 0) << walferry->err();
  ExpectEqualContent(pair);
  EXPECT_EQ(QueryText(pair.target(), "select to_regclass('trunk')"), "trunk");
}

TEST_F(PhaseKill, SchemaDumpIsMadeAgainAndItsProgramDoesNotLinger) {
  // Of a table without partitions walferry itself wants nothing, but pg_dump locks it.
  pair.RunOnSource("create table root (id int) partition by range (id)");
  auto walferry = Start({"migrate"});
  const auto holder = HoldAfterTheSlot(*walferry);
  const auto locker = Hold(pair.source_conninfo(), "lock table root in access exclusive mode");
  RunSql(*holder, "commit");
  const auto dump_waits = [&] { return Waiting(pair.source(), "lock table%") == "1"; };
  ASSERT_TRUE(WaitUntil(dump_waits, absl::Seconds(20))) << walferry->err();
  EXPECT_EQ(Status("phase"), "schema");
  Kill(*walferry);
  const auto dump_ended = [&] {
    return QueryText(pair.source(),
                     "select count(*) from pg_stat_activity where application_name = 'walferry'") == "0";
  };
  RunSql(*locker, "rollback");
  EXPECT_TRUE(WaitUntil(dump_ended, absl::Seconds(20)));
  ContinueUntilEqual();
}

TEST_F(PhaseKill, SchemaIsMadeWholeOrNotAtAll) {
  auto walferry = Start({"migrate"});
  const auto holder = HoldAfterTheSlot(*walferry);
  // The last statements of the transaction that makes the schema wait for this.
  RunSql(*holder,
         "lock table walferry.schema_object in exclusive mode; commit; begin; "
         "lock table walferry.schema_object in exclusive mode");
  const auto waits = [&] { return Waiting(pair.target(), "%walferry.schema_object%") == "1"; };
  ASSERT_TRUE(WaitUntil(waits, absl::Seconds(20))) << walferry->err();
  EXPECT_EQ(Status("phase"), "schema");
  Kill(*walferry);
  RunSql(*holder, "rollback");
  EXPECT_EQ(QueryText(pair.target(), "select to_regclass('a')"), "NULL");
  ContinueUntilEqual();
}

TEST_F(PhaseKill, CopyGoesOnWithTheTablesThatAreNotDone) {
  // Made in advance, so that a table of the target can be locked before the copy reaches it.
  pair.RunOnTarget(
      "create table a (id int primary key, name text, b_id int); create table b (id int primary key, name "
      "text unique); "
      "create table \"Odd \"\"name\"\"\" (id int primary key, v numeric); create index on a (name)");
  auto holder = Hold(pair.target_conninfo(), "lock table a in share mode");
  auto walferry = Start({"migrate", "--schema", "none"});
  const auto others_copied = [&] {
    return QueryText(pair.target(), "select count(*) from b") == "500" &&
           Waiting(pair.target(), "%\"a\"%") != "0";
  };
  ASSERT_TRUE(WaitUntil(others_copied, absl::Seconds(30))) << walferry->err();
  EXPECT_EQ(Status("phase"), "copy");
  Kill(*walferry);
  holder.reset();
  pair.RunOnSource("insert into a values (100001, 'between', 1); update b set name = 'changed' where id = 3");
  ContinueUntilEqual();
}

TEST_F(PhaseKill, IndexesGoOnWithThoseThatAreNotDone) {
  auto walferry = Start({"migrate"});
  std::unique_ptr<Connection> holder;
  // As soon as the table is there, its lock is taken: the copy may write, an index may not be made.
  const auto locked = [&] {
    if (QueryText(pair.target(), "select to_regclass('a')") == "NULL") return false;
    holder = Hold(pair.target_conninfo(), "lock table a in row exclusive mode");
    return true;
  };
  ASSERT_TRUE(WaitUntil(locked, absl::Seconds(30))) << walferry->err();
  ASSERT_TRUE(WaitUntil(
      [&] {
        return Waiting(pair.target(), "alter table%") != "0" ||
               Waiting(pair.target(), "create index%") != "0";
      },
      absl::Seconds(30)))
      << walferry->err();
  EXPECT_EQ(Status("phase"), "indexes");
  Kill(*walferry);
  holder.reset();
  ContinueUntilEqual();
}

TEST_F(PhaseKill, CatchUpGoesOnWhereTheTargetIs) {
  auto walferry = Start({"migrate"});
  std::unique_ptr<Connection> holder;
  ASSERT_TRUE(WaitUntil([&] { return Status("phase") == "follow"; }, absl::Seconds(30))) << walferry->err();
  holder = Hold(pair.target_conninfo(), "lock table b in exclusive mode");
  pair.RunOnSource("update a set name = name || '?' where id < 100");
  pair.RunOnSource("insert into b (name) select 'more' || g from generate_series(1, 300) g");
  ASSERT_TRUE(WaitUntil([&] { return Waiting(pair.target(), "%") != "0"; }, absl::Seconds(30)))
      << walferry->err();
  Kill(*walferry);
  holder.reset();
  ContinueUntilEqual();
}

TEST_F(PhaseKill, FollowSurvivesManyKills) {
  int written = 0;
  for (int round = 0; round < 8; ++round) {
    auto walferry = Start({"migrate"});
    if (round == 0) {
      ASSERT_TRUE(WaitUntil([&] { return Status("phase") == "follow"; }, absl::Seconds(30)))
          << walferry->err();
    } else {
      ASSERT_TRUE(WaitUntil([&] { return walferry->err().find("Streaming from") != std::string::npos; }))
          << walferry->err();
    }
    // Killed while changes of this round are under way, after more and more of them.
    for (int i = 0; i < 20 + 40 * round; ++i) {
      pair.RunOnSource(absl::StrFormat(
          "insert into b (name) values ('w%d'); update a set b_id = 2 where id = %d", ++written, written));
    }
    Kill(*walferry);
  }
  ContinueUntilEqual();
}

TEST_F(PhaseKill, CutoverIsRunAgain) {
  // A role that may not quiet foreign keys gets them at cutover; a lock holds them up there.
  RunSql(pair.target(), "create role plain_owner login; grant create on database " + pair.name() +
                            " to plain_owner; alter schema public owner to plain_owner");
  const std::vector<std::string> both = {"--source", pair.source_conninfo(), "--target",
                                         pair.target_conninfo() + " user=plain_owner"};
  const auto with_both = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), both.begin(), both.end());
    return arguments;
  };
  const WalferryRun migrate = RunWalferry(with_both({"migrate", "--until", "caught-up"}));
  ASSERT_EQ(migrate.exit_code, 0) << migrate.err;
  pair.RunOnSource("insert into b (name) values ('last')");
  auto holder =
      Hold(pair.target_conninfo(), "lock table b in access share mode; lock table a in row exclusive mode");
  {
    WalferryProcess cutover(with_both({"cutover"}));
    ASSERT_TRUE(WaitUntil(
        [&] {
          return Waiting(pair.target(), "%foreign key%") != "0" || Waiting(pair.target(), "%trigger%") != "0";
        },
        absl::Seconds(30)))
        << cutover.err();
    EXPECT_EQ(Status("phase"), "follow");  // Until the transaction commits.
    Kill(cutover);
  }
  holder.reset();
  const WalferryRun again = RunWalferry(with_both({"cutover"}));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(Status("phase"), "done");
  ExpectEqualContent(pair);
  EXPECT_EQ(
      QueryText(pair.target(), "select count(*) from pg_constraint where contype = 'f' and convalidated"),
      "1");
  EXPECT_EQ(
      QueryText(pair.target(), "select count(*) from pg_trigger where tgname = 'stamp' and tgenabled = 'O'"),
      "1");
  pair.RunOnTarget("drop owned by plain_owner cascade; drop role plain_owner");
}

}  // namespace
}  // namespace walferry
