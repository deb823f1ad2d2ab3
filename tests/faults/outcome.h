// What must be true in the end of every test of faults.
#pragma once

#include "tests/support/server_pair.h"
#include "tests/support/walferry_process.h"

namespace walferry {

// The two servers, for a walferry of this pair.
Environment EnvironmentOf(DatabasePair& pair);

// `migrate --until caught-up` goes through, both sides hold the same (by our own count and by `verify`), no
// row was missed, no change skipped, and the slot is as it must be. Nobody writes, and no other walferry
// runs.
void ExpectCaughtUpAndEqual(DatabasePair& pair);
// Runs on the target, as they are, the statements that `status` prints for differences of the catalogs, until
// there are none.
void FollowTheAdvice(DatabasePair& pair);

}  // namespace walferry
