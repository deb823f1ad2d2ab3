// One connection to the target, one thread, one position: takes segments from its queue, applies its share of
// them in source order and answers for every way in which that can go wrong. With one lane its share is all.
//
// A batch of whole transactions stays in memory until its COMMIT was answered, so it can be applied again. A
// transaction that is larger than a batch goes into its target transaction part by part; when that is undone
// by the target, the stream is asked for again (SegmentSink::wants_restart).
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "apply/applier.h"
#include "apply/batch.h"
#include "apply/dealing.h"
#include "apply/progress.h"
#include "apply/rendezvous.h"
#include "apply/replica_role.h"
#include "apply/table_map.h"
#include "apply/tally.h"
#include "apply/target_writer.h"
#include "stream/backoff.h"

namespace walferry {

// What the lanes of an applier share. All of it outlives them.
struct LaneContext {
  const ApplierOptions& options;
  const std::vector<TableName>& tables;
  const MemoryBudget& budget;
  TableCatalog& catalog;
  Dealing& dealing;
  Rendezvous& rendezvous;
  Progress& progress;
  Tally& tally;
  const StopSignal& stop;   // The user's: nothing new is begun.
  const StopSignal& abort;  // Ours: whatever runs is cut off.
  const std::function<void(const ApplierEvent&)>& observe;
};

class Lane {
 public:
  Lane(const LaneContext& context, int number);
  ~Lane();  // Join().
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Connects and reads the position, which is returned; then the thread may be started. open_commit_lsn:
  // where what will be pushed first is the rest of a transaction, in which this lane has no share. On the
  // caller's thread.
  absl::StatusOr<Lsn> Open(Lsn open_commit_lsn = {});
  void StartThread();

  // The rest: any thread.
  // There are so many lanes, and what is pushed from now on is dealt to them. Not to be taken back.
  void ShareWith(int lanes);
  void Push(std::shared_ptr<const Segment> segment);
  // The source has nothing more for now: what was pushed waits for nothing.
  void Idle();
  // See SegmentSink::Restart().
  absl::StatusOr<Lsn> Restart();
  // Reads the position back when it is free: the target may have lost it.
  void Recheck();
  // Begins nothing new.
  void Quiesce();
  // The same, but for what ends at `end` or before: another lane has done it. Lsn{}: no more of that, either.
  void LevelUp(Lsn end);
  // True when what is in hand after that is done, false when it was not before `deadline`.
  bool AwaitRest(absl::Time deadline);
  // Ends the thread; soon, where `abort` was requested.
  void Join();

 private:
  enum class Work { kQuit, kBatch, kParts, kPassed, kSettle, kLevel, kRestart, kRecheck };
  enum class Next { kCommitted, kAgain, kFromSource };
  enum class Mode {
    kNet,      // Net effects of a batch.
    kInOrder,  // Change by change as the source did: what the target refuses as a net effect may pass so.
    kCareful,  // The same, and what is refused because of its data is left out.
  };

  void Run();
  Work NextWork();
  std::optional<Work> ChooseWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeIncoming();
  bool stopping() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Ends in progress, a wish for a restart, or failure; never throws a transaction away silently.
  void ApplyBatch(Batch batch);
  // The batch is sent before those ahead of it are known to be committed (lane_chain.cc).
  absl::Status Chain(Batch batch);
  absl::Status SendChained();
  absl::Status AwaitChain(std::size_t unanswered);
  void TakeCommitted();
  absl::Status Unchain(const absl::Status& error);
  bool Lingers() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Status ApplyOrReplay(Batch batch);
  absl::Status ReplayRefused(Batch batch, const absl::Status& refusal);
  absl::Status Replay(Batch batch);
  absl::Status ApplyInOrder(Batch batch);
  absl::Status ApplyBehindOthers(const Batch& batch);
  absl::Status ApplyWhole(const Batch& batch, Mode mode);
  absl::Status Attempt(const Batch& batch, Mode mode);
  absl::Status SendBatch(const Batch& batch, Mode mode, Lsn from);
  Mode ModeOfParts(Lsn commit_lsn) const;
  void ApplyParts();
  absl::Status SendParts(SourceTransaction& part, Mode mode);
  absl::Status AwaitPart(bool flush);
  absl::Status FinishParts(const SourceTransaction& part);
  absl::Status Send(const SourceTransaction& transaction, Mode mode);
  absl::Status SettleParts(const SourceTransaction& part, const absl::Status& error, Mode mode);

