#include "stream/sqlstate.h"

#include "gtest/gtest.h"

namespace walferry {
namespace {

absl::Status ServerError(std::string_view sqlstate, const std::string& text = "text") {
  return WithSqlstate(absl::Status(CodeOfSqlstate(sqlstate), text), sqlstate);
}

TEST(SqlstateTest, RidesOnAStatusThroughAnnotation) {
  EXPECT_EQ(SqlstateOf(Annotate(ServerError("40P01"), "applying")), "40P01");
  EXPECT_EQ(SqlstateOf(absl::InternalError("ours")), "");
  EXPECT_EQ(SqlstateOf(WithSqlstate(absl::OkStatus(), "40P01")), "");
}

TEST(SqlstateTest, WhatPassesByItselfIsRetryable) {
  for (const char* sqlstate :
       {"08006", "08001", "57P01", "57P02", "57P03", "53300", "40001", "40P01", "55006", "25006", "53100"}) {
    EXPECT_TRUE(IsRetryable(ServerError(sqlstate))) << sqlstate;
  }
  EXPECT_TRUE(
      IsRetryable(ServerError("XX000", "pg_readonly: invalid statement because cluster is read-only")));
  EXPECT_TRUE(IsRetryable(absl::UnavailableError("server closed the connection unexpectedly")));
}

TEST(SqlstateTest, WhatTheOperatorMustChangeIsNot) {
  for (const char* sqlstate :
       {"28P01", "28000", "3D000", "42501", "55000", "42P01", "23505", "53400", "XX000"}) {
    EXPECT_FALSE(IsRetryable(ServerError(sqlstate))) << sqlstate;
  }
  EXPECT_FALSE(IsRetryable(absl::CancelledError("stopped")));
  EXPECT_FALSE(IsRetryable(absl::OkStatus()));
  EXPECT_FALSE(IsRetryable(absl::DataLossError("bytes")));
}

TEST(SqlstateTest, ConnectionErrorsOfAStatementAreNotOurs) {
  for (const char* sqlstate : {"08000", "08001", "08006"}) {
    const absl::Status status = OfStatement(ServerError(sqlstate, "foreign"));
    EXPECT_FALSE(IsRetryable(status)) << sqlstate;
    EXPECT_EQ(SqlstateOf(status), sqlstate);
    EXPECT_EQ(MessageOf(status), "foreign");
  }
  EXPECT_TRUE(IsRetryable(OfStatement(ServerError("40001"))));
}

TEST(SqlstateTest, CodesSayWhoHasToAct) {
  EXPECT_EQ(CodeOfSqlstate("57P01"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOfSqlstate("53100"), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOfSqlstate("42501"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOfSqlstate("28P01"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOfSqlstate("40001"), absl::StatusCode::kAborted);
}

TEST(SqlstateTest, ValuesOfCellsAreLeftOut) {
  EXPECT_EQ(
      ServerMessage("22P02", "invalid input syntax for type integer: \"secret \"quoted\" value\"", "", ""),
      "invalid input syntax for type integer: \"...\"");
  EXPECT_EQ(ServerMessage("22003", "value \"99999999999\" is out of range for type integer", "", ""),
            "value \"...\" is out of range for type integer");
  EXPECT_EQ(ServerMessage("23505", "duplicate key value violates unique constraint \"t_pkey\"",
                          "Key (id)=(secret) already exists.", ""),
            "duplicate key value violates unique constraint \"t_pkey\"");
}

TEST(SqlstateTest, DetailAndHintStayInOneLineWhereTheyHelp) {
  EXPECT_EQ(ServerMessage("55000", "logical decoding\nrequires", "detail", "change wal_level"),
            "logical decoding requires (detail) Hint: change wal_level");
  EXPECT_EQ(ServerMessage("22023", "invalid value for parameter \"x\": \"y\"", "", ""),
            "invalid value for parameter \"x\": \"y\"");
}

}  // namespace
}  // namespace walferry
