#include "stream/assembler.h"

#include <filesystem>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "stream/receive_buffer.h"
#include "tests/stream/event_text.h"
#include "tests/support/pgoutput_writer.h"

namespace walferry {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Oid kTable = 16384;
constexpr Oid kOther = 16385;

// A writer's messages, taken by an assembler one by one, with what came out.
class Stream {
 public:
  explicit Stream(Lsn start = {}, Streaming streaming = Streaming::kOn,
                  std::size_t spool_memory_bytes = 1 << 20)
      : room_{.budget = budget_, .directory = testing::TempDir(), .memory_limit_bytes = spool_memory_bytes},
        assembler_({.proto_version = 4, .streaming = streaming}, start,
                   std::make_shared<DescribedRelations>(), room_,
                   [this](const SessionEvent& event) { observed_.push_back(event.text); }),
        write_(streaming) {}

  PgoutputWriter& write() { return write_; }
  Assembler& assembler() { return assembler_; }
  MemoryBudget& budget() { return budget_; }
  const std::vector<std::string>& observed() const { return observed_; }

  absl::Status TryTake(const std::string& message, Lsn lsn = {}) {
    if (!block_->Append(message)) {
      block_ = pool_.Continue(*block_);
      block_->Append(message);
    }
    WF_RETURN_IF_ERROR(
        assembler_.Take({.data_start = lsn, .wal_end = lsn, .payload = *block_->Next()}, block_));
    while (assembler_.replaying()) WF_RETURN_IF_ERROR(assembler_.ReplayChunk());
    return absl::OkStatus();
  }
  void Take(const std::string& message, Lsn lsn = {}) {
    const absl::Status status = TryTake(message, lsn);
    ASSERT_TRUE(status.ok()) << status;
  }

  void Begin(Xid xid, std::uint64_t commit_lsn) { Take(write_.Begin(Lsn{commit_lsn}, 1, xid)); }
  void Commit(std::uint64_t commit_lsn, std::uint64_t end_lsn) {
    Take(write_.Commit(Lsn{commit_lsn}, Lsn{end_lsn}, 1));
  }
  void Describe(const std::string& name, Oid relation = kTable) {
    Take(write_.Relation(relation, "s", name, ReplicaIdentity::kDefault, {{.name = "id", .is_key = true}}));
  }
  void Insert(const std::string& value, Oid relation = kTable) {
    Take(write_.Insert(relation, {TextColumn(value)}));
  }
  void Start(Xid xid, bool first) {
    write_.set_change_xid(xid);
    Take(write_.StreamStart(xid, first));
  }
  void Stop() { Take(write_.StreamStop()); }

  // What came out since the last call.
  std::vector<std::string> Out() {
    std::vector<std::string> texts;
    AppendEventTexts(assembler_.TakeSegment(), texts);
    return texts;
  }

