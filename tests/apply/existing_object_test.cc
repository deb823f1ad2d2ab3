#include "apply/existing_object.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kObjects[] = R"sql(
create schema app; create type app.mood as enum ('a', 'b'); create type app.pair as (a int, b text);
create type app.span as range (subtype = int); create domain app.positive as int check (value > 0);
create function app.f(int, text) returns int language sql as 'select 1';
create procedure app.p() language sql as 'select 1'; create aggregate app.total(int) (sfunc = int4pl, stype = int);
create view app.v as select 1 as one; create materialized view app.mv as select 1 as one with no data;
create sequence app.s start 7; create text search configuration app.tsc (copy = english);
create collation app.co (locale = 'C'))sql";

std::vector<SchemaObject> PreData(const std::vector<std::pair<std::string, std::string>>& kinds_and_names) {
  std::vector<SchemaObject> objects;
  for (const auto& [kind, name] : kinds_and_names) {
    SchemaObject& object = objects.emplace_back();
    object.kind = kind;
    object.name = name;
  }
  return objects;
}

class Existing : public ::testing::Test {
 protected:
  absl::Status LeaveOut(std::vector<SchemaObject>& objects) {
    return LeaveOutExisting(ReadDefinitions(pair_.source()).value(), ReadDefinitions(pair_.target()).value(),
                            objects);
  }
  DatabasePair pair_;
};

TEST_F(Existing, WhatIsThereAsOnTheSourceIsNotMadeAgain) {
  pair_.RunOnBoth(kObjects);
  pair_.RunOnSource("create table app.t (id int); create type app.more as enum ('x')");
  std::vector<SchemaObject> objects = PreData({{"TYPE", "app.mood"},
                                               {"TYPE", "app.pair"},
                                               {"TYPE", "app.span"},
                                               {"DOMAIN", "app.positive"},
                                               {"TYPE", "app.more"},
                                               {"FUNCTION", "app.f(integer, text)"},
                                               {"PROCEDURE", "app.p()"},
                                               {"AGGREGATE", "app.total(integer)"},
                                               {"VIEW", "app.v"},
                                               {"MATERIALIZED VIEW", "app.mv"},
                                               {"SEQUENCE", "app.s"},
                                               {"TEXT SEARCH CONFIGURATION", "app.tsc"},
                                               {"COLLATION", "app.co"},
                                               {"TABLE", "app.t"},
                                               {"ACL", "FUNCTION app.f(int)"}});
  const absl::Status left = LeaveOut(objects);
  ASSERT_TRUE(left.ok()) << left;
  EXPECT_THAT(objects, ElementsAre(Field(&SchemaObject::name, "app.more"),
                                   Field(&SchemaObject::name, "app.t"), Field(&SchemaObject::kind, "ACL")));
}

TEST_F(Existing, WhatIsAnotherOneThereIsNamed) {
  pair_.RunOnBoth(kObjects);
  pair_.RunOnTarget(
      "alter type app.mood add value 'c'; alter domain app.positive drop constraint positive_check;"
      "create or replace function app.f(int, text) returns int language sql as 'select 2'; alter sequence "
      "app.s restart 9");
  std::vector<SchemaObject> objects = PreData({{"TYPE", "app.mood"},
                                               {"TYPE", "app.pair"},
                                               {"DOMAIN", "app.positive"},
                                               {"FUNCTION", "app.f(integer, text)"},
                                               {"SEQUENCE", "app.s"}});
  const absl::Status left = LeaveOut(objects);
  EXPECT_TRUE(absl::IsFailedPrecondition(left)) << left;
  EXPECT_THAT(std::string(MessageOf(left)),
              AllOf(HasSubstr("TYPE app.mood, DOMAIN app.positive, FUNCTION app.f(integer, text);"),
                    Not(HasSubstr("app.pair")), Not(HasSubstr("app.s"))));
}

}  // namespace
}  // namespace walferry
