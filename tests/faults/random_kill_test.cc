// A migration of every kind of table under every kind of change, killed over and over, with one lane and with
// several.
#include <signal.h>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/faults/catalog_changes.h"
#include "tests/faults/outcome.h"
#include "tests/faults/table_shapes.h"
#include "tests/faults/terminator.h"
#include "tests/faults/workload.h"
#include "tests/support/server_pair.h"
#include "tests/support/walferry_process.h"

namespace walferry {
namespace {

// Of each variant.
constexpr std::int64_t kChangesWanted = 67'000;
constexpr int kKillsWanted = 12;
constexpr absl::Duration kTimeLimit = absl::Minutes(5);  // Of a busy machine; else it takes a tenth of that.

std::uint64_t Seed() {
  const char* given = std::getenv("WALFERRY_TEST_SEED");
  std::uint64_t seed = std::random_device{}();
  if (given != nullptr && !absl::SimpleAtoi(given, &seed)) ADD_FAILURE() << given << " is not a seed";
  std::cout << "WALFERRY_TEST_SEED=" << seed << std::endl;
  return seed;
}

// Runs `walferry migrate` again and again, and ends it.
class Siege {
 public:
  // lanes: kAdaptive: one, and a second one where the target falls behind.
  static constexpr int kAdaptive = 0;
  Siege(DatabasePair& pair, std::uint64_t seed, int lanes)
      : lanes_(lanes),
        random_(seed),
        environment_(EnvironmentOf(pair)),
        watch_(MustConnect(pair.target_conninfo())),
        terminator_(pair.source_conninfo(), pair.target_conninfo(), seed + 1000) {}

  ~Siege() {
    if (!testing::Test::HasFailure()) return;
    const std::string path = absl::StrFormat("/tmp/walferry-random-kill-%d.log", getpid());
    std::ofstream(path) << log_;
    std::cout << "what walferry said is in " << path << std::endl;
  }

  // Starts it, lets it come to the phase (or further), and ends it a random time of at most `delay` later.
  void KillIn(const std::string& phase, absl::Duration delay) {
    for (int attempt = 0; attempt < 10; ++attempt) {
      // On a busy machine connections may be ended faster than walferry gets anywhere.
      std::optional<absl::MutexLock> peace;
      if (attempt >= 4) peace.emplace(&terminator_.mutex());
      WalferryProcess process(Arguments(), environment_);
      const bool reached = WaitUntil([&] { return !process.running() || Reached(phase); }, absl::Minutes(3));
      EXPECT_TRUE(reached) << "phase " << phase << " was not reached\n" << process.err();
      const auto pause = absl::Microseconds(Draw(0, static_cast<int>(absl::ToInt64Microseconds(delay))));
      if (!WaitUntil([&] { return !process.running(); }, pause)) return End(process, peace.has_value());
      NoteOwnEnd(process);
    }
    ADD_FAILURE() << "walferry ends by itself again and again\n" << log_;
  }

  void Stop() { terminator_.Stop(); }
  int kills() const { return kills_; }
  std::string Summary() const {
    std::string text = absl::StrFormat("%d kills (", kills_);
    for (const auto& [phase, count] : kills_in_) text += absl::StrFormat(" %s: %d", phase, count);
    text += absl::StrFormat(" ), %d stops; connections ended: %d source, %d target; ends by itself:", stops_,
                            terminator_.ended_on_source(), terminator_.ended_on_target());
    for (const auto& [code, count] : own_ends_) text += absl::StrFormat(" %d times code %d", count, code);
    return text;
  }
  int kills_in(const std::string& phase) const {
    const auto found = kills_in_.find(phase);
    return found == kills_in_.end() ? 0 : found->second;
  }

 private:
  static std::string LanesText(int lanes) { return lanes == kAdaptive ? "auto" : std::to_string(lanes); }
  int Draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  const char* Choose(std::initializer_list<const char*> choices) {
    return choices.begin()[Draw(0, static_cast<int>(choices.size()) - 1)];
  }

