// Tested by tests/apply/applier_conflict_test.cc.
#include "apply/ordered_replay.h"

#include <utility>

namespace walferry {
namespace {

// A condition that means one row was true for several (apply/statement.cc).
constexpr char kSeveralRowsSqlstate[] = "21000";

std::string ServerWords(const absl::Status& error) {
  const std::string sqlstate = SqlstateOf(error);
  if (sqlstate.empty()) return std::string(MessageOf(error));
  return absl::StrFormat("%s (SQLSTATE %s)", MessageOf(error), sqlstate);
}

}  // namespace

absl::Status ReplayInOrder(Batch batch, const std::function<absl::Status(Batch)>& apply_one) {
  for (SourceTransaction& transaction : batch.transactions) {
    Batch one;
    one.bytes = transaction.bytes;
    one.transactions.push_back(std::move(transaction));
    WF_RETURN_IF_ERROR(apply_one(std::move(one)));
  }
  return absl::OkStatus();
}

absl::Status ConflictError(const absl::Status& error, const SourceTransaction& transaction,
                           const std::optional<ChangeName>& change) {
  const std::string sqlstate = SqlstateOf(error);
  if (sqlstate.empty()) return error;
  const std::string what = change ? Describe(*change)
                                  : absl::StrFormat("transaction %d (commit at %s)", transaction.xid,
                                                    transaction.commit_lsn.ToString());
  if (sqlstate == kSeveralRowsSqlstate) {
    return WithSqlstate(
        Errorf(absl::StatusCode::kFailedPrecondition,
               "several rows of the target fit the %s, and none is chosen: make a unique index there on the "
               "columns "
               "of the source's replica identity, after deleting what is there twice, and start again",
               what),
        sqlstate);
  }
  return WithSqlstate(
      Errorf(absl::StatusCode::kFailedPrecondition,
             "the target refused the %s: %s. Nothing of this transaction was applied, unless by other "
             "lanes; correct what is in its way on the target and start again",
             what, ServerWords(error)),
      sqlstate);
}

bool IsAboutAnotherRow(const absl::Status& error) {
  const std::string sqlstate = SqlstateOf(error);
  return sqlstate == "23505" || sqlstate == "23P01";
}

std::string DescribeSkipped(const SkippedChange& skipped) {
  return absl::StrFormat("the target refused the %s, and it was left out: %s", Describe(skipped.change),
                         ServerWords(skipped.error));
}

}  // namespace walferry
