// The WAL that the source keeps for a migration's slot, and the limit that the user sets for it
// (--max-slot-wal): a source whose disk is full stops, and its application with it.
#include <poll.h>

#include <atomic>
#include <utility>

#include "apply/workers.h"
#include "stream/slot.h"
#include "tools/log.h"
#include "tools/migration.h"
#include "tools/quantity.h"

namespace walferry {
namespace {

constexpr int kIntervalMs = 2000;
// Of the limit, from where on it is named.
constexpr double kWarnShare = 0.8;

std::string BytesText(std::int64_t bytes) {
  return FormatBytes(static_cast<double>(bytes));
}

}  // namespace

absl::Status Migration::WithSlotWatched(const std::function<absl::Status()>& work) {
  if (options_.max_slot_wal_bytes == 0 || record_.slot.empty()) return work();
  const StopSignal* const outer = stop_;
  StopSignal done;
  std::atomic<int> roles = 0;
  std::atomic<bool> exceeded = false;
  const absl::Status status = RunWorkers(2, *outer, [&](const StopSignal& halt) -> absl::Status {
    if (roles++ > 0) return WatchSlot(halt, done, exceeded);
    // What waits for a lock of the target would keep the slot for as long.
    ListenTo(halt);
    absl::Status worked = work();
    ListenTo(*outer);
    done.Request();
    return worked;
  });
  return exceeded ? GiveSlotUp(status) : status;
}

void Migration::ListenTo(const StopSignal& stop) {
  stop_ = &stop;
  source_.ListenTo(&stop);
  target_.ListenTo(&stop);
}

// Until the work is done, or the limit is passed. A source that is away keeps nothing more.
absl::Status Migration::WatchSlot(const StopSignal& halt, const StopSignal& done,
                                  std::atomic<bool>& exceeded) {
  std::optional<Connection> source;
  bool warned = false;
  while (!halt.requested() && !done.requested()) {
    if (!source || !source->alive()) {
      absl::StatusOr<Connection> connection =
          Connection::Open({.conninfo = options_.source,
                            .application_name = "walferry " + options_.name,
                            .settings = {{"statement_timeout", "10s"}},
                            .stop = &done});
      if (connection.ok()) source = *std::move(connection);
    }
    absl::StatusOr<std::optional<SlotInfo>> slot = std::optional<SlotInfo>();
    if (source && source->alive())
      slot = InspectSlotOfDatabase(*source, record_.slot, record_.source_database);
    const std::int64_t retained = slot.ok() && *slot ? (*slot)->retained_bytes : 0;
    if (retained > options_.max_slot_wal_bytes) {
      exceeded = true;
      return Errorf(absl::StatusCode::kResourceExhausted,
                    "slot %s made the source keep %s of WAL, more than --max-slot-wal %s", record_.slot,
                    BytesText(retained), BytesText(options_.max_slot_wal_bytes));
    }
    if (static_cast<double>(retained) > kWarnShare * static_cast<double>(options_.max_slot_wal_bytes) &&
        !std::exchange(warned, true)) {
      LogWarn(
          "slot %s makes the source keep %s of WAL; at %s (--max-slot-wal) it is dropped and the migration "
          "ends",
          record_.slot, BytesText(retained), BytesText(options_.max_slot_wal_bytes));
    }
    pollfd fds[] = {{halt.fd(), POLLIN, 0}, {done.fd(), POLLIN, 0}};
    poll(fds, 2, kIntervalMs);
  }
  return absl::OkStatus();
}

absl::Status Migration::GiveSlotUp(const absl::Status& why) {
  // The work may have been ended within a transaction, and its connection with it.
  source_.Execute("ROLLBACK").IgnoreError();
  target_.Execute("ROLLBACK").IgnoreError();
  WF_RETURN_IF_ERROR(ReconnectSource());
  WF_RETURN_IF_ERROR(DropSlot(source_, record_.slot));
  Note("slot", std::string(MessageOf(why)) + ": dropped").IgnoreError();
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "%s: the slot was dropped, so that the source's disk does not fill. What was copied and applied stays "
      "on the target, but changes are missing from here on: run walferry cleanup, and migrate again",
      MessageOf(why));
}

}  // namespace walferry
