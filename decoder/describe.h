// Any message as one line of text: for `walferry dump`, golden tests and failure texts of tests.
#pragma once

#include <string>

#include "decoder/message.h"
#include "decoder/relation.h"

namespace walferry {

// relation: what the message's relation_id stands for, where it has one and it is known; else nullptr.
// Values are quoted, with control characters escaped; binary ones are \x hex; null and unchanged_toast stand
// bare. One line, no trailing newline.
std::string Describe(const Message& message, const Relation* relation);

}  // namespace walferry
