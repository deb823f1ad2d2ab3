// walferry check: what is left behind besides tables and objects.
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

class LeftBehind : public ::testing::Test {
 protected:
  LeftBehind() { pair_.RunOnSource("create table t (id int primary key)"); }

  std::string Evidence(const std::string& id, const std::string& level,
                       const std::vector<std::string>& extra = {}) const {
    std::vector<std::string> arguments = {"check",    "--json",
                                          "--source", pair_.source_conninfo(),
                                          "--target", pair_.target_conninfo(),
                                          "--name",   pair_.name()};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    const WalferryRun run = RunWalferry(arguments);
    const json result = json::parse(run.out, nullptr, false);
    if (!result.is_object()) return run.out + run.err;
    for (const json& check : result.at("checks")) {
      if (check.at("id") != id) continue;
      EXPECT_EQ(check.at("level"), level) << check;
      EXPECT_EQ(check.at("fix") == "", level == "PASS") << check;
      return check.value("evidence", "") + " | " + check.value("fix", "");
    }
    ADD_FAILURE() << "no check " << id;
    return "";
  }

  DatabasePair pair_;
};

TEST_F(LeftBehind, LargeObjectsBlockUnlessTheyAreLeft) {
  Evidence("large-objects", "PASS");
  pair_.RunOnSource("select lo_create(0)");
  EXPECT_THAT(Evidence("large-objects", "BLOCK"), HasSubstr("1 large objects are not carried"));
  Evidence("large-objects", "WARN", {"--large-objects", "leave"});
  const WalferryRun run = RunWalferry({"migrate", "--source", pair_.source_conninfo(), "--target",
                                       pair_.target_conninfo(), "--name", pair_.name()});
  EXPECT_EQ(run.exit_code, 3) << run.err;
  EXPECT_EQ(QueryText(pair_.target(), "select count(*) from pg_namespace where nspname = 'walferry'"), "0");
}

// A table is made one of an extension's, so that none has to be installed for it.
TEST_F(LeftBehind, RowsInTablesOfExtensionsAreNamed) {
  pair_.RunOnSource(R"(
create extension hstore; create table conf (k text); insert into conf values ('builtin');
alter extension hstore add table conf;
update pg_extension set extconfig = array['conf'::regclass::oid], extcondition = array['WHERE k <> ''builtin''']
where extname = 'hstore')");
  Evidence("extension-rows", "PASS");
  pair_.RunOnSource("insert into conf values ('mine')");
  EXPECT_THAT(Evidence("extension-rows", "WARN"),
              AllOf(HasSubstr("public.conf of extension hstore"), HasSubstr("COPY (SELECT * FROM")));
}

TEST_F(LeftBehind, SettingsThatTheTargetLacksAreStatements) {
  const std::string& name = pair_.name();
  const std::string role = name + "_role";
  Evidence("settings", "PASS");
  pair_.RunOnSource("create role " + role + "; alter database " + name +
                    " set search_path = app, public; alter role " + role + " in database " + name +
                    " set statement_timeout = '5s'; alter role " + role + " set work_mem = '8MB'");
  EXPECT_THAT(Evidence("settings", "WARN"),
              AllOf(HasSubstr("ALTER DATABASE \"" + name + "\" SET search_path = app, public"),
                    HasSubstr("ALTER ROLE " + role + " IN DATABASE \"" + name +
                              "\" SET statement_timeout = '5s'"),
                    HasSubstr("ALTER ROLE " + role + " SET work_mem = '8MB'")));
  pair_.RunOnTarget("create role " + role + "; alter database " + name +
                    " set search_path = app, public; alter role " + role + " set work_mem = '8MB'");
  EXPECT_THAT(
      Evidence("settings", "WARN"),
      AllOf(HasSubstr("statement_timeout"), Not(HasSubstr("search_path")), Not(HasSubstr("work_mem"))));
  pair_.RunOnSource("drop role " + role);
  pair_.RunOnTarget("drop role " + role);
}

TEST_F(LeftBehind, PublicationsAreNamedAndItsOwnIsNot) {
  pair_.RunOnSource("create publication \"" + pair_.name() + "_inserts\" for table t");
  Evidence("publications", "PASS");
  pair_.RunOnSource("create publication cdc for table t");
  EXPECT_THAT(Evidence("publications", "WARN"), HasSubstr("publication cdc"));
}

TEST_F(LeftBehind, CommentsOnWhatIsThereAlreadyAreNamed) {
  pair_.RunOnSource("create extension hstore");
  Evidence("trimmings", "PASS");
  pair_.RunOnSource("comment on schema public is 'ours'; comment on extension hstore is 'ours, too'");
  EXPECT_THAT(Evidence("trimmings", "WARN"),
              AllOf(HasSubstr("schema public"), HasSubstr("extension hstore")));
}

}  // namespace
}  // namespace walferry
