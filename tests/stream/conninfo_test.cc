#include "stream/conninfo.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace walferry {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(ConninfoTest, TheSameIsReadFromAStringAndAUri) {
  const auto text = ParseConninfo("host=db.example port=5433 dbname=shop user='o''brien' password=x");
  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument) << "libpq escapes by backslash";
  const auto good =
      ParseConninfo("host=db.example port=5433 dbname=shop user='o\\'brien' sslmode=verify-full");
  const auto uri = ParseConninfo("postgresql://o%27brien@db.example:5433/shop?sslmode=verify-full");
  ASSERT_TRUE(good.ok()) << good.status();
  ASSERT_TRUE(uri.ok()) << uri.status();
  for (const char* keyword : {"host", "port", "dbname", "user", "sslmode"}) {
    EXPECT_EQ(ValueOf(*good, keyword), ValueOf(*uri, keyword)) << keyword;
    EXPECT_NE(ValueOf(*uri, keyword), "") << keyword;
  }
}

TEST(ConninfoTest, ABareWordIsADatabase) {
  EXPECT_EQ(ValueOf(*ParseConninfo("shop"), "dbname"), "shop");
  EXPECT_TRUE(ParseConninfo("")->empty());
}

TEST(ConninfoTest, AnUnreadableStringDoesNotShowItsPassword) {
  for (const char* conninfo :
       {"host=h password=correct horse", "password=correct horse=battery", "postgres://u:hor%zzse@h/d",
        "postgres://u:p@h/d?sslpassword=horse&passwor=horse"}) {
    const auto parsed = ParseConninfo(conninfo);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << conninfo;
    EXPECT_THAT(parsed.status().ToString(), Not(HasSubstr("hor")));
    EXPECT_THAT(parsed.status().ToString(), Not(HasSubstr("battery")));
  }
}

TEST(ConninfoTest, AMisspelledOptionIsNamed) {
  EXPECT_THAT(ParseConninfo("hots=h").status().ToString(), HasSubstr("hots"));
}

TEST(ConninfoTest, AnOptionOfANewerLibpqIsNamedInSpiteOfAPassword) {
  const auto parsed =
      ParseConninfo("postgres://u:s3cret@h/d?load_balance_hosts=disable&sslnegotiation=direct");
  if (parsed.ok()) GTEST_SKIP() << "the libpq of this machine knows them";
  EXPECT_THAT(parsed.status().ToString(),
              AllOf(HasSubstr("load_balance_hosts"), HasSubstr("leave it out"), Not(HasSubstr("s3cret"))));
}

TEST(ConninfoTest, TheSystemsAuthoritiesAreFoundByAnOlderLibpqToo) {
  const auto given = ParseConninfo("postgres://u@h/d?sslrootcert=system");
  ASSERT_TRUE(given.ok()) << given.status();
  if (ValueOf(*given, "sslrootcert") == "system")
    GTEST_SKIP() << "the libpq of this machine finds them itself";
  EXPECT_EQ(ValueOf(*given, "sslrootcert"), "/etc/ssl/certs/ca-certificates.crt");
  EXPECT_EQ(ValueOf(*given, "sslmode"), "verify-full");
}

TEST(ConninfoTest, AChildGetsEverythingButThePassword) {
  const auto child =
      ConninfoForChild("postgres://bob:s3cret%20@h:1/d'b?options=-c%20geqo%3Doff&replication=database");
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(child->password, "s3cret ");
  EXPECT_THAT(child->conninfo, Not(HasSubstr("s3cret")));
  const auto again = ParseConninfo(child->conninfo);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ValueOf(*again, "dbname"), "d'b");
  EXPECT_EQ(ValueOf(*again, "options"), "-c geqo=off");
  EXPECT_EQ(ValueOf(*again, "replication"), "");
  EXPECT_EQ(ValueOf(*again, "user"), "bob");
}

TEST(ConninfoTest, PeopleSeeWhereItLeadsAndNothingElse) {
  EXPECT_EQ(DescribeConninfo("postgres://bob:s3cret@h:1/d?sslkey=/k&sslpassword=p"),
            "host=h port=1 dbname=d user=bob");
  EXPECT_EQ(DescribeConninfo("service=shop password=x"), "service=shop");
  EXPECT_THAT(DescribeConninfo("password=a b c"), Not(HasSubstr("a b")));
}

TEST(ConninfoTest, LoopbackIsUnixSocketsAndTheLoopbackRange) {
  for (const char* host :
       {"/run/postgresql", "@abstract", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host : {"", "128.0.0.1", "10.0.0.1", "::2", "::ffff:10.0.0.1", "127.example.com"}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

TEST(ConninfoTest, ASecretIsBlottedOutWhereItStandsAlone) {
  EXPECT_EQ(BlotOut("pw s3cret, \"s3cret\" and s3cret", "s3cret"), "pw ***, \"***\" and ***");
  EXPECT_EQ(BlotOut("database", "a"), "database");
  EXPECT_EQ(BlotOut("anything", ""), "anything");
}

}  // namespace
}  // namespace walferry