  std::vector<std::string> Arguments() {
    // The copy refuses binary values where a type does not allow it; the stream mixes.
    const char* binary = Reached("catch-up") ? Choose({"auto", "on", "off"}) : Choose({"auto", "off"});
    // It counts where the lanes are level, and so does the kind of values.
    const int lanes = lanes_ > 2 && Draw(0, 3) == 0 ? 3 : lanes_;
    return {"--memory",
            lanes_ == kAdaptive ? "32MB" : Choose({"32MB", "64MB", "512MB"}),
            "migrate",
            "--no-identity",
            "insert-only",
            "--lanes",
            LanesText(lanes),
            "--batch-bytes",
            lanes_ == 1 ? Choose({"64kB", "1MB", "4MB"}) : Choose({"64kB", "64kB", "1MB"}),
            "--streaming",
            Choose({"on", "on", "off"}),
            "--binary",
            binary,
            "--copy-jobs",
            Choose({"1", "3"}),
            "--index-jobs",
            Choose({"1", "3"})};
  }

  std::string Phase() {
    if (QueryText(watch_, "select to_regclass('walferry.migration')") == "NULL") return "begin";
    const std::string phase = QueryText(watch_, "select phase from walferry.migration");
    return phase.empty() ? "begin" : phase;
  }

  bool Reached(const std::string& phase) {
    static const std::vector<std::string> phases = {"begin", "publication", "slot",     "schema",
                                                    "copy",  "indexes",     "catch-up", "follow"};
    const auto place = [](const std::string& name) {
      return std::find(phases.begin(), phases.end(), name) - phases.begin();
    };
    return place(Phase()) >= place(phase);
  }

  void End(WalferryProcess& process, bool peace) {
    if (Draw(0, 4) > 0) {
      process.Kill();
      const std::string phase = Phase();
      ++kills_;
      ++kills_in_[phase];
      log_ += absl::StrFormat("--- killed in phase %s\n%s", phase, process.err());
      return;
    }
    // Before it says something it may not listen to signals yet.
    WaitUntil([&] { return !process.err().empty() || !process.running(); });
    std::optional<absl::MutexLock> no_other_fault;
    if (!peace) no_other_fault.emplace(&terminator_.mutex());
    process.Signal(SIGTERM);
    const int code = process.Wait(absl::Seconds(60));
    ++stops_;
    log_ += absl::StrFormat("--- stopped: %d\n%s", code, process.err());
    if (code != 0) NoteOwnEnd(process);
  }

  // It may end when a connection is ended, and must say then that it can be run again; or at a table that
  // was renamed before it was copied, with the statement for the target.
  void NoteOwnEnd(WalferryProcess& process) {
    const int code = process.Wait();
    ++own_ends_[code];
    constexpr std::string_view kAdvice = ": renamed on the source only: run ";
    const std::size_t advice = process.err().rfind(kAdvice);
    if (code == 1 && !Reached("indexes") && advice != std::string::npos) {
      RunSql(watch_, process.err().substr(advice + kAdvice.size()));
    } else {
      EXPECT_EQ(code, 75) << process.err();
    }
    log_ += absl::StrFormat("--- ended by itself: %d\n%s", code, process.err());
  }

