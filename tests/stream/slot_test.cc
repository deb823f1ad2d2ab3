// Slots and the snapshot that their creation exports, on a real server.
#include "stream/slot.h"

#include <atomic>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "stream/snapshot.h"
#include "tests/stream/stream_fixture.h"

namespace walferry {
namespace {

using testing::HasSubstr;
using testing::Optional;

class SlotTest : public DatabaseTest {
 protected:
  // Slots belong to the cluster; the database cannot be dropped before them.
  ~SlotTest() override {
    const Result left = Must(sql_.Execute("SELECT slot_name FROM pg_replication_slots"));
    for (int row = 0; row < left.rows(); ++row) {
      const absl::Status dropped = DropSlot(sql_, std::string(left.Get(row, 0)));
      EXPECT_TRUE(dropped.ok()) << dropped;
    }
  }
  SlotInfo Inspect(const std::string& name) {
    std::optional<SlotInfo> slot = Must(InspectSlot(sql_, name));
    EXPECT_TRUE(slot.has_value()) << name;
    return slot.value_or(SlotInfo{});
  }
  ConnectOptions Options() const {
    ConnectOptions options;
    options.conninfo = conninfo();
    return options;
  }

  Connection sql_ = Connect(conninfo());
};

TEST_F(SlotTest, TheSystemIsTheOneThatItsControlFileNames) {
  Connection replication = Connect(conninfo(), /*replication=*/true);
  const SystemIdentity identity = Must(IdentifySystem(replication));
  EXPECT_EQ(identity.system_id,
            Must(sql_.Execute("SELECT system_identifier FROM pg_control_system()")).Get(0, 0));
  EXPECT_EQ(identity.timeline, 1);
  EXPECT_EQ(identity.database, sql_.database());
  EXPECT_TRUE(identity.wal_position.valid());
}

TEST_F(SlotTest, ASlotIsWhatWasAskedFor) {
  Connection replication = Connect(conninfo(), /*replication=*/true);
  EXPECT_EQ(Must(InspectSlot(sql_, "s")), std::nullopt);
  const CreatedSlot created = Must(CreateSlot(replication, {.name = "s"}));
  EXPECT_EQ(created.snapshot_name, "");
  for (Connection* connection : {&sql_, &replication}) {
    const std::optional<SlotInfo> slot = Must(InspectSlot(*connection, "s"));
    ASSERT_TRUE(slot.has_value());
    EXPECT_EQ(slot->plugin, "pgoutput");
    EXPECT_EQ(slot->database, sql_.database());
    EXPECT_FALSE(slot->active);
    EXPECT_FALSE(slot->two_phase);
    EXPECT_EQ(slot->confirmed_flush_lsn, created.consistent_point);
    EXPECT_LE(slot->restart_lsn, created.consistent_point);
    EXPECT_EQ(slot->wal_status, "reserved");
  }
}

TEST_F(SlotTest, RetainedWalGrowsWithWhatIsWritten) {
  Connection replication = Connect(conninfo(), /*replication=*/true);
  Must(CreateSlot(replication, {.name = "s"}));
  const Lsn before = Must(CurrentWalLsn(sql_));
  const std::int64_t retained = Inspect("s").retained_bytes;
  Must(sql_.Execute("SELECT pg_logical_emit_message(true, 'p', repeat('x', 1000000))"));
  EXPECT_GE(Must(CurrentWalLsn(sql_)).value, before.value + 1'000'000);
  EXPECT_GE(Inspect("s").retained_bytes, retained + 1'000'000);
}

TEST_F(SlotTest, AnExistingSlotIsRefused) {
  Connection replication = Connect(conninfo(), /*replication=*/true);
  Must(CreateSlot(replication, {.name = "s"}));
  const absl::Status again = CreateSlot(replication, {.name = "s"}).status();
  EXPECT_EQ(again.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(SqlstateOf(again), "42710");
  EXPECT_THAT(again.ToString(), HasSubstr("\"s\" already exists"));
}

TEST_F(SlotTest, ARoleWithoutReplicationIsTold) {
  Must(sql_.Execute("CREATE ROLE slot_test_plain LOGIN"));
  ConnectOptions options = Options();
  options.conninfo += " user=slot_test_plain";
  options.replication = true;
  const absl::Status status = Connection::Open(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_EQ(SqlstateOf(status), "42501");
  Must(sql_.Execute("DROP ROLE slot_test_plain"));
}

TEST_F(SlotTest, TheSnapshotHoldsWhatWasCommittedBeforeTheSlotAndNothingElse) {
  Must(sql_.Execute("CREATE TABLE public.t (i int); INSERT INTO public.t VALUES (1)"));
  const ExportedSnapshot snapshot = Must(ExportedSnapshot::FromNewSlot(Options(), {.name = "s"}));
  Must(sql_.Execute("INSERT INTO public.t VALUES (2)"));
  EXPECT_EQ(snapshot.consistent_point(), Inspect("s").confirmed_flush_lsn);

  for (int worker = 0; worker < 2; ++worker) {
    Connection reader = Connect(conninfo());
    const absl::Status begun = BeginInSnapshot(reader, snapshot.name());
    ASSERT_TRUE(begun.ok()) << begun;
    EXPECT_EQ(Must(reader.Execute("SELECT string_agg(i::text, ',') FROM public.t")).Get(0, 0), "1");
    EXPECT_EQ(SqlstateOf(reader.Execute("INSERT INTO public.t VALUES (3)").status()), "25006");
  }
}

TEST_F(SlotTest, TheSnapshotDiesWithItsObjectButNotForThoseWhoImportedIt) {
  Must(sql_.Execute("CREATE TABLE public.t (i int); INSERT INTO public.t VALUES (1)"));
  Connection early = Connect(conninfo());
  std::string name;
  {
    const ExportedSnapshot snapshot =
        Must(ExportedSnapshot::FromNewSlot(Options(), {.name = "s", .temporary = true}));
    name = snapshot.name();
    ASSERT_TRUE(BeginInSnapshot(early, name).ok());
    Must(sql_.Execute("DELETE FROM public.t"));
  }
  EXPECT_EQ(Must(early.Execute("SELECT count(*) FROM public.t")).GetInt(0, 0), 1);

  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (Must(InspectSlot(sql_, "s"))) ASSERT_LT(absl::Now(), deadline) << "the temporary slot stays";
  Connection late = Connect(conninfo());
  EXPECT_FALSE(BeginInSnapshot(late, name).ok());
  EXPECT_EQ(Must(late.Execute("SELECT 1")).GetInt(0, 0), 1) << "no failed transaction is left open";
}

TEST_F(SlotTest, TheExporterOutlivesTheServersLimitForIdleTransactions) {
  Must(sql_.Execute("ALTER DATABASE " + QuoteIdentifier(sql_.database()) +
                    " SET idle_in_transaction_session_timeout = '10ms'"));
  const ExportedSnapshot snapshot = Must(ExportedSnapshot::FromNewSlot(Options(), {.name = "s"}));
  Must(sql_.Execute("SELECT pg_sleep(0.1)"));
  Connection reader = Connect(conninfo());
  const absl::Status begun = BeginInSnapshot(reader, snapshot.name());
  EXPECT_TRUE(begun.ok()) << begun;
}

TEST_F(SlotTest, AStopEndsTheWaitForRunningTransactions) {
  Must(sql_.Execute("CREATE TABLE public.t (i int); BEGIN; INSERT INTO public.t VALUES (1)"));
  StopSignal stop;
  ConnectOptions options = Options();
  options.stop = &stop;
  Connection observer = Connect(conninfo());
  std::thread stopper([&] {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (Must(observer.Execute("SELECT FROM pg_locks WHERE NOT granted")).rows() == 0 &&
           absl::Now() < deadline) {
    }
    stop.Request();
  });
  EXPECT_TRUE(absl::IsCancelled(ExportedSnapshot::FromNewSlot(options, {.name = "s"}).status()));
  stopper.join();
  Must(sql_.Execute("ROLLBACK"));
  EXPECT_EQ(Must(InspectSlot(sql_, "s")), std::nullopt) << "no half-made slot is left";
}

TEST_F(SlotTest, DroppingWhatIsNotThereIsFine) {
  EXPECT_TRUE(DropSlot(sql_, "nope").ok());
}

TEST_F(SlotTest, AnotherDatabasesSlotIsNotDropped) {
  Must(sql_.Execute("CREATE DATABASE neighbour"));
  {
    Connection neighbour = Connect(SharedServer().Conninfo("neighbour"));
    Must(neighbour.Execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')"));
    EXPECT_TRUE(DropSlot(sql_, "s").ok());
    EXPECT_EQ(Inspect("s").database, "neighbour");
    EXPECT_EQ(Must(InspectSlotOfDatabase(sql_, "s", std::string(sql_.database()))), std::nullopt);
    EXPECT_NE(Must(InspectSlotOfDatabase(sql_, "s", "neighbour")), std::nullopt);
    EXPECT_TRUE(DropSlot(neighbour, "s").ok());
    EXPECT_EQ(Must(InspectSlot(sql_, "s")), std::nullopt);
  }
  Must(sql_.Execute("DROP DATABASE neighbour"));
}

TEST_F(SlotTest, AnActiveSlotIsDroppedOnceItIsLetGo) {
  // A temporary slot is active as long as the session that made it.
  std::optional<Connection> holder(Connect(conninfo(), /*replication=*/true));
  Must(CreateSlot(*holder, {.name = "s", .temporary = true}));
  EXPECT_TRUE(Inspect("s").active);
  EXPECT_EQ(Inspect("s").active_pid, holder->backend_pid());
  std::thread dropper([&] {
    Connection connection = Connect(conninfo());
    const absl::Status dropped = DropSlot(connection, "s");
    EXPECT_TRUE(dropped.ok()) << dropped;
  });
  Connection observer = Connect(conninfo());
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (Must(observer.Execute("SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT "
                               "pg_catalog.pg_drop_replication_slot%' AND "
                               "state = 'idle'"))
             .rows() == 0) {
    ASSERT_LT(absl::Now(), deadline);
  }
  holder.reset();
  dropper.join();
  EXPECT_EQ(Must(InspectSlot(sql_, "s")), std::nullopt);
}

TEST_F(SlotTest, AStopEndsTheWaitForAnActiveSlot) {
  Connection holder = Connect(conninfo(), /*replication=*/true);
  Must(CreateSlot(holder, {.name = "s", .temporary = true}));
  StopSignal stop;
  ConnectOptions options = Options();
  options.stop = &stop;
  Connection connection = Must(Connection::Open(options));
  std::thread stopper([&] { stop.Request(); });
  EXPECT_TRUE(absl::IsCancelled(DropSlot(connection, "s")));
  stopper.join();
}

}  // namespace
}  // namespace walferry
