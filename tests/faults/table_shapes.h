// Tables of every shape that a source may have, each with statements that change it. The statements are
// templates; see FillTemplate().
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace walferry {

struct TableShape {
  std::string_view create;
  std::vector<std::string_view> changes;
};

// Functions and types that the tables need. Run before the first table.
extern const std::string_view kShapeTypesSql;
const std::vector<TableShape>& TableShapes();

// Replaces  @k  by a key (1 … kKeys),  @s  by a key out of few (1 … 40),  @b  by the first of a range of
// keys,  @n  by the number of rows,  @f  by a number that is never large (1 … 10), and  @r  by any number.
// What is drawn is drawn anew for each place, @b but once.
constexpr int kKeys = 6000;
std::string FillTemplate(std::string_view text, int rows, std::mt19937_64& random);

}  // namespace walferry
