// What the source is told, and when: pure bookkeeping for one connection. The clock is given to it.
//
//   write = received    the highest position heard of
//   flush = confirmed   durable on the target; moves the slot; zero until there is something to confirm
//   apply = applied     committed on the target
// https://www.postgresql.org/docs/current/protocol-replication.html (standby status update)
#pragma once

#include "absl/time/time.h"
#include "decoder/frame.h"
#include "stream/sink.h"

namespace walferry {

class Feedback {
 public:
  // interval: between two updates when nothing happens.
  Feedback(absl::Duration interval, absl::Time now);

  void Received(Lsn lsn);
  void Progressed(const SinkProgress& progress);
  // The server wants an answer at once.
  void ReplyRequested() { reply_requested_ = true; }
  // While a position is waited for, updates go out often and ask the server where it is.
  void SetProbing(bool probing) { probing_ = probing; }

  Lsn received() const { return received_; }
  Lsn confirmed() const { return confirmed_; }

  // When the next update is due; may be past.
  absl::Time Due() const;
  // The update to send now.
  StandbyStatusUpdate Next(absl::Time now);

 private:
  const absl::Duration interval_;
  absl::Time last_sent_;
  Lsn received_;
  Lsn confirmed_;
  Lsn applied_;
  Lsn confirmed_sent_;
  bool sent_ = false;
  bool reply_requested_ = false;
  bool probing_ = false;
};

}  // namespace walferry
