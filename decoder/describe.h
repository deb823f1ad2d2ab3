// Any frame or message as one line of text: for `walferry dump`, golden tests and failure texts of tests.
#pragma once

#include <string>

#include "decoder/message.h"
#include "decoder/relation.h"

namespace walferry {

// relation: what the message's relation_id stands for, where it has one and it is known; else nullptr.
// Values are printed as they are, quoted; binary ones as \x hex. One line, no trailing newline.
std::string Describe(const Message& message, const Relation* relation);

}  // namespace walferry