  const int lanes_;
  std::mt19937_64 random_;
  const Environment environment_;
  Connection watch_;
  Terminator terminator_;
  int kills_ = 0;
  int stops_ = 0;
  std::map<std::string, int> kills_in_;
  std::map<int, int> own_ends_;
  std::string log_;
};

// Large enough for a copy and indexes that take a while.
void CreateHistory(DatabasePair& pair, int rows) {
  pair.RunOnSource(
      "create table history as select g as id, md5(g::text) as a, g || repeat('x', 60) as b, g % 1000 as c "
      "from generate_series(1, " +
      std::to_string(rows) +
      ") g; "
      "alter table history add primary key (id); create index on history (a); create index on history (b); "
      "create index on history (c, a)");
}

// A transaction is open, and there may be tables of the target that the source does not have any more.
void ExpectRefusedCutover(DatabasePair& pair) {
  Connection open = MustConnect(pair.source_conninfo());
  RunSql(open, "begin; insert into history values (-1)");
  const WalferryRun refused =
      RunWalferry({"cutover", "--timeout", "1s"}, EnvironmentOf(pair), absl::Minutes(3));
  EXPECT_EQ(refused.exit_code, 1) << refused.err;
  RunSql(open, "rollback");
}

void ExpectCutover(DatabasePair& pair) {
  const WalferryRun cutover = RunWalferry({"cutover"}, EnvironmentOf(pair), absl::Minutes(3));
  EXPECT_EQ(cutover.exit_code, 0) << cutover.err;
  ExpectEqualContent(pair);
}

// Each of the statements runs by itself: else the writers would leave out what nobody knows of.
TEST(TableShapes, TakeTheirStatements) {
  DatabasePair pair;
  CreateShapes(pair.source_conninfo(), 1);
  std::mt19937_64 random(1);
  for (const TableShape& shape : TableShapes()) {
    for (const std::string_view change : shape.changes) pair.RunOnSource(FillTemplate(change, 5, random));
  }
}

class RandomKill : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Lanes, RandomKill, testing::Values(1, Siege::kAdaptive, 2, 5));

TEST_P(RandomKill, LosesNothingAndRepeatsNothing) {
  // What comes before the stream is the same for all.
  const bool from_the_beginning = GetParam() == 1;
  const std::uint64_t seed = Seed();
  const absl::Time deadline = absl::Now() + kTimeLimit;
  DatabasePair pair;
  pair.RunOnSource("alter database " + QuoteIdentifier(pair.name()) +
                   " set logical_decoding_work_mem = '64kB'");
  CreateShapes(pair.source_conninfo(), seed);
  CreateHistory(pair, from_the_beginning ? 700'000 : 20'000);
  CatalogChanges::Create(pair.source_conninfo());

  Workload workload(pair.source_conninfo(), seed, 3);
  CatalogChanges catalog(pair.source_conninfo(), seed);
  Siege siege(pair, seed, GetParam());
  for (int i = 0; from_the_beginning && i < 2; ++i) siege.KillIn("begin", absl::Milliseconds(300));
  for (int i = 0; from_the_beginning && i < 2; ++i) siege.KillIn("schema", absl::Milliseconds(300));
  for (int i = 0; from_the_beginning && i < 6; ++i) siege.KillIn("copy", absl::Milliseconds(250));
  for (int i = 0; from_the_beginning && i < 4; ++i) siege.KillIn("indexes", absl::Milliseconds(500));
  for (int i = 0; i < 5; ++i) siege.KillIn("catch-up", absl::Seconds(2));
  while (!testing::Test::HasFailure() &&
         (workload.changes() < kChangesWanted || siege.kills() < kKillsWanted)) {
    siege.KillIn("catch-up", absl::Seconds(4));
    ASSERT_LT(absl::Now(), deadline) << workload.Summary() << "\n" << siege.Summary();
  }
  workload.Stop();
  catalog.Stop();
  siege.Stop();
  std::cout << workload.Summary() << "\n" << catalog.Summary() << "\n" << siege.Summary() << std::endl;

  ExpectRefusedCutover(pair);
  FollowTheAdvice(pair);
  ExpectCaughtUpAndEqual(pair);
  ExpectCutover(pair);
  EXPECT_GE(siege.kills_in("catch-up") + siege.kills_in("follow"), 3);
  if (!from_the_beginning) return;
  EXPECT_GE(siege.kills_in("copy"), 1);
  EXPECT_GE(siege.kills_in("indexes"), 1);
}

}  // namespace
}  // namespace walferry
