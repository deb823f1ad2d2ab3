#include "tools/follow_display.h"

#include "tools/quantity.h"

namespace walferry {
namespace {

std::string Describe(const RuntimeSnapshot& now) {
  std::string text =
      absl::StrFormat("%s changes/s, %s/s, ", FormatCount(static_cast<std::int64_t>(now.changes_per_s)),
                      FormatBytes(now.bytes_per_s));
  if (now.bottleneck == "none") return text + "caught up at " + now.applied.ToString();
  text += "lag " + FormatBytes(static_cast<double>(now.lag_bytes));
  if (now.lag_seconds > 0) text += " (" + FormatTimeSpan(absl::Seconds(now.lag_seconds)) + ")";
  if (now.eta_seconds) text += ", caught up in " + FormatTimeSpan(absl::Seconds(*now.eta_seconds));
  return text + ", waiting for the " + now.bottleneck;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FollowDisplay>> FollowDisplay::Start(const std::string& metrics_listen) {
  std::unique_ptr<FollowDisplay> display(new FollowDisplay());
  if (!metrics_listen.empty()) {
    WF_ASSIGN_OR_RETURN(display->metrics_, MetricsServer::Start(metrics_listen));
  }
  return display;
}

void FollowDisplay::Show(const RuntimeSnapshot& snapshot) {
  line_.Update(Describe(snapshot));
  if (metrics_) metrics_->Publish(snapshot);
}

}  // namespace walferry
