// Tested by tests/apply/applier_rows_test.cc.
#include "apply/target_writer.h"

#include <array>
#include <utility>

#include "apply/position.h"
#include "apply/statement.h"

namespace walferry {
namespace {

constexpr char kSavepoint[] = "SAVEPOINT walferry_change";
constexpr char kRelease[] = "RELEASE SAVEPOINT walferry_change";
constexpr char kRollbackToSavepoint[] = "ROLLBACK TO SAVEPOINT walferry_change";

std::string_view VerbOf(EventKind kind) {
  switch (kind) {
    case EventKind::kInsert:
      return "INSERT into";
    case EventKind::kUpdate:
      return "UPDATE of";
    case EventKind::kDelete:
      return "DELETE from";
    case EventKind::kTruncate:
      return "TRUNCATE of";
    case EventKind::kBegin:
    case EventKind::kCommit:
      break;
  }
  return "change of";
}

// Refused because of the rows: bad values, constraints, a CHECK OPTION, what a trigger raises, several that
// fit where one is meant. Not: missing privileges or tables, which would make every further change fail, too.
bool IsAboutData(const absl::Status& error) {
  const std::string sqlstate = SqlstateOf(error);
  return sqlstate.starts_with("21") || sqlstate.starts_with("22") || sqlstate.starts_with("23") ||
         sqlstate.starts_with("44") || sqlstate.starts_with("P0");
}

bool Applies(const MappedTable& table, const SourceTransaction& transaction) {
  return table.in_scope && transaction.commit_lsn >= table.applies_from;
}

}  // namespace

std::string Describe(const ChangeName& change) {
  return absl::StrFormat("%s %s in transaction %d (commit at %s)", VerbOf(change.kind),
                         change.table.ToString(), change.xid, change.commit_lsn.ToString());
}

TargetWriter::TargetWriter(Connection connection, TargetWriterOptions options, TableMap& tables)
    : connection_(std::move(connection)),
      options_(std::move(options)),
      tables_(tables),
      pipeline_(connection_, options_.in_flight_bytes,
                [this](std::int64_t affected) { TakeRowAnswer(affected); }) {}

absl::StatusOr<Lsn> TargetWriter::TakePosition() {
  WF_ASSIGN_OR_RETURN(LaneHold hold, TakeLane(connection_, options_.migration, options_.lane));
  epoch_ = std::move(hold.epoch);
  return hold.position;
}

absl::StatusOr<Lsn> TargetWriter::ReadPositionOf(int lane) {
  return ReadLanePosition(connection_, options_.migration, lane);
}

absl::Status TargetWriter::ResolveOnTarget(const Relation* relation) {
  if (!pipeline_.entered()) return tables_.Resolve(connection_, relation);
  WF_RETURN_IF_ERROR(Note(pipeline_.Leave()));
  WF_RETURN_IF_ERROR(tables_.Resolve(connection_, relation));
  return pipeline_.Enter();
}

absl::Status TargetWriter::ResolveTables(const SourceTransaction& transaction) {
  const auto resolve = [&](const Relation* relation) -> absl::Status {
    if (!tables_.ResolveKnown(relation)) {
      WF_RETURN_IF_ERROR(WithXid(ResolveOnTarget(relation), transaction.xid));
    }
    const MappedTable& table = *tables_.Find(relation);
    if (table.unfit.ok() || !Applies(table, transaction)) return absl::OkStatus();
    return WithXid(table.unfit, transaction.xid);
  };
  return ForEachChange(transaction, [&](const Segment& segment, const Event& event) -> absl::Status {
    if (event.kind != EventKind::kTruncate) return resolve(event.relation);
    for (std::size_t i = 0; i < event.truncate_count; ++i) {
      WF_RETURN_IF_ERROR(resolve(segment.truncated[event.truncate_first + i]));
    }
    return absl::OkStatus();
  });
}

void TargetWriter::Forget() {
  pending_.clear();
  failed_.reset();
  missing_.reset();
  skipped_.clear();
  tallies_.clear();
  committed_.clear();
}

absl::Status TargetWriter::Begin(Lsn expected, Lsn next) {
  if (!pipeline_.entered()) {
    Forget();
    WF_RETURN_IF_ERROR(pipeline_.Enter());
  }
  tallies_.emplace_back();
  counted_table_ = nullptr;
  expected_oids_.clear();
  gathered_.clear();
  last_gathered_ = nullptr;
  shapes_.clear();
  last_shape_ = nullptr;
  WF_RETURN_IF_ERROR(Note(pipeline_.Send("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")));
  return MoveTo(expected, next);
}

absl::Status TargetWriter::MoveTo(Lsn expected, Lsn next) {
  return Move(options_.lane, expected, next, epoch_);
}

absl::Status TargetWriter::MoveOther(int lane, Lsn expected, Lsn next) {
  return Move(lane, expected, next, std::nullopt);
}

absl::Status TargetWriter::Move(int lane, Lsn expected, Lsn next, Parameter epoch) {
  const std::string number = std::to_string(lane);
  const std::string from = expected.ToString();
  const std::string to = next.ToString();
  const std::array<Parameter, 5> parameters = {options_.migration, number, from, to, epoch};
  return Note(pipeline_.Send(std::string(kAdvanceSql), parameters));
}

absl::Status TargetWriter::RecordDealing(const DealtTable& dealt) {
  return Note(pipeline_.Send(RecordDealingSql(options_.migration, dealt)));
}

absl::Status TargetWriter::Apply(const SourceTransaction& transaction, const Segment& segment,
                                 const Event& event) {
  if (event.kind == EventKind::kTruncate) return ApplyTruncate(transaction, segment, event);
  const MappedTable& table = *tables_.Find(event.relation);
  if (!Applies(table, transaction)) return absl::OkStatus();
  const Pending change = {&table, event.kind, transaction.xid, transaction.commit_lsn};
  const absl::StatusOr<bool> planned = planner_.Plan(table, event, statement_);
  if (!planned.ok()) {
    failed_ = NameOf(change);
    return planned.status();
  }
  CountChange(table, event.kind);
  if (!*planned) {
    ++CountersOf(table).missing_rows;
    NoteMissing(change);
    return absl::OkStatus();
  }
  pending_.push_back(change);
  ++CountersOf(table).one_by_one;
  return Note(SendStatement());
}

void TargetWriter::CountChange(const MappedTable& table, EventKind kind) {
  ++tallies_.back().changes;
  TableCounters& counters = CountersOf(table);
  ++(kind == EventKind::kInsert   ? counters.inserts
     : kind == EventKind::kUpdate ? counters.updates
                                  : counters.deletes);
}

absl::StatusOr<const std::string*> TargetWriter::Prepare(const std::function<std::string()>& sql) {
  const StatementCache::Use use = cache_.Get(key_);
  if (!use.evicted.empty()) WF_RETURN_IF_ERROR(pipeline_.Send("DEALLOCATE " + use.evicted));
  if (use.is_new) WF_RETURN_IF_ERROR(pipeline_.Prepare(*use.name, sql()));
  return use.name;
}

absl::Status TargetWriter::SendStatement() {
  statement_.MakeKey(key_);
  WF_ASSIGN_OR_RETURN(const std::string* const name, Prepare([this] { return StatementSql(statement_); }));
  ++tallies_.back().statements;
  return pipeline_.SendRow(*name, statement_.parameters);
}

// What was gathered under the table's earlier shape, perhaps by another key, comes before.
bool TargetWriter::IsNewShape(const MappedTable& table) {
  if (&table == last_shape_) return false;
  last_shape_ = &table;
  const MappedTable*& known = shapes_[table.relation->id];
  const MappedTable* const before = std::exchange(known, &table);
  return before != nullptr && before != &table;
}

NetChanges& TargetWriter::GatheredOf(const MappedTable& table) {
  if (last_gathered_ != nullptr && &last_gathered_->table() == &table) return *last_gathered_;
  std::unique_ptr<NetChanges>& net = gathered_[&table];
  if (net == nullptr) net = std::make_unique<NetChanges>(table);
  last_gathered_ = net.get();
  return *net;
}

absl::Status TargetWriter::Gather(const SourceTransaction& transaction, const Segment& segment,
                                  const Event& event) {
  if (event.kind == EventKind::kTruncate) {
    WF_RETURN_IF_ERROR(SendGathered());
    return ApplyTruncate(transaction, segment, event);
  }
  const MappedTable& table = *tables_.Find(event.relation);
  if (!Applies(table, transaction)) return absl::OkStatus();
  if (IsNewShape(table)) WF_RETURN_IF_ERROR(SendGathered());
  if (table.row_key.empty()) return Apply(transaction, segment, event);
  NetChanges& net = GatheredOf(table);
  if (net.Take(event)) {
    CountChange(table, event.kind);
    return absl::OkStatus();
  }
  WF_RETURN_IF_ERROR(SendNet(net));
  return Apply(transaction, segment, event);
}

absl::Status TargetWriter::SendGathered() {
  for (auto& [table, net] : gathered_) WF_RETURN_IF_ERROR(SendNet(*net));
  return absl::OkStatus();
}

absl::Status TargetWriter::ApplyTruncate(const SourceTransaction& transaction, const Segment& segment,
                                         const Event& event) {
  std::vector<const MappedTable*> tables;
  bool partly = false;
  for (std::size_t i = 0; i < event.truncate_count; ++i) {
    const MappedTable* const table = tables_.Find(segment.truncated[event.truncate_first + i]);
    if (!Applies(*table, transaction)) {
      partly = partly || table->in_scope;
      continue;
    }
    tables.push_back(table);
    ++CountersOf(*table).truncates;
  }
  if (tables.empty()) return absl::OkStatus();
  ++tallies_.back().changes;
  ++tallies_.back().statements;
  pending_.push_back({tables.front(), event.kind, transaction.xid, transaction.commit_lsn});
  return Note(pipeline_.SendCounted(TruncateSql(tables, event.restart_identity, partly)));
}

absl::Status TargetWriter::ApplyOrSkip(const SourceTransaction& transaction, const Segment& segment,
                                       const Event& event) {
  WF_RETURN_IF_ERROR(Note(pipeline_.Send(kSavepoint)));
  const BatchTally before = tallies_.back();
  const absl::Status applied = Apply(transaction, segment, event);
  if (!applied.ok() && SqlstateOf(applied).empty()) return applied;
  std::optional<Pending> change;
  if (!pending_.empty()) change = pending_.front();
  const absl::Status drained = Note(pipeline_.Drain());
  if (drained.ok()) return Note(pipeline_.Send(kRelease));
  if (!pipeline_.row_failed() || !IsAboutData(drained) || !change) return drained;
  tallies_.back() = before;
  counted_table_ = nullptr;
  return SkipFailed(*change, drained);
}

absl::Status TargetWriter::SkipFailed(const Pending& change, const absl::Status& error) {
  skipped_.push_back({NameOf(change), error});
  ++CountersOf(*change.table).conflicts;
  failed_.reset();
  pending_.clear();
  cache_.Clear();  // What was being prepared may exist or not.
  WF_RETURN_IF_ERROR(Note(pipeline_.Send(kRollbackToSavepoint)));
  WF_RETURN_IF_ERROR(Note(pipeline_.Send(kRelease)));
  return Note(pipeline_.Send("DEALLOCATE ALL"));
}

absl::Status TargetWriter::Flush() {
  return Note(pipeline_.Drain());
}

absl::Status TargetWriter::Commit() {
  if (options_.stop_at_missing_row) {
    WF_RETURN_IF_ERROR(Flush());
    if (missing_) {
      return Errorf(absl::StatusCode::kFailedPrecondition,
                    "the row of an %s is not on the target (or the source did not say which row it is), and "
                    "--on-missing-row is stop",
                    Describe(*missing_));
    }
  }
  WF_RETURN_IF_ERROR(SendCommit());
  return Note(pipeline_.Leave());
}

// Statements name their tables, and somebody may have given a name to another table. What this transaction
// has written to is locked until its end, so what the names mean now they meant before.
absl::Status TargetWriter::ExpectTables() {
  for (const auto& [table, oid] : expected_oids_) {
    const std::string number = std::to_string(oid);
    const std::array<Parameter, 3> parameters = {table.schema, table.name, number};
    WF_RETURN_IF_ERROR(Note(pipeline_.Send("SELECT walferry.expect_table($1, $2, $3)", parameters)));
  }
  return absl::OkStatus();
}

absl::Status TargetWriter::SendCommit() {
  WF_RETURN_IF_ERROR(ExpectTables());
  pending_.push_back({});
  return Note(pipeline_.SendCounted("COMMIT"));
}

absl::Status TargetWriter::AwaitCommits(std::size_t unanswered) {
  if (unanswered == 0) return Note(pipeline_.Leave());
  return Note(pipeline_.Await([&] { return tallies_.size() <= unanswered; }));
}

absl::Status TargetWriter::Abandon() {
  cache_.Clear();
  if (connection_.alive() && pipeline_.entered()) {
    // What failed is known already; what counts is whether the connection can be used again. Rows that are
    // under way are still answered.
    const absl::Status left = pipeline_.Leave();
    if (pipeline_.entered()) return left.ok() ? absl::UnavailableError("the connection is lost") : left;
  }
  pending_.clear();
  if (!connection_.alive()) return absl::UnavailableError("the connection to the target is lost");
  WF_RETURN_IF_ERROR(connection_.Execute("ROLLBACK").status());
  return connection_.Execute("DEALLOCATE ALL").status();
}

// Finds out which change an error of the pipeline is about: the oldest one without an answer.
absl::Status TargetWriter::Note(absl::Status status) {
  if (!status.ok() && !failed_ && pipeline_.row_failed() && !pending_.empty() && pending_.front().xid != 0)
    failed_ = NameOf(pending_.front());
  return status;
}

void TargetWriter::TakeRowAnswer(std::int64_t affected) {
  const Pending change = pending_.front();
  pending_.pop_front();
  if (change.table == nullptr) {
    committed_.push_back(std::move(tallies_.front()));
    tallies_.pop_front();
    return;
  }
  if (affected >= change.rows) return;
  if (change.kind != EventKind::kUpdate && change.kind != EventKind::kDelete) return;
  tallies_.front().tables[change.table->name].missing_rows += change.rows - affected;
  NoteMissing(change);
}

void TargetWriter::NoteMissing(const Pending& change) {
  if (!missing_) missing_ = NameOf(change);
}

TableCounters& TargetWriter::CountersOf(const MappedTable& table) {
  if (counted_table_ != &table) {
    counted_table_ = &table;
    counters_ = &tallies_.back().tables[table.name];
    if (table.target_oid != 0) expected_oids_[table.name] = table.target_oid;
  }
  return *counters_;
}

ChangeName TargetWriter::NameOf(const Pending& change) {
  return {change.table->name, change.kind, change.xid, change.commit_lsn};
}

}  // namespace walferry
