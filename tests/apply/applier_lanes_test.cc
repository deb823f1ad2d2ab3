// Several lanes: what is dealt to which, and what they do together.
#include <random>

#include "gmock/gmock.h"
#include "tests/apply/apply_stream.h"

namespace walferry {
namespace {

using ::testing::HasSubstr;

class ApplierLanes : public ApplyTest, public ::testing::WithParamInterface<int> {
 protected:
  ApplierOptions Several() const {
    ApplierOptions options = Options();
    options.lanes = GetParam();
    return options;
  }

  // What happens on the source goes through all lanes, and both sides are equal then.
  void Apply(const std::string& sql, bool binary = false) {
    pair_.RunOnSource(sql);
    const absl::Status status = CatchUp(Several(), binary);
    EXPECT_TRUE(status.ok()) << status;
    ExpectEqualContent(pair_);
    for (const auto& [table, counters] : counters_.tables) {
      EXPECT_EQ(counters.missing_rows, 0) << table.ToString();
    }
    EXPECT_EQ(counters_.replays, 0U);
  }

  // Each line a transaction of its own.
  void RunEach(const std::string& lines) {
    std::size_t begin = 0;
    while (begin < lines.size()) {
      const std::size_t end = std::min(lines.find('\n', begin), lines.size());
      pair_.RunOnSource(lines.substr(begin, end - begin));
      begin = end + 1;
    }
  }

  // One that all lanes take part in, after those that make the tables known.
  int LanesWithChanges() const {
    int count = 0;
    for (const LaneCounters& lane : counters_.lanes) count += lane.changes > 0 ? 1 : 0;
    return count;
  }
};

INSTANTIATE_TEST_SUITE_P(Lanes, ApplierLanes, ::testing::Values(2, 5));

TEST_P(ApplierLanes, RowsAreDealtByTheirKey) {
  pair_.RunOnBoth(
      "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE u (a text, b int, PRIMARY KEY (b, a))");
  BeginMigration();
  RunEach("INSERT INTO t VALUES (0, 0)\nINSERT INTO u VALUES ('', 0)");
  pair_.RunOnSource("INSERT INTO t SELECT i, i FROM generate_series(1, 500) i");
  pair_.RunOnSource("INSERT INTO u SELECT 'u' || i, i FROM generate_series(1, 500) i");
  RunEach("UPDATE t SET n = n + 1\nUPDATE u SET a = a WHERE b < 100\nDELETE FROM t WHERE id % 7 = 0");
  Apply("DELETE FROM u WHERE b % 3 = 1");
  EXPECT_EQ(LanesWithChanges(), GetParam());
  std::uint64_t changes = 0;
  for (const LaneCounters& lane : counters_.lanes) {
    changes += lane.changes;
    EXPECT_GT(lane.changes, 100U);
  }
  EXPECT_EQ(changes, counters_.changes);
  EXPECT_EQ(CountersOf(counters_, "t"), (TableCounters{.inserts = 501, .updates = 501, .deletes = 72}));
  EXPECT_EQ(counters_.transactions, 8U);
  EXPECT_EQ(Target("SELECT key, wire FROM walferry.dealing ORDER BY table_name"), "{id}|text\n{a,b}|text");
}

TEST_P(ApplierLanes, BinaryKeysAreDealtToo) {
  pair_.RunOnBoth("CREATE TABLE t (id bigint PRIMARY KEY, n int)");
  BeginMigration();
  RunEach("INSERT INTO t VALUES (0, 0)\nINSERT INTO t SELECT i FROM generate_series(1, 500) i");
  Apply("UPDATE t SET n = 1", true);
  EXPECT_EQ(LanesWithChanges(), GetParam());
  EXPECT_EQ(Target("SELECT key, wire FROM walferry.dealing"), "{id}|binary");
}

TEST_P(ApplierLanes, KeysThatMoveToOtherLanesKeepTheirOrder) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0, a text)");
  BeginMigration();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(absl::StrFormat("seed %d", seed));
  std::mt19937 random(seed);
  RunEach("INSERT INTO t SELECT i FROM generate_series(1, 40) i");
  for (int i = 0; i < 200; ++i) {
    const auto from = 1 + random() % 60;
    const auto to = 1 + random() % 60;
    pair_.RunOnSource(absl::StrFormat(
        "UPDATE t SET n = n + 1 WHERE id %% 5 = %d; "
        "UPDATE t SET id = %d, n = n + 1 WHERE id = %d AND NOT EXISTS (SELECT FROM t WHERE id = %d)",
        random() % 5, to, from, to));
  }
  Apply("UPDATE t SET id = id + 1000; UPDATE t SET id = 2000 - id");
}

