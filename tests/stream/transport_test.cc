// Both transports over every kind of connection.
#include <poll.h>

#include <random>

#include "gmock/gmock.h"
#include "tests/stream/session_fixture.h"

namespace walferry {
namespace {

using testing::HasSubstr;

ThrowawayServer& TlsServer() {
  static const std::unique_ptr<ThrowawayServer> server =
      Must(ThrowawayServer::Start({.name = "transport", .tls = true}));
  return *server;
}

enum class Way { kTcp, kUnixSocket, kTls };

std::string ConninfoOf(Way way, const std::string& database) {
  const std::string conninfo = TlsServer().Conninfo(database);
  switch (way) {
    case Way::kTcp:
      return conninfo + " sslmode=disable";
    case Way::kUnixSocket:
      return conninfo + " host=" + TlsServer().directory();
    case Way::kTls:
      return conninfo + " sslmode=verify-full host=localhost sslrootcert=" + TlsServer().ca_file();
  }
  return {};
}

class TransportTest : public testing::TestWithParam<std::tuple<TransportKind, Way>> {
 protected:
  TransportTest()
      : database_("test_" + std::to_string(++count_)), source_(MakeDatabase(), "slot_" + database_) {}
  ~TransportTest() override {
    transport_.reset();
    EXPECT_TRUE(Eventually([&] { return !source_.Slot().active; }));
    Connection admin = Connect(TlsServer().Conninfo("postgres"));
    const absl::Status dropped = DropSlot(admin, source_.slot());
    EXPECT_TRUE(dropped.ok()) << dropped;
    Must(admin.Execute("DROP DATABASE " + database_ + " WITH (FORCE)"));
  }

  const Source& source() const { return source_; }
  SessionOptions Options(const std::string& settings = {}) const {
    SessionOptions options = source_.Options(settings);
    options.transport = std::get<TransportKind>(GetParam());
    return options;
  }

  absl::Status Start(const std::string& publication, const std::string& slot) {
    WF_ASSIGN_OR_RETURN(
        transport_,
        StartTransport(std::get<TransportKind>(GetParam()), Connect(source_.conninfo(), true),
                       "START_REPLICATION SLOT " + slot +
                           " LOGICAL 0/0 (proto_version '1', publication_names '" + publication + "')"));
    return absl::OkStatus();
  }
  absl::Status Start() { return Start("p", source_.slot()); }

  // Receives until `seen` of a payload is true, or the stream ends, or fails.
  absl::Status ReceiveUntil(const std::function<bool(std::string_view)>& seen) {
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    while (absl::Now() < deadline) {
      WF_ASSIGN_OR_RETURN(const Received received, transport_->Receive(*block_));
      while (const std::optional<std::string_view> copy_data = block_->Next()) {
        if (seen(*copy_data)) return absl::OkStatus();
      }
      if (received == Received::kEnded) return absl::CancelledError("ended");
      if (block_->full()) block_ = pool_.Continue(*block_);
      if (received == Received::kFull) continue;
      pollfd socket{.fd = transport_->fd(), .events = POLLIN, .revents = 0};
      poll(&socket, 1, 100);
    }
    return absl::DeadlineExceededError("nothing came");
  }
  absl::Status ReceiveToTheEnd() {
    return ReceiveUntil([](std::string_view) { return false; });
  }

  Transport& transport() { return *transport_; }
  const ReceiveBlock& block() const { return *block_; }

 private:
  std::string MakeDatabase() {
    Connection admin = Connect(TlsServer().Conninfo("postgres"));
    Must(admin.Execute("CREATE DATABASE " + database_));
    return ConninfoOf(std::get<Way>(GetParam()), database_);
  }

