// What the target side costs before anything is sent: changes to net effects, rows to array parameters,
// events to transactions. Bytes are those of the tuples; `allocations` is per change.
#include <benchmark/benchmark.h>

#include "apply/array_encoder.h"
#include "apply/batch.h"
#include "apply/net_changes.h"
#include "tests/apply/hand_made_stream.h"
#include "tests/decoder/allocation_count.h"

namespace walferry {
namespace {

constexpr int kChanges = 8192;

struct Shape {
  Relation relation;
  MappedTable table;
};

// Ten columns: a bigint key, and values as a customer table has them.
std::unique_ptr<Shape> WideTable() {
  auto shape = std::make_unique<Shape>();
  shape->relation = {.id = 1, .schema = "s", .name = "wide", .columns = {{"id", 20, -1, true}}};
  const std::vector<std::pair<std::string, Oid>> columns = {
      {"a", 23},         {"b", 23},         {"c", 1700},       {"name", 25}, {"descr", 25},
      {"payload", 3802}, {"created", 1184}, {"updated", 1184}, {"flag", 16}};
  for (const auto& [name, type] : columns) shape->relation.columns.push_back({name, type, -1, false});
  shape->table = HandMadeTable(shape->relation);
  return shape;
}

WrittenRow WideRow(int key, int version) {
  return {TextColumn(std::to_string(key)),
          TextColumn(std::to_string(version)),
          TextColumn("17"),
          TextColumn("1234.50"),
          TextColumn("customer name 17"),
          TextColumn("a description of moderate length, number 17 " + std::string(64, 'd')),
          TextColumn(R"({"k": 17, "n": 59.5, "tag": "70efdf2ec9b086079795c442636b55fb", "status": "open"})"),
          TextColumn("2024-02-29 23:59:59.999999+00"),
          TextColumn("2024-02-29 23:59:59.999999+00"),
          TextColumn("t")};
}

// `keys`: how many different rows the changes are about.
class Changes {
 public:
  Changes(const Shape& shape, EventKind kind, int keys) {
    for (int i = 0; i < kChanges; ++i) {
      const int key = 1'000'000 + static_cast<int>((static_cast<std::int64_t>(i) * 7919) % keys);
      tuples_.push_back(std::make_unique<HandMadeTuple>(WideRow(key, i)));
      Event event;
      event.kind = kind;
      event.relation = &shape.relation;
      event.new_tuple = tuples_.back()->view();
      bytes_ += event.new_tuple.bytes().size();
      events_.push_back(event);
    }
  }
  const std::vector<Event>& events() const { return events_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::vector<std::unique_ptr<HandMadeTuple>> tuples_;
  std::vector<Event> events_;
  std::size_t bytes_ = 0;
};

void Report(benchmark::State& state, std::size_t bytes, std::size_t allocations) {
  const auto iterations = static_cast<double>(state.iterations());
  state.SetBytesProcessed(static_cast<std::int64_t>(iterations * static_cast<double>(bytes)));
  state.SetItemsProcessed(state.iterations() * kChanges);
  state.counters["allocations"] = static_cast<double>(allocations) / iterations / kChanges;
}

void TakeChanges(benchmark::State& state, EventKind kind, int rows) {
  const std::unique_ptr<Shape> shape = WideTable();
  const Changes changes(*shape, kind, rows);
  NetChanges net(shape->table);
  bool taken = true;
  const std::size_t before = AllocationCount();
  for (auto _ : state) {
    for (const Event& event : changes.events()) taken = net.Take(event) && taken;
    benchmark::DoNotOptimize(net.rows().data());
    net.Clear();
  }
  if (!taken) state.SkipWithError("a change was not taken");
  Report(state, changes.bytes(), AllocationCount() - before);
}

// Argument: different rows.
void BM_NetUpdates(benchmark::State& state) {
  TakeChanges(state, EventKind::kUpdate, static_cast<int>(state.range(0)));
}
BENCHMARK(BM_NetUpdates)->Arg(20)->Arg(1000)->Arg(kChanges);

void BM_NetInserts(benchmark::State& state) {
  TakeChanges(state, EventKind::kInsert, kChanges);
}
BENCHMARK(BM_NetInserts);

// Argument: 1 as if the wire were binary, 0 text.
void BM_EncodeArrays(benchmark::State& state) {
  const std::unique_ptr<Shape> shape = WideTable();
  const Changes changes(*shape, EventKind::kInsert, kChanges);
  std::vector<ArrayEncoder> encoders(shape->relation.columns.size());
  const std::size_t before = AllocationCount();
  for (auto _ : state) {
    for (std::size_t i = 0; i < encoders.size(); ++i) {
      encoders[i].Begin(shape->table.target.columns[i], state.range(0) == 1);
    }
    for (const Event& event : changes.events()) {
      std::size_t i = 0;
      for (const ColumnView column : event.new_tuple) encoders[i++].Append(column);
    }
    for (ArrayEncoder& encoder : encoders) benchmark::DoNotOptimize(encoder.Finish().bytes);
  }
  Report(state, changes.bytes(), AllocationCount() - before);
}
BENCHMARK(BM_EncodeArrays)->Arg(0)->Arg(1);

// The way through a lane's queue: segments to transactions to batches. Argument: changes per transaction.
void BM_CutIntoBatches(benchmark::State& state) {
  const std::unique_ptr<Shape> shape = WideTable();
  const Changes changes(*shape, EventKind::kInsert, kChanges);
  Segment made;
  std::uint64_t lsn = 1;
  for (std::size_t i = 0; i < changes.events().size(); ++i) {
    const bool first = i % static_cast<std::size_t>(state.range(0)) == 0;
    if (first && i > 0) made.events.push_back({.kind = EventKind::kCommit, .lsn = Lsn{++lsn}});
    if (first) made.events.push_back({.kind = EventKind::kBegin, .xid = 1, .lsn = Lsn{++lsn}});
    made.events.push_back(changes.events()[i]);
  }
  made.events.push_back({.kind = EventKind::kCommit, .lsn = Lsn{++lsn}});
  const auto segment = std::make_shared<const Segment>(std::move(made));
  BatchBuilder builder;
  bool ok = true;
  const std::size_t before = AllocationCount();
  for (auto _ : state) {
    builder.Reset(Lsn{0});
    ok = builder.Add(segment).ok() && ok;
    while (builder.has_whole()) benchmark::DoNotOptimize(builder.TakeWhole(1 << 20).bytes);
  }
  if (!ok) state.SkipWithError("the segment was not taken");
  Report(state, changes.bytes(), AllocationCount() - before);
}
BENCHMARK(BM_CutIntoBatches)->Arg(1)->Arg(4)->Arg(1000);

}  // namespace
}  // namespace walferry
