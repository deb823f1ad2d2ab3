// A message as one line of JSON:
// {"lsn","kind","xid","commit_lsn","commit_time","schema","table","key","old","new",…}. Fields that a message
// does not have are left out.
#pragma once

#include <string>

#include "tools/dump_context.h"

namespace walferry {

// Without the newline. Values: NULL is null, an unchanged TOAST value {"unchanged_toast":true}, text a
// string, binary values of known types what the server prints, others (and text that is not UTF-8)
// {"binary":"hex"}.
std::string DumpJson(const DumpedMessage& message);

}  // namespace walferry