  static inline int count_ = 0;
  const std::string database_;
  const Source source_;
  MemoryBudget budget_{1 << 20};  // Makes the smallest blocks.
  ReceivePool pool_{budget_};
  std::shared_ptr<ReceiveBlock> block_ = pool_.Take();
  std::unique_ptr<Transport> transport_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, TransportTest,
                         testing::Combine(testing::Values(TransportKind::kAuto, TransportKind::kLibpq),
                                          testing::Values(Way::kTcp, Way::kUnixSocket, Way::kTls)),
                         [](const testing::TestParamInfo<std::tuple<TransportKind, Way>>& test) {
                           const std::string kind =
                               std::get<0>(test.param) == TransportKind::kAuto ? "Auto" : "Libpq";
                           switch (std::get<1>(test.param)) {
                             case Way::kTcp:
                               return kind + "Tcp";
                             case Way::kUnixSocket:
                               return kind + "UnixSocket";
                             case Way::kTls:
                               break;
                           }
                           return kind + "Tls";
                         });

// Frames are cut by the ends of blocks of 16 kB, and some are larger than a block, or than many.
TEST_P(TransportTest, RowsOfAllSizesArriveWhole) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Connection writer = source().Open();
  for (int i = 1; i <= 40; ++i) {
    const int last_bytes = 1 << random() % 22;
    const std::string row = "repeat(chr(97 + i % 26), (" + std::to_string(random() % 2000) + " * i) % 1700)";
    Must(writer.Execute("INSERT INTO public.t SELECT " + std::to_string(i * 100) + " + i, " + row +
                        " FROM generate_series(1, 50) i; INSERT INTO public.t VALUES (" +
                        std::to_string(i * 100) + ", repeat('Z', " + std::to_string(last_bytes) + "))"));
  }
  Must(writer.Execute("ALTER TABLE public.t REPLICA IDENTITY FULL; DELETE FROM public.t"));
  MemoryBudget small(2 << 20);
  RecordingSink sink;
  RunningSession session(Options(), small, sink, source().WalEnd());
  const absl::Status status = session.Result();
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<std::string> changes = sink.changes();
  ASSERT_EQ(changes.size(), 40 * 51 * 2);
  // Every row is deleted with the values with which it was inserted.
  std::vector<std::string> inserted;
  std::vector<std::string> deleted;
  for (const std::string& change : changes) {
    (change.starts_with("insert") ? inserted : deleted).push_back(change.substr(6));
  }
  EXPECT_EQ(std::count_if(inserted.begin(), inserted.end(),
                          [](const std::string& text) { return text.find(",Z") != std::string::npos; }),
            40);
  std::sort(inserted.begin(), inserted.end());
  std::sort(deleted.begin(), deleted.end());
  EXPECT_TRUE(inserted == deleted);
  EXPECT_EQ(session.counters().reconnects, 0);
}

TEST_P(TransportTest, ErrorOfTheCommandIsTheServersOwn) {
  const absl::Status status = Start("p", "nowhere");
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(SqlstateOf(status), "42704");
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("\"nowhere\" does not exist"));
}

TEST_P(TransportTest, ErrorInsideTheStreamIsTheServersOwn) {
  source().Execute("INSERT INTO public.t VALUES (1, 'n')");
  ASSERT_TRUE(Start("nowhere", source().slot()).ok());
  const absl::Status status = ReceiveToTheEnd();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(SqlstateOf(status), "42704");
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("publication \"nowhere\" does not exist"));
}

TEST_P(TransportTest, ConnectionThatTheServerEndsIsWorthAnotherTry) {
  ASSERT_TRUE(Start().ok());
  source().Execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '" +
                   source().slot() + "'");
  const absl::Status status = ReceiveToTheEnd();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_TRUE(IsRetryable(status)) << status;
}

TEST_P(TransportTest, StatusUpdatesMoveTheSlot) {
  source().Execute("INSERT INTO public.t VALUES (1, 'n')");
  const Lsn end = source().WalEnd();
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(ReceiveUntil([](std::string_view data) { return data[0] == 'w' && data[25] == 'C'; }).ok());
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(transport().SendStatus({.write = end, .flush = end, .apply = end}).ok());
  }
  EXPECT_FALSE(transport().wants_to_write());
  EXPECT_TRUE(Eventually([&] { return source().Slot().confirmed_flush_lsn >= end; }));
}

// The end is asked for in the middle of a message: the rest of it is skipped, not taken for the answer.
TEST_P(TransportTest, EndInTheMiddleOfALargeMessageFreesTheSlot) {
  source().Execute(
      "INSERT INTO public.t SELECT i, repeat('C', 100000) || repeat('Z', 2000000) FROM generate_series(1, "
      "10) i");
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(ReceiveUntil([](std::string_view data) { return data[0] == 'w' && data[25] == 'I'; }).ok());
  const absl::Status status = transport().End(block(), absl::Now() + absl::Seconds(30));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_FALSE(source().Slot().active);
}

TEST_P(TransportTest, EndThatTheServerDoesNotConfirmInTimeIsGivenUp) {
  // It ends a transaction that it has begun, and that is more than the buffers between us hold.
  source().Execute("INSERT INTO public.t SELECT i, repeat('C', 2000000) FROM generate_series(1, 30) i");
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(ReceiveUntil([](std::string_view data) { return data[0] == 'w' && data[25] == 'B'; }).ok());
  const absl::Status status = transport().End(block(), absl::InfinitePast());
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

// In a transaction there is more to come for libpq: the connection stays its own.
TEST(SocketTransport, LeavesAConnectionToLibpqThatIsNotAtRest) {
  Connection connection = Connect(ConninfoOf(Way::kTcp, "postgres"), true);
  Must(connection.Execute("BEGIN"));
  EXPECT_EQ(Must(StartSocketTransport(connection, "START_REPLICATION")), nullptr);
  EXPECT_TRUE(connection.Execute("ROLLBACK").ok());
}

}  // namespace
}  // namespace walferry