 private:
  MemoryBudget budget_{64 << 20};
  SpoolRoom room_;
  std::vector<std::string> observed_;
  Assembler assembler_;
  PgoutputWriter write_;
  ReceivePool pool_{budget_};
  std::shared_ptr<ReceiveBlock> block_ = pool_.Take();
};

TEST(Assembler, PlainTransactionPassesThroughAsItComes) {
  Stream stream;
  stream.Begin(7, 0x100);
  stream.Describe("t");
  stream.Insert("1");
  stream.Take(stream.write().Update(kTable, OldTuple::kKey, {TextColumn("1")}, {TextColumn("2")}));
  stream.Take(stream.write().Delete(kTable, OldTuple::kKey, {TextColumn("2")}), Lsn{0xF0});
  EXPECT_FALSE(stream.assembler().between_transactions());
  stream.Commit(0x100, 0x120);
  EXPECT_TRUE(stream.assembler().between_transactions());
  EXPECT_THAT(stream.Out(), ElementsAre("begin 7 at 0/100", "insert s.t (1)", "update s.t (1)->(2)",
                                        "delete s.t (2)", "commit 7 at 0/120"));
  EXPECT_EQ(stream.assembler().counts().transactions, 1);
  EXPECT_EQ(stream.assembler().counts().changes, 3);
}

TEST(Assembler, SegmentMayEndInTheMiddleOfATransaction) {
  Stream stream;
  stream.Begin(7, 0x100);
  stream.Describe("t");
  stream.Insert("1");
  EXPECT_THAT(stream.Out(), ElementsAre("begin 7 at 0/100", "insert s.t (1)"));
  stream.Insert("2");
  stream.Commit(0x100, 0x120);
  EXPECT_THAT(stream.Out(), ElementsAre("insert s.t (2)", "commit 7 at 0/120"));
}

TEST(Assembler, ChangeBindsToTheDescriptionThatHoldsWhenItArrives) {
  Stream stream;
  stream.Begin(7, 0x100);
  stream.Describe("before");
  stream.Insert("1");
  stream.Describe("before");
  EXPECT_THAT(stream.observed(), IsEmpty());
  stream.Describe("after");
  stream.Insert("2");
  stream.Commit(0x100, 0x120);
  EXPECT_THAT(stream.Out(), ElementsAre("begin 7 at 0/100", "insert s.before (1)", "insert s.after (2)",
                                        "commit 7 at 0/120"));
  EXPECT_THAT(stream.observed(), ElementsAre(HasSubstr("s.after")));
}

TEST(Assembler, TransactionsThatCommittedBeforeTheStartAreDropped) {
  Stream stream(Lsn{0x200});
  stream.Begin(7, 0x1F8);
  stream.Describe("t");
  stream.Insert("1");
  stream.Commit(0x1F8, 0x200);
  stream.Begin(8, 0x200);
  stream.Insert("2");
  stream.Commit(0x200, 0x230);
  EXPECT_THAT(stream.Out(), ElementsAre("begin 8 at 0/200", "insert s.t (2)", "commit 8 at 0/230"));
  EXPECT_EQ(stream.assembler().counts().skipped_transactions, 1);
}

TEST(Assembler, TruncateNamesItsRelations) {
  Stream stream;
  stream.Begin(7, 0x100);
  stream.Describe("t", kTable);
  stream.Describe("u", kOther);
  stream.Take(stream.write().Truncate({kTable}, false, true));
  stream.Take(stream.write().Truncate({kOther, kTable}, true, false));
  stream.Commit(0x100, 0x120);
  EXPECT_THAT(stream.Out(), ElementsAre("begin 7 at 0/100", "truncate s.t restart",
                                        "truncate s.u s.t cascade", "commit 7 at 0/120"));
}

TEST(Assembler, InterleavedTransactionsComeOutWholeInTheOrderOfTheirCommits) {
  Stream stream;
  stream.Start(10, true);
  stream.Describe("t");
  stream.Insert("a1");
  stream.Stop();
  stream.Start(11, true);
  stream.Describe("t");
  stream.Insert("b1");
  stream.Stop();
  EXPECT_TRUE(stream.assembler().between_transactions());
  stream.Begin(12, 0x100);
  stream.Describe("t");
  stream.Insert("c1");
  stream.Commit(0x100, 0x110);
  stream.Start(10, false);
  stream.Insert("a2");
  stream.Stop();
  stream.Take(stream.write().StreamCommit(11, Lsn{0x120}, Lsn{0x130}, 1));
  stream.Take(stream.write().StreamCommit(10, Lsn{0x140}, Lsn{0x150}, 1));
  EXPECT_THAT(stream.Out(),
              ElementsAre("begin 12 at 0/100", "insert s.t (c1)", "commit 12 at 0/110",  //
                          "begin 11 at 0/120", "insert s.t (b1)", "commit 11 at 0/130",  //
                          "begin 10 at 0/140", "insert s.t (a1)", "insert s.t (a2)", "commit 10 at 0/150"));
  EXPECT_EQ(stream.assembler().counts().streamed_transactions, 2);
}

TEST(Assembler, RolledBackSubtransactionIsCutWithAllThatCameLater) {
  Stream stream;
  stream.Start(10, true);
  stream.Describe("t");
  stream.Insert("kept");
  stream.write().set_change_xid(11);
  stream.Insert("lost");
  stream.write().set_change_xid(12);
  stream.Insert("lost inside");
  stream.Stop();
  stream.Take(stream.write().StreamAbort(10, 12));
  stream.Take(stream.write().StreamAbort(10, 11));
  stream.Take(stream.write().StreamAbort(10, 99));
  stream.Start(10, false);
  stream.write().set_change_xid(13);
  stream.Insert("later");
  stream.Stop();
  stream.Take(stream.write().StreamCommit(10, Lsn{0x140}, Lsn{0x150}, 1));
  EXPECT_THAT(stream.Out(), ElementsAre("begin 10 at 0/140", "insert s.t (kept)", "insert s.t (later)",
                                        "commit 10 at 0/150"));
}

TEST(Assembler, AbortOfTheWholeTransactionDropsItAndAStrayOneIsNothing) {
  Stream stream(Lsn{}, Streaming::kParallel);
  stream.Start(10, true);
  stream.Describe("t");
  stream.Insert("lost");
  stream.Stop();
  stream.Take(stream.write().StreamAbort(10, 10, Lsn{0x90}, 1));
  stream.Take(stream.write().StreamAbort(10, 10, Lsn{0x90}, 1));
  EXPECT_FALSE(stream.TryTake(stream.write().StreamCommit(10, Lsn{0x140}, Lsn{0x150}, 1)).ok());
  EXPECT_THAT(stream.Out(), IsEmpty());
}

TEST(Assembler, DescriptionInsideATransactionInProgressHoldsForAllOnlyAfterItsCommit) {
  Stream stream;
  stream.Begin(7, 0x100);
  stream.Describe("old");
  stream.Insert("1");
  stream.Commit(0x100, 0x110);
  stream.Start(10, true);
  stream.Describe("new");
  stream.Insert("2");
  stream.Stop();
  stream.Begin(8, 0x120);
  stream.Insert("3");
  stream.Commit(0x120, 0x130);
  stream.Take(stream.write().StreamCommit(10, Lsn{0x140}, Lsn{0x150}, 1));
  stream.Begin(9, 0x160);
  stream.Insert("4");
  stream.Commit(0x160, 0x170);
  EXPECT_THAT(stream.Out(), ElementsAre("begin 7 at 0/100", "insert s.old (1)", "commit 7 at 0/110",    //
                                        "begin 8 at 0/120", "insert s.old (3)", "commit 8 at 0/130",    //
                                        "begin 10 at 0/140", "insert s.new (2)", "commit 10 at 0/150",  //
                                        "begin 9 at 0/160", "insert s.new (4)", "commit 9 at 0/170"));
}

TEST(Assembler, DescriptionThatArrivedOutsideLaterIsNotReplacedByAnOlderOneFromInside) {
  Stream stream;
  stream.Start(10, true);
  stream.Describe("inside");
  stream.Insert("1");
  stream.Stop();
  stream.Begin(8, 0x120);
  stream.Describe("outside");
  stream.Commit(0x120, 0x130);
  stream.Take(stream.write().StreamCommit(10, Lsn{0x140}, Lsn{0x150}, 1));
  stream.Begin(9, 0x160);
  stream.Insert("2");
  stream.Commit(0x160, 0x170);
  EXPECT_THAT(stream.Out(), ElementsAre("begin 8 at 0/120", "commit 8 at 0/130",                           //
                                        "begin 10 at 0/140", "insert s.inside (1)", "commit 10 at 0/150",  //
                                        "begin 9 at 0/160", "insert s.outside (2)", "commit 9 at 0/170"));
}

TEST(Assembler, DescriptionsInsideASkippedTransactionStillHoldAfterwards) {
  Stream stream(Lsn{0x150});
  stream.Start(10, true);
  stream.Describe("t");
  stream.Insert("1");
  stream.Stop();
  stream.Take(stream.write().StreamCommit(10, Lsn{0x140}, Lsn{0x150}, 1));
  stream.Begin(9, 0x160);
  stream.Insert("2");
  stream.Commit(0x160, 0x170);
  EXPECT_THAT(stream.Out(), ElementsAre("begin 9 at 0/160", "insert s.t (2)", "commit 9 at 0/170"));
}

TEST(Assembler, HugeTransactionIsReplayedChunkByChunkFromTheDisk) {
  constexpr int kRows = 4000;
  const std::string filler(1000, 'x');
  Stream stream(Lsn{}, Streaming::kOn, 512 << 10);
  stream.Start(10, true);
  stream.Describe("t");
  for (int i = 0; i < kRows; ++i) stream.Insert(std::to_string(i) + filler);
  stream.Stop();
  EXPECT_LT(stream.budget().used_bytes(), 2 << 20);

  const std::string commit = stream.write().StreamCommit(10, Lsn{0x140}, Lsn{0x150}, 1);
  ASSERT_TRUE(stream.assembler().Take({.data_start = {}, .wal_end = {}, .payload = commit}, nullptr).ok());
  int chunks = 0;
  int rows = 0;
  while (stream.assembler().replaying()) {
    EXPECT_FALSE(stream.assembler().between_transactions());
    const absl::Status status = stream.assembler().ReplayChunk();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_LT(stream.budget().used_bytes(), 2 << 20);
    const Segment segment = stream.assembler().TakeSegment();
    for (const Event& event : segment.events) {
      if (event.kind != EventKind::kInsert) continue;
      ASSERT_EQ((*event.new_tuple.begin()).value, std::to_string(rows++) + filler);
    }
    ++chunks;
  }
  EXPECT_EQ(rows, kRows);
  EXPECT_GT(chunks, 10);
}

TEST(Assembler, SegmentOutlivesEverythingItCameFrom) {
  Segment segment;
  MemoryBudget budget(64 << 20);
  {
    SpoolRoom room{.budget = budget, .directory = testing::TempDir(), .memory_limit_bytes = 1 << 20};
    Assembler assembler({}, Lsn{}, std::make_shared<DescribedRelations>(), room, [](const SessionEvent&) {});
    ReceivePool pool(budget);
    const std::shared_ptr<ReceiveBlock> block = pool.Take();
    const PgoutputWriter write;
    for (const std::string& message :
         {write.Begin(Lsn{1}, 1, 7),
          write.Relation(kTable, "s", "t", ReplicaIdentity::kDefault, {{.name = "id", .is_key = true}}),
          write.Insert(kTable, {TextColumn("kept")}), write.Commit(Lsn{1}, Lsn{2}, 1)}) {
      block->Append(message);
      ASSERT_TRUE(assembler.Take({.data_start = {}, .wal_end = {}, .payload = *block->Next()}, block).ok());
    }
    segment = assembler.TakeSegment();
  }
  EXPECT_EQ(EventText(segment.events[1], segment), "insert s.t (kept)");
  EXPECT_GT(budget.used_bytes(), 0);
  segment = Segment();
  EXPECT_EQ(budget.used_bytes(), 0);
}

TEST(Assembler, LogicalMessagesAreReportedAndMakeNoEvents) {
  Stream stream;
  stream.Take(stream.write().LogicalMessage(false, Lsn{0x50}, "marker", "content"));
  stream.Begin(7, 0x100);
  stream.Take(stream.write().LogicalMessage(true, Lsn{0x90}, "inside", "content"));
  stream.Take(stream.write().Origin(Lsn{0x10}, "elsewhere"));
  stream.Take(stream.write().Type(20000, "s", "mood"));
  stream.Commit(0x100, 0x120);
  EXPECT_THAT(stream.Out(), ElementsAre("begin 7 at 0/100", "commit 7 at 0/120"));
  EXPECT_THAT(stream.observed(),
              ElementsAre(HasSubstr("'marker' of 7 bytes at 0/50"), HasSubstr("'inside'")));
}

TEST(Assembler, PreparedTransactionIsRefusedWithWhatToDo) {
  Stream stream;
  const absl::Status status = stream.TryTake(stream.write().BeginPrepare(Lsn{1}, Lsn{2}, 1, 7, "gid"));
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("two_phase"));
}