TEST_P(ApplierLanes, TablesWhoseRowsAreNotToldApartGoToOneLane) {
  pair_.RunOnBoth(
      "CREATE TABLE nothing (a int, b int); ALTER TABLE nothing REPLICA IDENTITY FULL; "
      "CREATE TABLE spelled (k numeric PRIMARY KEY, n int); "
      "CREATE TABLE char_key (k char(8) PRIMARY KEY, n int)");
  BeginMigration();
  RunEach(
      "INSERT INTO nothing VALUES (0, 0)\nINSERT INTO spelled VALUES (0, 0)\nINSERT INTO char_key VALUES "
      "('', 0)");
  RunEach(
      "INSERT INTO nothing SELECT i % 10, i % 3 FROM generate_series(1, 100) i\n"
      "INSERT INTO spelled SELECT i, i FROM generate_series(1, 100) i\n"
      "INSERT INTO char_key SELECT i, i FROM generate_series(1, 100) i");
  RunEach(
      "UPDATE nothing SET b = b + 1 WHERE a = 3\nUPDATE spelled SET k = k * 1.00\nDELETE FROM nothing WHERE "
      "a = 4");
  Apply("UPDATE spelled SET n = n + 1; UPDATE char_key SET k = ' ' || k");
  EXPECT_EQ(Target("SELECT DISTINCT key FROM walferry.dealing"), "{}");
}

TEST_P(ApplierLanes, FullRowsWithAPrimaryKeyAreDealt) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, n int, a text); ALTER TABLE t REPLICA IDENTITY FULL");
  BeginMigration();
  RunEach(
      "INSERT INTO t VALUES (0)\nINSERT INTO t SELECT i, i, 'a' FROM generate_series(1, 300) i\n"
      "UPDATE t SET n = n + 1\nUPDATE t SET id = id + 1000 WHERE id < 10");
  Apply("DELETE FROM t WHERE id % 3 = 1");
  EXPECT_EQ(LanesWithChanges(), GetParam());
}

TEST_P(ApplierLanes, ValuesThatMoveBetweenRowsUnderASecondUniqueIndex) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, v int UNIQUE)");
  BeginMigration();
  RunEach("INSERT INTO t SELECT i, i FROM generate_series(1, 50) i");
  for (int i = 0; i < 60; ++i) {
    const int from = 1 + i % 50;
    const int to = 1 + (i * 7 + 3) % 50;
    pair_.RunOnSource(absl::StrFormat("UPDATE t SET v = NULL WHERE id = %d", from));
    pair_.RunOnSource(absl::StrFormat(
        "UPDATE t SET v = %d WHERE id = %d AND NOT EXISTS (SELECT FROM t WHERE v = %d)", from, to, from));
  }
  Apply("UPDATE t SET v = id + 1000");
  EXPECT_EQ(Target("SELECT key FROM walferry.dealing"), "{}");
}

// Two rows of the source's identity, one after the other, are one row of the target's key: in two lanes the
// later one would be inserted before the earlier one is gone.
TEST_P(ApplierLanes, IdentityWiderThanTheTargetsKeyIsDealtByTheKey) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, tenant int NOT NULL, n int)");
  pair_.RunOnSource(
      "CREATE UNIQUE INDEX t_wide ON t (id, tenant); ALTER TABLE t REPLICA IDENTITY USING INDEX t_wide");
  BeginMigration();
  RunEach("INSERT INTO t SELECT i, 0, 0 FROM generate_series(1, 20) i");
  pair_.RunOnSource(
      "DO $$ BEGIN FOR i IN 1..300 LOOP DELETE FROM t WHERE id = 1 + i % 3; COMMIT; "
      "INSERT INTO t VALUES (1 + i % 3, i, i); COMMIT; UPDATE t SET tenant = -i WHERE id = 4 + i % 9; "
      "COMMIT; "
      "END LOOP; END $$");
  ApplierOptions options = Several();
  options.batch_bytes = 4 << 10;
  const absl::Status status = CatchUp(options);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(counters_.replays, 0U);
  ExpectEqualContent(pair_);
  EXPECT_EQ(LanesWithChanges(), GetParam());
  EXPECT_EQ(Target("SELECT key FROM walferry.dealing"), "{id}");
}

