// What a cutover has to do after its switch, and what of it is not done yet.
#pragma once

#include <string>
#include <vector>

#include "apply/last_stage.h"
#include "stream/connection.h"

namespace walferry {

// What could not be done, and does no harm: the statement can be run by hand at any time.
struct Leftover {
  std::string text;
  std::string command;
};

// Of migration `name`, which was switched: refreshes, validations and event triggers that remain.
absl::StatusOr<LastStage> LoadUnfinishedStage(Connection& target, const std::string& name);

// The same, each as a sentence.
absl::StatusOr<std::vector<Leftover>> ListLeftovers(Connection& target, const std::string& name);

// Statements that refresh a view or validate a foreign key by hand, whatever their session is set to. Both
// read as the owner: under row security that is forced upon owners they would see a part of the rows, and say
// nothing.
std::string StatementByHand(Connection& target, const SchemaObject& object);

// "a, b and 3 more"
std::string Describe(const std::vector<Leftover>& leftovers);

}  // namespace walferry