  // With several lanes (lane_share.cc). What this lane is to apply next is gathered in next_.
  void ApplyShare();
  absl::Status GatherShare(Lsn up_to);
  void ApplyNext();
  void LevelUpNow();
  // The transaction in common_, or the one that begins with `part`: the first lane applies it for all.
  void ApplyTogether();
  void ApplyPartsTogether(SourceTransaction part);
  absl::Status AwaitEndOfParts(SourceTransaction part);
  absl::StatusOr<bool> AwaitOthers(bool in_parts);
  void EndMeeting(Lsn end);
  void TakeOverEnd();
  // Of the next part: kCancelled where it turns out that the transaction cannot be taken apart.
  absl::Status TakeShareOf(SourceTransaction& part);
  bool leads() const { return !all_positions_.empty(); }
  void DecideOn(const SourceTransaction& transaction);
  DealtTable DealOf(const Relation* relation) const;
  // Until no lane stands before this one. kCancelled: that will not be.
  absl::Status AwaitLanesBehind();
  // The name of a table whose rows were dealt by a key and are not independent any more, or nothing.
  std::string DealtOutOfDate() const;
  absl::Status MoveOthers(Lsn end);

  // Keeps what the writer knows about its transaction, before it is used again or lost.
  absl::Status Capture(absl::Status status);
  void Committed(Lsn position);
  void ReportBatch();
  void ReportMissing(const TableName& table, std::int64_t rows);
  void Settle(const absl::Status& status);
  // Asks for the stream again. Returns kCancelled, which ends the work in hand.
  absl::Status GiveUp();

  // After `error`: rolls back, waits, reconnects, reads the position. `end`: what it would be after a commit.
  absl::StatusOr<Next> Recover(const absl::Status& error, Lsn end);
  // The same where it may have come to any of `ends`; kCommitted: to `reached`.
  absl::StatusOr<Next> Recover(const absl::Status& error, std::span<const Lsn> ends, Lsn& reached);
  absl::StatusOr<Next> Compare(Lsn position, std::span<const Lsn> ends) const;
  absl::StatusOr<Next> CompareOthers(const absl::Status& moved);
  bool WorthAnotherTry(const absl::Status& error);
  absl::StatusOr<Lsn> ReadPositionPatiently();
  absl::Status Connect();
  absl::Status Pause();
  absl::StatusOr<Lsn> DoRestart();
  void DoRecheck();
  void Say(ApplierEvent::Kind kind, std::string text, TableName table = {}) const;

  const LaneContext context_;
  const int number_;

  // Of the thread (and of Open(), before there is one).
  TableMap tables_;
  std::unique_ptr<TargetWriter> writer_;
  BatchBuilder builder_;
  Lsn position_;
  std::deque<Batch> chain_;  // Sent, and not known to be committed.
  absl::Time linger_until_ = absl::InfinitePast();
  std::optional<Dealer> dealer_;  // With several lanes.
  Batch next_;
  absl::Time next_due_ = absl::InfiniteFuture();  // Where there is nothing to apply in next_.
  std::optional<SourceTransaction> common_;       // Behind next_.
  std::vector<Lsn> all_positions_;                // By lane; not empty while this one applies for all.
  std::map<const Relation*, DealtTable> decided_;
  // Of the last target transaction.
  BatchTally batch_tally_;
  std::vector<SkippedChange> batch_skipped_;
  std::optional<ChangeName> failed_change_;
  bool missing_row_ = false;
  bool refused_ = false;     // It failed, and would fail again.
  bool discarding_ = false;  // Until the next restart, or for good.
  Lsn again_commit_lsn_;     // A transaction in parts that was refused, and how it is to be applied now.
  Mode again_mode_ = Mode::kNet;
  Lsn stale_at_;  // Where the catalog was read again because of an error.
  absl::Time failing_since_ = absl::InfiniteFuture();  // InfiniteFuture: it is not.
  Backoff backoff_;
  std::set<TableName> said_skipped_;
  struct MissingRows {
    std::int64_t unsaid = 0;
    absl::Time said = absl::InfinitePast();
  };
  std::map<TableName, MissingRows> missing_rows_;

  absl::Mutex mutex_;
  absl::CondVar changed_;
  std::deque<std::shared_ptr<const Segment>> incoming_ ABSL_GUARDED_BY(mutex_);
  int lanes_ ABSL_GUARDED_BY(mutex_) = 1;
  bool idle_ ABSL_GUARDED_BY(mutex_) = false;
  bool restart_wanted_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::StatusOr<Lsn>> restart_result_ ABSL_GUARDED_BY(mutex_);
  bool recheck_ ABSL_GUARDED_BY(mutex_) = false;
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
  Lsn level_to_ ABSL_GUARDED_BY(mutex_);
  bool quit_ ABSL_GUARDED_BY(mutex_) = false;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace walferry