// A value moves from a row that one lane has to a row of another, under a unique index that the target has
// got meanwhile. The first lane is kept from its row for a while.
TEST_P(ApplierLanes, UniqueIndexMadeWhileLanesApply) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, v int, n int DEFAULT 0)");
  BeginMigration();
  RunEach("INSERT INTO t SELECT i, i FROM generate_series(1, 30) i\nUPDATE t SET n = 0");
  RunningStream stream(pair_, Several(), std::nullopt);
  const auto equal = [&] { return TableContents(pair_.source()) == TableContents(pair_.target()); };
  std::uint64_t changes = 60;
  const auto all_counted = [&] {
    std::uint64_t counted = 0;
    for (const LaneCounters& lane : stream.applier().counters().lanes) counted += lane.changes;
    return counted == changes;
  };
  const auto lane_of = [&](int id) {
    EXPECT_TRUE(WaitUntil(all_counted));
    const std::vector<LaneCounters> before = stream.applier().counters().lanes;
    pair_.RunOnSource(absl::StrFormat("UPDATE t SET n = n + 1 WHERE id = %d", id));
    ++changes;
    EXPECT_TRUE(WaitUntil(all_counted));
    const std::vector<LaneCounters> now = stream.applier().counters().lanes;
    std::size_t lane = 0;
    while (lane + 1 < now.size() && now[lane].changes == before[lane].changes) ++lane;
    return lane;
  };
  ASSERT_TRUE(WaitUntil(equal));
  const std::size_t first = lane_of(1);
  int other = 2;
  while (other < 30 && lane_of(other) == first) ++other;
  ASSERT_TRUE(WaitUntil(equal));
  pair_.RunOnTarget("CREATE UNIQUE INDEX t_v ON t (v)");
  pair_.RunOnTarget("BEGIN; SELECT FROM t WHERE id = 1 FOR UPDATE");
  RunEach(absl::StrFormat("UPDATE t SET v = NULL WHERE id = 1\nUPDATE t SET v = 1 WHERE id = %d", other));
  ASSERT_TRUE(WaitUntil([&] { return stream.Count(ApplierEvent::Kind::kReplay) > 0; }));
  pair_.RunOnTarget("COMMIT");
  EXPECT_TRUE(WaitUntil([&] { return stream.ended() || equal(); }));
  // From what comes after that on, one lane has the table.
  EXPECT_TRUE(WaitUntil([&] {
    pair_.RunOnSource("UPDATE t SET n = n + 1 WHERE id = 1");
    return stream.ended() || Target("SELECT key FROM walferry.dealing") == "{}";
  }));
  for (int i = 0; i < 20; ++i) {
    RunEach(absl::StrFormat("UPDATE t SET v = NULL WHERE id = %d\nUPDATE t SET v = 1 WHERE id = %d",
                            i % 2 == 0 ? other : 1, i % 2 == 0 ? 1 : other));
  }
  EXPECT_TRUE(WaitUntil([&] { return stream.ended() || equal(); }));
  EXPECT_FALSE(stream.ended());
  EXPECT_TRUE(stream.End().ok());
}

TEST_P(ApplierLanes, TruncateComesInItsPlace) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY, t int)");
  BeginMigration();
  for (int i = 0; i < 20; ++i) {
    RunEach(absl::StrFormat("INSERT INTO t SELECT i FROM generate_series(%d, %d) i", i, i + 30));
    RunEach(i % 2 == 0 ? "TRUNCATE t"
                       : "BEGIN; INSERT INTO u VALUES (1); TRUNCATE t, u; INSERT INTO t VALUES (77); COMMIT");
    RunEach("DELETE FROM t WHERE id = 77\nINSERT INTO u SELECT i FROM generate_series(2, 10) i\nTRUNCATE u");
  }
  Apply("INSERT INTO t SELECT i FROM generate_series(50, 90) i");
}

TEST_P(ApplierLanes, TableThatChangesItsShapeInTheMiddle) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, n int)");
  BeginMigration();
  RunEach("INSERT INTO t SELECT i FROM generate_series(1, 100) i\nUPDATE t SET n = 1\nUPDATE t SET n = 2");
  RunningStream stream(pair_, Several(), std::nullopt);
  const auto equal = [&] { return TableContents(pair_.source()) == TableContents(pair_.target()); };
  ASSERT_TRUE(WaitUntil(equal));
  pair_.RunOnTarget("ALTER TABLE t ADD COLUMN late text");
  pair_.RunOnSource("ALTER TABLE t ADD COLUMN late text");
  RunEach("UPDATE t SET late = 'x'\nUPDATE t SET n = n + 1\nDELETE FROM t WHERE id % 5 = 0");
  ASSERT_TRUE(WaitUntil(equal));
  // Another key: rows are dealt anew.
  pair_.RunOnBoth("ALTER TABLE t ADD COLUMN k int GENERATED ALWAYS AS IDENTITY");
  pair_.RunOnBoth("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (k)");
  RunEach("UPDATE t SET n = n + 1\nUPDATE t SET id = id + 1 WHERE id < 50\nDELETE FROM t WHERE id = 7");
  ASSERT_TRUE(WaitUntil([&] {
    return Target("SELECT key FROM walferry.dealing") == "{k}" &&
           Source("SELECT count(*), sum(n) FROM t") == Target("SELECT count(*), sum(n) FROM t");
  }));
  EXPECT_TRUE(stream.End().ok());
}

