// The seam between the source side and the target side, seen from the source.
#pragma once

#include "decoder/lsn.h"
#include "stream/segment.h"

namespace walferry {

// How far the target is. All of it is end LSNs.
struct SinkProgress {
  Lsn applied;    // Committed on the target, maybe not yet on its disk.
  Lsn confirmed;  // Durable on the target and recorded there as confirmed: what the source may be told.
};

// Takes the stream of one session. Called by the session's thread; progress() and fd() from any.
class SegmentSink {
 public:
  virtual ~SegmentSink() = default;

  // Before the first segment of every connection to the source: waits until whatever was pushed before is
  // applied or given up, forgets an unfinished transaction and returns the position read back from the
  // target, from which the stream has to start. Transactions whose commit LSN is below it must not be pushed
  // again (the sink skips them too).
  virtual absl::StatusOr<Lsn> Restart() = 0;

  // Takes the segment, never waits: the memory budget is what bounds it.
  virtual void Push(Segment segment) = 0;

  // Everything before `wal_end` was pushed and no transaction is open: with nothing left to apply, `wal_end`
  // may be confirmed, so that an idle database retains no WAL.
  virtual void Idle(Lsn wal_end) = 0;

  // Records and confirms what is applied now instead of when it is next due; returns at once.
  virtual void HurryConfirmation() = 0;

  virtual SinkProgress progress() const = 0;

  // The sink needs the stream again from the position that Restart() will return: a part of a transaction
  // that it no longer has was undone on the target, or the target lost what was not yet confirmed. Whatever
  // is pushed until the next Restart() is thrown away, so connect to the source anew. Asked for after fd()
  // became readable.
  virtual bool wants_restart() const { return false; }

  // The first error that ended the sink's work, or OK. After an error it applies nothing any more.
  virtual absl::Status status() const = 0;

  // Readable when progress or status changed; poll() only, DrainWakeups() empties it.
  virtual int fd() const = 0;
  virtual void DrainWakeups() = 0;
};

}  // namespace walferry
