// How far a session is. Written by the session's thread, read by any. LSNs as integers.
#pragma once

#include <atomic>
#include <cstdint>

namespace walferry {

struct SessionCounters {
  std::atomic<std::uint64_t> received_lsn = 0;   // The highest position heard of, keepalives included.
  std::atomic<std::uint64_t> wal_end_lsn = 0;    // The source's head, as it last told.
  std::atomic<std::uint64_t> confirmed_lsn = 0;  // What the source was last told.
  std::atomic<std::uint64_t> messages = 0;
  std::atomic<std::uint64_t> bytes = 0;
  std::atomic<std::uint64_t> reads = 0;  // Of the socket, with something in it.
  std::atomic<std::uint64_t> transactions = 0;
  std::atomic<std::uint64_t> skipped_transactions = 0;  // Sent again although they are applied.
  std::atomic<std::uint64_t> changes = 0;
  std::atomic<std::uint64_t> streamed_transactions = 0;
  std::atomic<std::uint64_t> spooled_bytes = 0;  // Put aside for transactions in progress, all in all.
  std::atomic<std::uint64_t> reconnects = 0;
  std::atomic<std::int64_t> last_commit_time = 0;  // TimestampMicros of the last transaction received.
};

}  // namespace walferry
