// Event triggers of a server's user, where DDL of ours meets them.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "stream/connection.h"

namespace walferry {

struct EventTrigger {
  std::string name;
  char enabled = 'O';  // pg_event_trigger.evtenabled: O, R, A
};

// Those that fire at a command with one of these tags ("CREATE PUBLICATION") in an ordinary session. Those of
// extensions, which know their business, are left out.
absl::StatusOr<std::vector<EventTrigger>> EventTriggersAt(Connection& connection,
                                                          const std::vector<std::string>& tags);

// `ddl` in one transaction. Where it fails and event triggers are in force, once more in a transaction in
// which none fires: by event_triggers = off from version 17 on, else disabled and put back as they were in
// that transaction, so that no other session ever sees them disabled. Needs a superuser; the error of who is
// none names them. Only for what walferry itself made.
absl::Status ExecutePastEventTriggers(Connection& connection, const std::function<absl::Status()>& ddl);

// `status` of a command that may have met event triggers, with their names and what to do on `side` ("the
// source"). OK stays OK.
absl::Status NameEventTriggers(Connection& connection, const absl::Status& status, std::string_view tag,
                               std::string_view side);

}  // namespace walferry
