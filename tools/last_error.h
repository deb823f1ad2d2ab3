// The error that the stream of a migration ended with, as an event of its state.
#pragma once

#include <optional>
#include <string>

#include "apply/state.h"
#include "stream/connection.h"

namespace walferry {

// A stream begins: the error of an earlier one is no more the last word.
absl::Status NoteStreamBegins(Connection& target, const std::string& name);

// Whether an operator has to know of it: neither a stop that was asked for, nor what another try may mend.
bool IsLasting(const absl::Status& error);
absl::Status NoteStreamError(Connection& target, const std::string& name, const absl::Status& error);

// Nothing where a stream began after it.
absl::StatusOr<std::optional<EventRecord>> LoadLastError(Connection& target, const std::string& name);

}  // namespace walferry
