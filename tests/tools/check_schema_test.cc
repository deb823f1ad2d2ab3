// walferry check: what making the schema, the last stage and the refreshes need.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/server_pair.h"
#include "tests/support/walferry_process.h"

namespace walferry {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class CheckSchema : public ::testing::Test {
 protected:
  CheckSchema() { pair_.RunOnSource("create table t (id int primary key, a text)"); }
  ~CheckSchema() override {
    for (const std::string& role : source_roles_) {
      pair_.RunOnSource("drop owned by " + role + "; drop role " + role);
    }
    for (const std::string& role : target_roles_) {
      pair_.RunOnTarget("drop owned by " + role + "; drop role " + role);
    }
  }
  // Roles of this test's own.
  std::string RoleOnSource(const std::string& suffix) {
    source_roles_.push_back(pair_.name() + "_" + suffix);
    pair_.RunOnSource("create role " + source_roles_.back() + " login replication");
    return source_roles_.back();
  }
  std::string RoleOnTarget(const std::string& suffix) {
    target_roles_.push_back(pair_.name() + "_" + suffix);
    pair_.RunOnTarget("create role " + target_roles_.back() + " login; grant create on database " +
                      pair_.name() + " to " + target_roles_.back());
    return target_roles_.back();
  }

  // The one finding of a check, which must have this level.
  json Expect(const std::string& id, const std::string& level, std::vector<std::string> extra = {}) const {
    std::vector<std::string> arguments = {"check",    "--json", "--source", source_,
                                          "--target", target_,  "--name",   pair_.name()};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    const WalferryRun run = RunWalferry(arguments);
    const json result = json::parse(run.out, nullptr, false);
    EXPECT_FALSE(result.is_discarded()) << run.out << run.err;
    if (result.is_discarded()) return json::object();
    for (const json& check : result.at("checks")) {
      if (check.at("id") != id) continue;
      EXPECT_EQ(check.at("level"), level) << check;
      EXPECT_EQ(check.at("fix") == "", level == "PASS") << check;
      return check;
    }
    ADD_FAILURE() << "no check " << id << " in " << run.out;
    return json::object();
  }
  std::string Evidence(const std::string& id, const std::string& level,
                       const std::vector<std::string>& extra = {}) const {
    return Expect(id, level, extra).value("evidence", "");
  }
  std::string Fix(const std::string& id, const std::string& level) const {
    return Expect(id, level).value("fix", "");
  }

