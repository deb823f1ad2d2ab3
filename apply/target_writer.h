// One target transaction after the other on one connection: the position first, then the changes of source
// transactions in their order, then COMMIT, all through a pipeline.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "apply/array_encoder.h"
#include "apply/batch.h"
#include "apply/lane_state.h"
#include "apply/net_changes.h"
#include "apply/pipeline.h"
#include "apply/plan.h"
#include "apply/set_statement.h"
#include "apply/statement_cache.h"
#include "apply/table_map.h"
#include "apply/tally.h"

namespace walferry {

// Names a change without its values.
struct ChangeName {
  TableName table;
  EventKind kind = EventKind::kInsert;
  Xid xid = 0;
  Lsn commit_lsn;
};
// "UPDATE of public.t in transaction 744 (commit at 0/16B3748)"
std::string Describe(const ChangeName& change);

struct SkippedChange {
  ChangeName change;
  absl::Status error;
};

struct TargetWriterOptions {
  std::string migration;
  int lane = 0;
  std::size_t in_flight_bytes = 1 << 20;
  bool stop_at_missing_row = false;
};

// Not thread-safe. After an error of Begin(), Apply…(), Flush(), MoveTo() or Commit(), call Abandon().
class TargetWriter {
 public:
  // tables: mappings that outlive this connection.
  TargetWriter(Connection connection, TargetWriterOptions options, TableMap& tables);
  TargetWriter(const TargetWriter&) = delete;
  TargetWriter& operator=(const TargetWriter&) = delete;

  // Takes the lane over; before the first Begin(). What its earlier writers have sent ahead fails from here
  // on.
  absl::StatusOr<Lsn> TakePosition();
  absl::StatusOr<Lsn> ReadPositionOf(int lane);
  // Reads the catalog for relations that are not known yet; also inside a transaction, where it waits for all
  // answers.
  absl::Status ResolveTables(const SourceTransaction& transaction);

  // BEGIN and the guard. `next` equal to `expected` only takes the lane's lock.
  absl::Status Begin(Lsn expected, Lsn next);
  // The tables are resolved; changes that are out of scope do nothing. Sends the change as a statement of its
  // own.
  absl::Status Apply(const SourceTransaction& transaction, const Segment& segment, const Event& event);
  // Gathers changes to their net effect per row, where the table allows it, and sends the others in their
  // place. The events live until SendGathered(). Where the target refuses a net effect, it may still take the
  // changes themselves in their order.
  absl::Status Gather(const SourceTransaction& transaction, const Segment& segment, const Event& event);
  // For each table deletes, then updates, then inserts, rows sorted by key.
  absl::Status SendGathered();
  // Like Apply(), one round trip each: a change that the target refuses because of its data is left out and
  // noted.
  absl::Status ApplyOrSkip(const SourceTransaction& transaction, const Segment& segment, const Event& event);
  // Waits for the answers to everything sent.
  absl::Status Flush();
  absl::Status MoveTo(Lsn expected, Lsn next);
  // Another lane, which waits for that.
  absl::Status MoveOther(int lane, Lsn expected, Lsn next);
  absl::Status RecordDealing(const DealtTable& dealt);
  // With stop_at_missing_row only after all rows are known to have been found (kFailedPrecondition
  // otherwise). Waits for the answer.
  absl::Status Commit();
  // Does not wait: the next Begin() may follow at once, expecting what this one moved to. When it fails,
  // everything sent after it fails, too.
  absl::Status SendCommit();
  // Waits until at most so many transactions have no answer to their COMMIT.
  absl::Status AwaitCommits(std::size_t unanswered);
  // Rolls back. kUnavailable where the connection is lost and the writer of no more use.
  absl::Status Abandon();

  bool alive() const { return connection_.alive(); }
  // The change that the last error is about, where it is about one.
  const std::optional<ChangeName>& failed_change() const { return failed_; }
  bool stopped_at_missing_row() const { return options_.stop_at_missing_row && missing_.has_value(); }

  // Of the transactions whose COMMIT was answered, in their order, since the last call; complete.
  std::vector<BatchTally> TakeCommitted() { return std::exchange(committed_, {}); }
  // Of those that were not, the oldest first.
  const std::deque<BatchTally>& unanswered() const { return tallies_; }
  const std::vector<SkippedChange>& skipped() const { return skipped_; }
  void CountTransaction() { ++tallies_.back().transactions; }

 private:
  struct Pending {
    const MappedTable* table = nullptr;  // Of a change; COMMIT has none.
    EventKind kind = EventKind::kCommit;
    Xid xid = 0;  // Zero where the statement is about several changes.
    Lsn commit_lsn = {};
    std::int64_t rows = 1;
  };

  absl::Status ResolveOnTarget(const Relation* relation);
  absl::Status ApplyTruncate(const SourceTransaction& transaction, const Segment& segment,
                             const Event& event);
  absl::Status Move(int lane, Lsn expected, Lsn next, Parameter epoch);
  absl::Status ExpectTables();
  void Forget();
  absl::Status SendStatement();
  bool IsNewShape(const MappedTable& table);
  NetChanges& GatheredOf(const MappedTable& table);
  absl::Status SendNet(NetChanges& net);
  absl::Status SendRows(const NetChanges& net, const SetStatement& statement,
                        std::span<const NetChanges::Row* const> rows);
  std::size_t Encode(const NetChanges& net, const SetStatement& statement,
                     std::span<const NetChanges::Row* const> rows);
  absl::Status SendSet(const SetStatement& statement, std::int64_t rows);
  // The name of the statement with the key in key_, which is prepared first where it has to be.
  absl::StatusOr<const std::string*> Prepare(const std::function<std::string()>& sql);
  void CountChange(const MappedTable& table, EventKind kind);
  absl::Status Note(absl::Status status);
  void TakeRowAnswer(std::int64_t affected);
  void NoteMissing(const Pending& change);
  TableCounters& CountersOf(const MappedTable& table);
  absl::Status SkipFailed(const Pending& change, const absl::Status& error);
  static ChangeName NameOf(const Pending& change);

  Connection connection_;
  const TargetWriterOptions options_;
  std::string epoch_;
  TableMap& tables_;
  Pipeline pipeline_;
  StatementCache cache_;
  RowPlanner planner_;
  RowStatement statement_;
  std::string key_;
  absl::flat_hash_map<const MappedTable*, std::unique_ptr<NetChanges>> gathered_;
  NetChanges* last_gathered_ = nullptr;
  absl::flat_hash_map<Oid, const MappedTable*> shapes_;  // By relation: the one that was met last.
  const MappedTable* last_shape_ = nullptr;
  std::vector<ArrayEncoder> encoders_;  // By published column.
  std::vector<ArrayParameter> arrays_;

  std::deque<Pending> pending_;  // Sent and not answered.
  std::optional<ChangeName> failed_;
  std::optional<ChangeName> missing_;  // The first one.
  std::vector<SkippedChange> skipped_;
  std::deque<BatchTally> tallies_;  // Without an answer; the last one is being counted.
  std::vector<BatchTally> committed_;
  const MappedTable* counted_table_ = nullptr;
  std::map<TableName, Oid> expected_oids_;  // Of what this transaction has written to.
  TableCounters* counters_ = nullptr;
};

}  // namespace walferry
