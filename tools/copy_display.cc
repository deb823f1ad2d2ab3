#include "tools/copy_display.h"

#include <poll.h>

#include <algorithm>

#include "absl/time/clock.h"
#include "tools/log.h"
#include "tools/progress.h"
#include "tools/quantity.h"

namespace walferry {
namespace {

constexpr int kRedrawMs = 250;

// Ranges that are done count for certain; within large ones the bytes on the wire tell roughly how far it is.
double Fraction(const TableCopyProgress& progress) {
  const double expected = static_cast<double>(progress.bytes_expected);
  if (expected <= 0) return 0;
  const double certain = static_cast<double>(progress.bytes_expected_done) / expected;
  const double rough = std::min(0.99, static_cast<double>(progress.bytes_copied) / expected);
  return std::max(certain, rough);
}

std::string Describe(const TableCopyProgress& progress, absl::Time started, absl::Time now) {
  const double bytes = static_cast<double>(progress.bytes_copied);
  const double seconds = std::max(0.001, absl::ToDoubleSeconds(now - started));
  std::string text = absl::StrFormat("%d of %d tables, %s rows, %s, %s/s", progress.tables_done.load(),
                                     progress.tables_total.load(), FormatCount(progress.rows_copied),
                                     FormatBytes(bytes), FormatBytes(bytes / seconds));
  const std::string left = TimeLeft(Fraction(progress), started, now);
  if (!left.empty()) text += ", " + left;
  return text;
}

}  // namespace

CopyDisplay::CopyDisplay(const TableCopyProgress& progress)
    : progress_(progress), started_(absl::Now()), thread_([this] { Run(); }) {}

CopyDisplay::~CopyDisplay() {
  done_.Request();
  thread_.join();
}

void CopyDisplay::Run() {
  ProgressLine line("copy");
  while (!done_.requested()) {
    line.Update(Fraction(progress_), Describe(progress_, started_, absl::Now()));
    pollfd fd = {done_.fd(), POLLIN, 0};
    poll(&fd, 1, kRedrawMs);
  }
  const absl::Duration took = absl::Now() - started_;
  const double bytes = static_cast<double>(progress_.bytes_copied);
  line.Finish(absl::StrFormat("copied %d of %d tables: %s rows, %s in %s (%s/s)",
                              progress_.tables_done.load(), progress_.tables_total.load(),
                              FormatCount(progress_.rows_copied), FormatBytes(bytes), FormatTimeSpan(took),
                              FormatBytes(bytes / std::max(0.001, absl::ToDoubleSeconds(took)))));
}

}  // namespace walferry
