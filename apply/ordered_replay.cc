// Tested by tests/apply/applier_conflict_test.cc.
#include "apply/ordered_replay.h"

#include <utility>

namespace walferry {
namespace {

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
  return WithSqlstate(
      Errorf(absl::StatusCode::kFailedPrecondition,
             "the target refused the %s: %s. Nothing of this transaction was applied, unless by other "
             "lanes; correct what is in its way on the target and start again",
             what, ServerWords(error)),
      sqlstate);
}

std::string DescribeSkipped(const SkippedChange& skipped) {
  return absl::StrFormat("the target refused the %s, and it was left out: %s", Describe(skipped.change),
                         ServerWords(skipped.error));
}

}  // namespace walferry
