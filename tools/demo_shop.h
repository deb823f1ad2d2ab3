// The text of tools/demo_shop.sql, put into the program when it is built.
#pragma once

#include <string_view>

namespace walferry {

extern const std::string_view kDemoShopSql;

}  // namespace walferry
