#include "stream/publication.h"

#include "gmock/gmock.h"
#include "tests/stream/stream_fixture.h"

namespace walferry {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class PublicationTest : public DatabaseTest {
 protected:
  Connection source_ = Connect(conninfo());
};

TEST_F(PublicationTest, PublishesTheListedTablesWhateverTheirNames) {
  Must(source_.Execute(
      "CREATE SCHEMA \"Odd, \"\"schema\"\"\"; CREATE TABLE \"Odd, \"\"schema\"\"\".\"a.b'c\" (i int); "
      "CREATE TABLE public.t (i int); CREATE TABLE public.unlisted (i int)"));
  const TableName odd{"Odd, \"schema\"", "a.b'c"};
  const TableName plain{"public", "t"};
  const std::string name = "My \"pub'";
  EXPECT_FALSE(Must(PublicationExists(source_, name)));
  const absl::Status created = CreatePublication(source_, name, {plain, odd}, /*via_root=*/false);
  ASSERT_TRUE(created.ok()) << created;
  EXPECT_TRUE(Must(PublicationExists(source_, name)));
  EXPECT_THAT(Must(PublishedTables(source_, {name})), ElementsAre(odd, plain));

  const absl::Status again = CreatePublication(source_, name, {plain}, /*via_root=*/false);
  EXPECT_EQ(SqlstateOf(again), "42710");
}

TEST_F(PublicationTest, TruncateIsPublishedToo) {
  Must(source_.Execute("CREATE TABLE public.t (i int)"));
  ASSERT_TRUE(CreatePublication(source_, "p", {{"public", "t"}}, /*via_root=*/false).ok());
  EXPECT_TRUE(Must(source_.Execute(
                       "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AND NOT puballtables "
                       "FROM pg_publication"))
                  .GetBool(0, 0));
}

TEST_F(PublicationTest, ChildrenByInheritanceAreNotDraggedIn) {
  Must(source_.Execute(
      "CREATE TABLE public.parent (i int); CREATE TABLE public.child () INHERITS (public.parent)"));
  ASSERT_TRUE(CreatePublication(source_, "p", {{"public", "parent"}}, /*via_root=*/false).ok());
  EXPECT_THAT(Must(PublishedTables(source_, {"p"})), ElementsAre(TableName{"public", "parent"}));
}

TEST_F(PublicationTest, PartitionsArePublishedAsLeavesOrAsTheirRoot) {
  Must(
      source_.Execute("CREATE TABLE public.root (i int) PARTITION BY RANGE (i); "
                      "CREATE TABLE public.leaf PARTITION OF public.root DEFAULT"));
  ASSERT_TRUE(CreatePublication(source_, "leaves", {{"public", "root"}}, /*via_root=*/false).ok());
  ASSERT_TRUE(CreatePublication(source_, "roots", {{"public", "root"}}, /*via_root=*/true).ok());
  EXPECT_THAT(Must(PublishedTables(source_, {"leaves"})), ElementsAre(TableName{"public", "leaf"}));
  EXPECT_THAT(Must(PublishedTables(source_, {"roots"})), ElementsAre(TableName{"public", "root"}));
}

TEST_F(PublicationTest, NoTablesMakeAnEmptyPublication) {
  ASSERT_TRUE(CreatePublication(source_, "p", {}, /*via_root=*/false).ok());
  EXPECT_THAT(Must(PublishedTables(source_, {"p"})), IsEmpty());
}

TEST_F(PublicationTest, AMissingTableIsNamed) {
  const absl::Status status = CreatePublication(source_, "p", {{"public", "nope"}}, /*via_root=*/false);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.ToString(), HasSubstr("public.nope"));
  EXPECT_FALSE(Must(PublicationExists(source_, "p")));
}

TEST_F(PublicationTest, MissingPrivilegesAreToldAllAtOnce) {
  Must(
      source_.Execute("CREATE ROLE publication_test_plain LOGIN; CREATE TABLE public.mine (i int); "
                      "ALTER TABLE public.mine OWNER TO publication_test_plain; "
                      "CREATE TABLE public.yours (i int); CREATE TABLE public.\"Theirs\" (i int)"));
  Connection plain = Connect(conninfo() + " user=publication_test_plain");
  const std::vector<TableName> tables = {{"public", "mine"}, {"public", "yours"}, {"public", "Theirs"}};
  const absl::Status all = CreatePublication(plain, "p", tables, /*via_root=*/false);
  EXPECT_EQ(all.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(SqlstateOf(all), "42501");
  EXPECT_THAT(all.ToString(),
              AllOf(HasSubstr("GRANT CREATE ON DATABASE"), HasSubstr("public.yours (owner postgres)"),
                    HasSubstr("public.\"Theirs\""), Not(HasSubstr("public.mine"))));

  Must(source_.Execute("GRANT CREATE ON DATABASE " + source_.database() + " TO publication_test_plain"));
  const absl::Status owner = CreatePublication(plain, "p", tables, /*via_root=*/false);
  EXPECT_THAT(owner.ToString(), AllOf(Not(HasSubstr("GRANT CREATE")), HasSubstr("public.yours")));

  const absl::Status enough = CreatePublication(plain, "p", {{"public", "mine"}}, /*via_root=*/false);
  EXPECT_TRUE(enough.ok()) << enough;
  Must(source_.Execute("DROP OWNED BY publication_test_plain; DROP ROLE publication_test_plain"));
}

TEST_F(PublicationTest, DroppingIsFineTwice) {
  ASSERT_TRUE(CreatePublication(source_, "p", {}, /*via_root=*/false).ok());
  EXPECT_TRUE(DropPublication(source_, "p").ok());
  EXPECT_FALSE(Must(PublicationExists(source_, "p")));
  EXPECT_TRUE(DropPublication(source_, "p").ok());
}

TEST(PublicationList, NamesWithCommasAndQuotesComeBack) {
  const std::vector<std::string> names = {"p1", "a,b", "q\"r", " With Space"};
  EXPECT_EQ(PublicationListText({"p1", "a,b"}), "p1,\"a,b\"");
  EXPECT_EQ(*ParsePublicationList(PublicationListText(names)), names);
  EXPECT_EQ(*ParsePublicationList("p1"), std::vector<std::string>{"p1"});
  EXPECT_TRUE(ParsePublicationList("")->empty());
  for (const char* const bad : {"p,", ",p", "p,,q", "\"p", "\"\""}) {
    EXPECT_FALSE(ParsePublicationList(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace walferry
