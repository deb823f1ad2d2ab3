// What the checks of the schema share.
#pragma once

#include <string>
#include <vector>

#include "apply/left_out.h"
#include "tools/check_context.h"

namespace walferry {

// "" where the schema of the source is to be made on the target; else why there is nothing to check.
std::string NoSchemaToMake(const CheckContext& context);

// A blocker, unless the schema is made already and the stream has only to go on: then a warning.
void BlockUnlessMade(const CheckContext& context, CheckRun& check, std::string evidence, std::string fix);

absl::StatusOr<LeftOut> LeftOutOf(CheckContext& context);
// The relations of it as JSON, [["schema","name"],…].
std::string RelationsAsJson(const LeftOut& left_out);

std::vector<std::string> Column(const Result& rows, int column);

}  // namespace walferry
