// Connection strings as text: taken apart, put together, and shown without their secrets. The syntax stays
// libpq's. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "decoder/status.h"

namespace walferry {

using ConninfoOptions = std::vector<std::pair<std::string, std::string>>;

// The options that stand in a conninfo string, a URI or a bare database name; what services, the environment
// and pgpass add is not among them. kInvalidArgument, without the password, where it cannot be read.
absl::StatusOr<ConninfoOptions> ParseConninfo(const std::string& conninfo);

// The value of one option, or empty.
std::string_view ValueOf(const ConninfoOptions& options, std::string_view keyword);

// The conninfo for a child process: without the password (which goes to the child as PGPASSWORD).
struct ChildConninfo {
  std::string conninfo;
  std::string password;
};
absl::StatusOr<ChildConninfo> ConninfoForChild(const std::string& conninfo);

// The conninfo for people: service, host, port, database and user, nothing else.
std::string DescribeConninfo(const std::string& conninfo);

// True for directories of unix sockets and for addresses of the loopback range.
bool IsLoopback(std::string_view host_or_address);

// `text` with every occurrence of the secret as a word of its own replaced.
std::string BlotOut(std::string_view text, std::string_view secret);

}  // namespace walferry
