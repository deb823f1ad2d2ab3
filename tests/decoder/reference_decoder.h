// A second decoder, slow and plain, to compare the real one with: a table of layouts as the manual writes
// them, and an interpreter that takes one byte at a time.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "decoder/message.h"
#include "decoder/protocol.h"

namespace walferry {

// A message as "type", then its fields as "name=value".
using FieldList = std::vector<std::string>;

// nullopt where the bytes are not a message.
std::optional<FieldList> ReferenceDecode(std::string_view payload, Streaming streaming, bool in_stream);

// What the real decoder found, in the same words.
FieldList FieldsOf(const Message& message);

}  // namespace walferry
