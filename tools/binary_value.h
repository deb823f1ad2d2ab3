// Values in the server's binary format as the text that the server prints for them (with the settings of our
// connections: ISO dates, UTC, shortest floats, hex bytea). Facts: the types' send and out functions,
// src/backend/utils/adt.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "decoder/lsn.h"

namespace walferry {

// Nothing where the type is not one of the built-in ones known here, or the bytes are not of its form.
std::optional<std::string> BinaryValueText(Oid type, std::string_view bytes);

}  // namespace walferry
