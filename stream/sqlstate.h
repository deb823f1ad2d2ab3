// The server's five-character error codes, as they ride on a Status, and what each kind means for us.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
#pragma once

#include <string>
#include <string_view>

#include "decoder/status.h"

namespace walferry {

// The five characters, or empty where the error did not come from a server.
std::string SqlstateOf(const absl::Status& status);

// Puts an SQLSTATE on a status; for the places that turn a libpq result into a status.
absl::Status WithSqlstate(absl::Status status, std::string_view sqlstate);

// What an error of the server is in our vocabulary (decoder/status.h). Unknown ones are kFailedPrecondition.
absl::StatusCode CodeOfSqlstate(std::string_view sqlstate);

// An error that a living session reports of its statement: class 08 is not a lost connection of ours then,
// and trying again waits for nothing.
absl::Status OfStatement(const absl::Status& error);

// The server's words as one line that may be logged: errors about data quote the value in the message and in
// the detail, and these are left out.
std::string ServerMessage(std::string_view sqlstate, std::string_view primary, std::string_view detail,
                          std::string_view hint);

// Whether a statement named a table or a schema that is not there (undefined_table, invalid_schema_name):
// where its names were read before, somebody has renamed or dropped it since.
bool IsUndefinedTable(const absl::Status& status);

// Whether the same thing, tried again later, may succeed: connection gone, server starting or shutting down,
// a failover, read-only or out of disk for now, serialization failure, deadlock, slot still active.
bool IsRetryable(const absl::Status& status);

}  // namespace walferry
