#include "tests/apply/apply_stream.h"

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "stream/slot.h"

namespace walferry {

namespace {

// All tests of the stream can be run with any number of lanes.
int LanesOfTests() {
  const char* given = std::getenv("WALFERRY_TEST_LANES");
  int lanes = 1;
  if (given != nullptr && !absl::SimpleAtoi(given, &lanes)) ADD_FAILURE() << given << " is not a number";
  return lanes;
}

ApplierOptions WithBinary(ApplierOptions options, bool binary) {
  options.binary = binary;
  return options;
}

}  // namespace

RunningStream::RunningStream(DatabasePair& pair, ApplierOptions options, std::optional<Lsn> until,
                             bool binary, std::size_t memory_bytes)
    : budget_(memory_bytes) {
  absl::StatusOr<std::unique_ptr<Applier>> applier = Applier::Start(
      WithBinary(std::move(options), binary), {}, budget_, stop_, [this](const ApplierEvent& event) {
        const absl::MutexLock lock(&mutex_);
        events_.push_back(event);
      });
  started_ = applier.status();
  if (!started_.ok()) return;
  applier_ = *std::move(applier);
  SessionOptions session;
  session.source = pair.source_conninfo();
  session.slot = "slot_" + pair.name();
  session.publications = {"p"};
  session.wishes = {.proto_version = 4, .binary = applier_->binary()};
  session.spool_dir = ::testing::TempDir();
  session.retry_for = absl::Seconds(60);
  session_ =
      std::make_unique<Session>(std::move(session), budget_, *applier_, stop_, [](const SessionEvent&) {});
  thread_ = std::thread([this, until] {
    absl::Status status = session_->Run([until] { return until; });
    const absl::MutexLock lock(&mutex_);
    result_ = std::move(status);
  });
}

RunningStream::~RunningStream() {
  if (thread_.joinable()) End().IgnoreError();
}

absl::Status RunningStream::End(bool stop) {
  if (!started_.ok()) return started_;
  if (stop) stop_.Request();
  if (thread_.joinable()) thread_.join();
  const absl::Status finished = applier_->Finish(absl::Now() + absl::Seconds(20));
  const absl::MutexLock lock(&mutex_);
  return result_->ok() ? finished : *result_;
}

void RunningStream::Kill() {
  stop_.Request();
  thread_.join();
  applier_.reset();
}

bool RunningStream::ended() const {
  const absl::MutexLock lock(&mutex_);
  return result_.has_value();
}

std::vector<ApplierEvent> RunningStream::events() const {
  const absl::MutexLock lock(&mutex_);
  return events_;
}

int RunningStream::Count(ApplierEvent::Kind kind) const {
  int count = 0;
  for (const ApplierEvent& event : events()) count += event.kind == kind ? 1 : 0;
  return count;
}

std::string RunningStream::TextOf(ApplierEvent::Kind kind) const {
  for (const ApplierEvent& event : events()) {
    if (event.kind == kind) return event.text;
  }
  return {};
}

void ApplyTest::BeginMigration(const std::string& publish) {
  pair_.RunOnSource("CREATE PUBLICATION p " + publish);
  const std::string slot = "slot_" + pair_.name();
  const std::string made =
      Source("SELECT lsn FROM pg_create_logical_replication_slot('" + slot + "', 'pgoutput')");
  ASSERT_TRUE(EnsureStateSchema(pair_.target()).ok());
  MigrationRecord record;
  record.name = kMigration;
  record.slot = slot;
  record.publication = "p";
  record.slot_lsn = Lsn::Parse(made).value();
  ASSERT_TRUE(InsertMigration(pair_.target(), record).ok());
  ASSERT_TRUE(InitializeLanes(pair_.target(), kMigration, 1, record.slot_lsn).ok());
}

ApplierOptions ApplyTest::Options() const {
  ApplierOptions options;
  options.target = pair_.target_conninfo();
  options.application_name = "applier_" + pair_.name();
  options.migration = kMigration;
  options.lanes = LanesOfTests();
  options.fence_interval = absl::Milliseconds(20);
  options.retry_for = absl::Seconds(30);
  return options;
}

absl::Status ApplyTest::CatchUp(ApplierOptions options, bool binary) {
  RunningStream stream(pair_, std::move(options), SourceEnd(), binary);
  const absl::Status status = stream.End(false);
  if (stream.started().ok()) counters_ = stream.applier().counters();
  events_ = stream.events();
  return status;
}

void ApplyTest::ApplyAndCompare(const std::string& sql, bool binary) {
  pair_.RunOnSource(sql);
  const absl::Status status = CatchUp(Options(), binary);
  EXPECT_TRUE(status.ok()) << status << "\nafter: " << sql;
  ExpectEqualContent(pair_);
}

Lsn ApplyTest::SourceEnd() {
  return CurrentWalLsn(pair_.source()).value();
}

Lsn ApplyTest::LanePosition() {
  return LanePositions().at(0);
}

TableCounters CountersOf(const ApplierCounters& counters, const std::string& name) {
  const auto found = counters.tables.find({"public", name});
  return found == counters.tables.end() ? TableCounters{} : found->second;
}

}  // namespace walferry
