// What the cutover will make last, tried long before it.
#pragma once

#include <string>
#include <vector>

#include "apply/state.h"
#include "stream/connection.h"

namespace walferry {

// An object of the last stages that cannot be made as the target is now.
struct LastStageProblem {
  std::string object;     // "POLICY public.t p"
  std::string text;       // One sentence: the object and the server's words.
  std::string command;    // What to do about it.
  bool harmless = false;  // The cutover is done without it, and names it.
  bool tried = true;      // False: its table was locked all the while, nothing is known. No reason to refuse.
};

// Of what is not made yet; see TryObjects() in apply/object_trial.h and TryIndexes(). Changes nothing.
absl::StatusOr<std::vector<LastStageProblem>> TryLastStage(Connection& target,
                                                           const std::vector<SchemaObject>& objects);

// The same for what migration `name` has recorded, each as a warning in the log.
absl::Status WarnOfLastStage(Connection& target, const std::string& name);

}  // namespace walferry