  DatabasePair pair_;
  std::string source_ = pair_.source_conninfo();
  std::string target_ = pair_.target_conninfo();
  std::vector<std::string> source_roles_;
  std::vector<std::string> target_roles_;
};

TEST_F(CheckSchema, RoleOfAPolicyThatTheTargetLacksBlocks) {
  const std::string role = RoleOnSource("only");
  pair_.RunOnSource("create policy p on t to " + role + " using (true)");
  EXPECT_THAT(Evidence("policy-roles", "WARN"), AllOf(HasSubstr(role), HasSubstr("policy p on table")));
  EXPECT_THAT(Fix("policy-roles", "WARN"), HasSubstr("CREATE ROLE \"" + role + "\""));
  Expect("policy-roles", "PASS", {"--schema", "none"});
  pair_.RunOnSource("create table other (id int primary key)");
  Expect("policy-roles", "PASS", {"--exclude-tables", "public.t"});
  pair_.RunOnTarget("create role " + role);
  target_roles_.push_back(role);
  Expect("policy-roles", "PASS");
}

// Wherever it is mentioned.
TEST_F(CheckSchema, RolesThatTheTargetLacksAreNamedWithWhatIsLeftOut) {
  const std::string role = RoleOnSource("only");
  Expect("roles", "PASS");
  for (const std::string& mention : std::vector<std::string>{
           "alter default privileges grant select on tables to " + role,
           "alter default privileges for role " + role + " grant select on tables to public",
           "create schema x; grant usage on schema x to " + role, "grant select (a) on t to " + role,
           "create function f() returns int language sql as 'select 1'; grant execute on function f() to " +
               role,
           "create type ty as enum ('a'); alter type ty owner to " + role,
           "create sequence s; grant usage on sequence s to " + role}) {
    pair_.RunOnSource(mention);
    EXPECT_THAT(Evidence("roles", "WARN"), AllOf(HasSubstr(role), HasSubstr("grants and privileges")))
        << mention;
    pair_.RunOnSource("drop owned by " + role);
  }
  Expect("roles", "PASS");
}

TEST_F(CheckSchema, OwnerThatTheTargetsUserIsNoMemberOfIsNamed) {
  const std::string role = RoleOnSource("own");
  pair_.RunOnSource("alter table t owner to " + role);
  pair_.RunOnTarget("create role " + role);
  target_roles_.push_back(role);
  Expect("roles", "PASS");
  target_ += " user=" + RoleOnTarget("mig");
  EXPECT_THAT(Evidence("roles", "WARN"), HasSubstr(role + " (not granted"));
}

// ALTER TABLE … OWNER TO asks for it of the new owner, unless a superuser says it.
TEST_F(CheckSchema, OwnerThatMayNotCreateInTheSchemaIsNamed) {
  const std::string role = RoleOnSource("own");
  pair_.RunOnSource("alter table t owner to " + role);
  pair_.RunOnTarget("create role " + role);
  target_roles_.push_back(role);
  const std::string user = RoleOnTarget("mig");
  pair_.RunOnTarget("grant " + role + " to " + user + "; grant create on schema public to " + user);
  Expect("roles", "PASS");
  target_ += " user=" + user;
  EXPECT_THAT(Evidence("roles", "WARN"), HasSubstr(role + " (no right to create in schema public)"));
  pair_.RunOnTarget("grant create on schema public to " + role);
  Expect("roles", "PASS");
}

TEST_F(CheckSchema, HashPartitionsByAnEnumBlock) {
  pair_.RunOnSource(
      "create table h (id int, primary key (id)) partition by hash (id);"
      "create table h0 partition of h for values with (modulus 1, remainder 0)");
  Expect("hash-partitions", "PASS");
  pair_.RunOnSource(
      "create type mood as enum ('a', 'b'); create domain moods as mood[];"
      "create table e (m mood, primary key (m)) partition by list (m);"
      "create table e0 partition of e default partition by hash (m);"
      "create table e00 partition of e0 for values with (modulus 1, remainder 0);"
      "create table d (m moods, primary key (m)) partition by hash (m);"
      "create table d0 partition of d for values with (modulus 1, remainder 0)");
  EXPECT_THAT(Evidence("hash-partitions", "BLOCK"), HasSubstr("partitions there: public.d, public.e0"));
  Expect("hash-partitions", "PASS", {"--exclude-tables", "public.d0", "--exclude-tables", "public.e00"});
  Expect("hash-partitions", "PASS", {"--schema", "none"});
}

TEST_F(CheckSchema, TableThatPgDumpMayNotLockBlocks) {
  const std::string user = RoleOnSource("wal");
  pair_.RunOnSource("grant select on t to " + user +
                    "; create unlogged table u (id int); create table p (id int) partition by list (id);"
                    "create table p1 partition of p for values in (1)");
  source_ += " user=" + user;
  EXPECT_THAT(Evidence("schema-readable", "BLOCK"),
              AllOf(HasSubstr("may not read public.p, public.u"), Not(HasSubstr("public.t"))));
  Expect("schema-readable", "PASS", {"--exclude-tables", "public.u,public.p"});
  Expect("schema-readable", "PASS", {"--tables", "public.t"});
}

TEST_F(CheckSchema, PgDumpIsLookedForBeforeItIsNeeded) {
  EXPECT_THAT(Evidence("pg-dump", "PASS"), HasSubstr("/pg_dump"));
  EXPECT_THAT(Evidence("pg-dump", "PASS", {"--schema", "none"}), HasSubstr("not copied"));
}

TEST_F(CheckSchema, SequenceThatTheCutoverMayNotReadBlocks) {
  const std::string user = RoleOnSource("wal");
  pair_.RunOnSource(
      "create schema priv; create table priv.p (id serial primary key); create sequence lone; create "
      "sequence "
      "priv.alone");
  source_ += " user=" + user;
  EXPECT_THAT(Evidence("sequence-privilege", "BLOCK"),
              AllOf(HasSubstr("priv.alone"), HasSubstr("priv.p_id_seq"), HasSubstr("public.lone")));
  EXPECT_THAT(Evidence("sequence-privilege", "BLOCK", {"--exclude-tables", "priv.*"}),
              AllOf(HasSubstr("public.lone"), Not(HasSubstr("priv."))));
  Expect("sequence-privilege", "PASS", {"--exclude-tables", "priv.*,public.lone"});
  Expect("tables", "PASS", {"--exclude-tables", "priv.*,public.lone"});
}

TEST_F(CheckSchema, SchemaOfTheTargetThatIsClosedBlocks) {
  target_ += " user=" + RoleOnTarget("mig");
  EXPECT_THAT(Evidence("target-schemas", "BLOCK"), HasSubstr("schema public"));
  pair_.RunOnTarget("grant create on schema public to " + target_roles_.back());
  Expect("target-schemas", "PASS");
}

TEST_F(CheckSchema, ExtensionElsewhereBlocksWhereItIsUsed) {
  pair_.RunOnBoth("create schema ext");
  pair_.RunOnSource("create extension hstore");
  pair_.RunOnTarget("create extension hstore schema ext");
  EXPECT_THAT(Evidence("extension-schemas", "WARN"), HasSubstr("schema ext"));
  pair_.RunOnSource("create table h (id int primary key, x hstore)");
  EXPECT_EQ(Fix("extension-schemas", "BLOCK"),
            "ALTER EXTENSION \"hstore\" SET SCHEMA \"public\" on the target");
}

TEST_F(CheckSchema, WhatOnlyASuperuserMayMakeIsTold) {
  pair_.RunOnSource(
      "create function quiet() returns event_trigger language plpgsql as 'begin end';"
      "create event trigger q on ddl_command_end when tag in ('CREATE VIEW') execute function quiet();"
      "create function c_quote(text) returns text language internal as 'quote_literal'");
  Expect("carried-event-triggers", "PASS");
  Expect("source-event-triggers", "PASS");
  target_ += " user=" + RoleOnTarget("mig");
  EXPECT_THAT(Evidence("carried-event-triggers", "WARN"), HasSubstr(": q"));
  EXPECT_THAT(Evidence("languages", "BLOCK"), HasSubstr("public.c_quote"));
}

TEST_F(CheckSchema, EventTriggersThatMeetOurCommandsAreNamed) {
  const std::string quiet =
      "create function quiet() returns event_trigger language plpgsql as 'begin end';"
      "create event trigger q on ddl_command_end execute function quiet()";
  pair_.RunOnBoth(quiet);
  EXPECT_THAT(Evidence("source-event-triggers", "WARN"), HasSubstr("q"));
  EXPECT_THAT(Evidence("target-event-triggers", "WARN"), HasSubstr("q"));
}

TEST_F(CheckSchema, MaterializedViewThatNeedsASearchPathIsNamed) {
  pair_.RunOnSource(
      "create function cnt() returns bigint language sql as 'select count(*) from t';"
      "create materialized view mv as select cnt() as c;"
      "create function good() returns bigint language sql as 'select count(*) from public.t';"
      "create materialized view fine as select good() as c");
  EXPECT_THAT(Evidence("matviews", "WARN"),
              AllOf(HasSubstr("refresh fails"), HasSubstr("public.mv"), Not(HasSubstr("fine"))));
  EXPECT_THAT(Fix("matviews", "WARN"), HasSubstr("ALTER FUNCTION public.cnt() SET search_path = public"));
  pair_.RunOnSource("alter function cnt() set search_path = public");
  Expect("matviews", "PASS");
}

TEST_F(CheckSchema, TableThatIsNeededAndWasNotChosenBlocks) {
  pair_.RunOnSource("create table b (id int primary key, t t); create view v as select * from t");
  EXPECT_THAT(Evidence("left-out", "BLOCK", {"--exclude-tables", "public.t"}),
              HasSubstr("column t of table public.b"));
  EXPECT_THAT(Evidence("left-out", "PASS", {"--exclude-tables", "public.b"}), HasSubstr("needs nothing"));
}

}  // namespace
}  // namespace walferry
