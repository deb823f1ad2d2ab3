// What is done about a batch that the target refuses: its source transactions are applied one at a time, in
// the order of the source. The one that fails alone is the real conflict; the others were only in its
// company.
#pragma once

#include <functional>
#include <optional>

#include "apply/batch.h"
#include "apply/target_writer.h"

namespace walferry {

// apply_one: a batch of one transaction; its first error ends the replay.
absl::Status ReplayInOrder(Batch batch, const std::function<absl::Status(Batch)>& apply_one);

// The error for people: table, kind of change, transaction, the server's words (which name the constraint)
// and its SQLSTATE; no values.
absl::Status ConflictError(const absl::Status& error, const SourceTransaction& transaction,
                           const std::optional<ChangeName>& change);

// A unique or an exclusion constraint refused it.
bool IsAboutAnotherRow(const absl::Status& error);

// One sentence about a change that was left out.
std::string DescribeSkipped(const SkippedChange& skipped);

}  // namespace walferry
