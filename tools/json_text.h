// JSON as text, for lines of rows: no document is built for them.
#pragma once

#include <string>
#include <string_view>

namespace walferry {

bool IsUtf8(std::string_view bytes);

// A JSON string with its quotes. text: UTF-8.
void AppendJsonString(std::string_view text, std::string& out);

}  // namespace walferry
