// A heap cut into ranges of pages, so that several workers copy one table. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace walferry {

struct CtidRange {
  std::int64_t first_page = 0;
  std::optional<std::int64_t> end_page;  // Not part of it. Open for a table's last range.
  friend bool operator==(const CtidRange&, const CtidRange&) = default;

  // ctid >= '(first,0)' AND ctid < '(end,0)': what the server answers with a TID range scan (version 14 or
  // newer).
  std::string Condition() const;
};

// Cuts a table of `pages` heap pages into as few ranges of about the same number of pages as keep each at or
// below `range_bytes`. total_bytes counts what belongs to the pages elsewhere, too (TOAST). At least one
// range; one page at least in each.
std::vector<CtidRange> CutIntoRanges(std::int64_t pages, std::int64_t total_bytes, std::int64_t range_bytes);

}  // namespace walferry
