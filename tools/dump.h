// Looking into the WAL: the decoded stream of a slot, message by message, as text or JSON lines, or counted.
#pragma once

#include <cstddef>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "decoder/protocol.h"
#include "stream/stop_signal.h"
#include "tools/table_filter.h"

namespace walferry {

enum class DumpFormat { kText, kJson };

struct DumpOptions {
  std::string source;  // conninfo
  std::string slot;    // Empty: a temporary slot, which begins now.
  std::vector<std::string> publications;
  DumpFormat format = DumpFormat::kText;
  bool stats = false;                // Counts instead of messages.
  std::optional<Lsn> from;           // Nothing: where the slot stands.
  std::optional<Lsn> until;          // Nothing: the end of the WAL at the start, unless follow.
  bool follow = false;               // Until stopped.
  std::optional<Xid> xid;            // Only this transaction.
  TableFilter tables;                // Only changes of these.
  bool consume = false;              // Confirm to the slot what was written to `out`.
  ProtocolOptions wishes;            // Granted as far as the server knows them.
  std::optional<int> proto_version;  // Nothing: the highest that the server speaks.
  std::size_t memory_bytes = std::size_t{64} << 20;
};

// Writes until the end that was asked for, a stop, or until the reader of `out` goes away. Without consume
// the slot is left exactly where it is. A lost connection is an error: dump does not begin again in the
// middle.
absl::Status Dump(const DumpOptions& options, const StopSignal& stop, std::ostream& out);

}  // namespace walferry