TEST_P(ApplierLanes, LargeTransactionInParts) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0, a text); CREATE TABLE log (n int)");
  BeginMigration();
  RunEach("INSERT INTO t VALUES (0)\nINSERT INTO log VALUES (0)");
  RunEach("INSERT INTO t SELECT i, 0, repeat(md5(i::text), 10) FROM generate_series(1, 40000) i");
  RunEach("INSERT INTO log VALUES (1)\nUPDATE t SET n = n + 1");
  ApplierOptions options = Several();
  options.batch_bytes = 64 << 10;
  RunningStream stream(pair_, options, SourceEnd(), false, 6 << 20);
  const absl::Status status = stream.End(false);
  EXPECT_TRUE(status.ok()) << status;
  ExpectEqualContent(pair_);
  EXPECT_EQ(stream.session().reconnects, 0U);
  for (const LaneCounters& lane : stream.applier().counters().lanes) EXPECT_GT(lane.changes, 10000U);
}

TEST_P(ApplierLanes, LargeTransactionThatTurnsOutNotToBeTakenApart) {
  pair_.RunOnBoth(
      "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0, a text); CREATE TABLE u (id int PRIMARY KEY)");
  BeginMigration();
  RunEach("INSERT INTO t VALUES (0)\nINSERT INTO u VALUES (0)");
  RunEach(
      "BEGIN; INSERT INTO t SELECT i, 0, repeat(md5(i::text), 10) FROM generate_series(1, 30000) i; "
      "TRUNCATE u; INSERT INTO u SELECT i FROM generate_series(1, 30000) i; UPDATE t SET id = id + 100000 "
      "WHERE id < 10; COMMIT");
  RunEach("UPDATE t SET n = n + 1 WHERE id % 100 = 0\nINSERT INTO u VALUES (-1)");
  ApplierOptions options = Several();
  options.batch_bytes = 64 << 10;
  RunningStream stream(pair_, options, SourceEnd(), false, 6 << 20);
  const absl::Status status = stream.End(false);
  EXPECT_TRUE(status.ok()) << status;
  ExpectEqualContent(pair_);
  EXPECT_GT(stream.session().reconnects, 0U);
  EXPECT_EQ(CountersOf(stream.applier().counters(), "u"), (TableCounters{.inserts = 30002, .truncates = 1}));
}

TEST_P(ApplierLanes, LargeTransactionThatIsKnownFromItsBeginNotToBeTakenApart) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text)");
  BeginMigration();
  RunEach(
      "INSERT INTO t SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 40000) i\nDELETE FROM t "
      "WHERE id % 2 = 0");
  ApplierOptions options = Several();
  options.batch_bytes = 64 << 10;
  RunningStream stream(pair_, options, SourceEnd(), false, 6 << 20);
  const absl::Status status = stream.End(false);
  EXPECT_TRUE(status.ok()) << status;
  ExpectEqualContent(pair_);
  EXPECT_EQ(stream.session().reconnects, 0U);
}

TEST_P(ApplierLanes, TablesOutOfScopeAreLeftOutByAllAndSaidOnce) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY)");
  pair_.RunOnSource("CREATE TABLE other (id int PRIMARY KEY)");
  BeginMigration();
  RunEach("INSERT INTO other SELECT i FROM generate_series(1, 100) i\nTRUNCATE other");
  RunEach("INSERT INTO other SELECT i FROM generate_series(1, 100) i\nUPDATE other SET id = id + 1000");
  pair_.RunOnSource("INSERT INTO t SELECT i FROM generate_series(1, 100) i");
  ApplierOptions options = Several();
  options.only_listed = true;
  options.copied_at[{"public", "t"}] = Lsn{1};
  ASSERT_TRUE(CatchUp(options).ok());
  EXPECT_EQ(Target("SELECT count(*) FROM t"), "100");
  int said = 0;
  for (const ApplierEvent& event : events_) said += event.kind == ApplierEvent::Kind::kSkippedTable ? 1 : 0;
  EXPECT_EQ(said, 1);
}

TEST_P(ApplierLanes, ConflictOfOneLaneStopsAll) {
  pair_.RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a text)");
  BeginMigration();
  pair_.RunOnTarget("INSERT INTO t VALUES (7, 'mine')");
  RunEach("INSERT INTO t VALUES (0, '')\nINSERT INTO t SELECT i, 'x' FROM generate_series(1, 50) i");
  const absl::Status status = CatchUp(Several());
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("t_pkey"));
  pair_.RunOnTarget("DELETE FROM t WHERE id = 7");
  Apply("UPDATE t SET a = a || 'y'");
}

}  // namespace
}  // namespace walferry