// What cannot follow on one another is an error, never a guess.
TEST(Assembler, ImpossibleSequencesAreDataLoss) {
  PgoutputWriter write;
  const std::string begin = write.Begin(Lsn{1}, 1, 7);
  const std::string commit = write.Commit(Lsn{1}, Lsn{2}, 1);
  const std::string relation =
      write.Relation(kTable, "s", "t", ReplicaIdentity::kDefault, {{.name = "id", .is_key = true}});
  const std::string insert = write.Insert(kTable, {TextColumn("1")});
  const std::string first = PgoutputWriter().StreamStart(10, true);
  const std::string next = PgoutputWriter().StreamStart(10, false);
  const std::string stop = PgoutputWriter().StreamStop();
  const std::string stream_commit = write.StreamCommit(10, Lsn{1}, Lsn{2}, 1);
  const std::string abort = write.StreamAbort(10, 10);
  const std::string stray_truncate = write.Truncate({}, false, false);
  const std::vector<std::vector<std::string>> sequences = {
      {begin, begin},
      {commit},
      {relation, insert},
      {begin, insert},
      {begin, write.Commit(Lsn{5}, Lsn{6}, 1)},
      {begin, first},
      {begin, relation, insert, first},
      {begin, stream_commit},
      {begin, abort},
      {first, first},
      {first, begin},
      {first, commit},
      {first, stream_commit},
      {first, abort},
      {first, stop, first},
      {next},
      {stop},
      {stream_commit},
      {first, stop, stream_commit, stream_commit},
      {stray_truncate},
      {"?"},
      {""},
  };
  for (const std::vector<std::string>& sequence : sequences) {
    Stream stream;
    absl::Status status;
    for (const std::string& message : sequence) {
      ASSERT_TRUE(status.ok()) << "an earlier message than the last was refused: " << status;
      status = stream.TryTake(message, Lsn{0x77});
    }
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("0/77"));
  }
}

}  // namespace
}  // namespace walferry
