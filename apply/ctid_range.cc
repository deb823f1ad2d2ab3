// Tested by tests/apply/ctid_range_test.cc.
#include "apply/ctid_range.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace walferry {

std::string CtidRange::Condition() const {
  std::string sql = absl::StrFormat("ctid >= '(%d,0)'::pg_catalog.tid", first_page);
  if (end_page.has_value()) sql += absl::StrFormat(" AND ctid < '(%d,0)'::pg_catalog.tid", *end_page);
  return sql;
}

std::vector<CtidRange> CutIntoRanges(std::int64_t pages, std::int64_t total_bytes, std::int64_t range_bytes) {
  const std::int64_t wanted = range_bytes <= 0 ? 1 : (total_bytes + range_bytes - 1) / range_bytes;
  const std::int64_t count = std::max<std::int64_t>(1, std::min(wanted, pages));
  const std::int64_t pages_each = (pages + count - 1) / count;
  std::vector<CtidRange> ranges;
  std::int64_t first = 0;
  do {
    ranges.push_back({first, first + pages_each});
    first += pages_each;
  } while (first < pages);
  ranges.back().end_page = std::nullopt;
  return ranges;
}

}  // namespace walferry
