// How fast bytes become messages, with every column of every message looked at, and that it costs no
// allocation.
#include <benchmark/benchmark.h>

#include "decoder/decode.h"
#include "decoder/frame.h"
#include "tests/decoder/allocation_count.h"
#include "tests/support/pgoutput_writer.h"

namespace walferry {
namespace {

// A row of an order table, ten columns; `note_bytes` says how wide the tenth is.
WrittenRow OrderRow(int i, std::size_t note_bytes) {
  const std::string id = std::to_string(1'000'000 + i);
  return {TextColumn(id),
          TextColumn(std::to_string(i % 9973)),
          TextColumn("2024-02-29 23:59:59.999999+00"),
          TextColumn("2024-03-01 08:15:00.123456+00"),
          TextColumn("shipped"),
          TextColumn("1234.50"),
          NullColumn(),
          TextColumn("t"),
          TextColumn(R"({"carrier": "road", "parcels": [1, 2, 3], "gift": false})"),
          TextColumn(std::string(note_bytes, 'x'))};
}

// Messages in one block, as they stand in a receive buffer.
class Corpus {
 public:
  void Add(const std::string& frame) {
    ends_.push_back(bytes_.size() + frame.size());
    bytes_ += frame;
  }
  template <typename Visit>
  void ForEach(Visit visit) const {
    std::size_t begin = 0;
    for (const std::size_t end : ends_) {
      visit(std::string_view(bytes_).substr(begin, end - begin));
      begin = end;
    }
  }
  std::size_t bytes() const { return bytes_.size(); }
  std::size_t messages() const { return ends_.size(); }

 private:
  std::string bytes_;
  std::vector<std::size_t> ends_;
};

std::size_t Walk(const TupleView& tuple) {
  std::size_t seen = 0;
  for (const ColumnView column : tuple) {
    seen += static_cast<std::size_t>(column.kind) + column.value.size();
    if (!column.value.empty()) seen += static_cast<unsigned char>(column.value.back());
  }
  return seen;
}

std::size_t Walk(const Message& message) {
  if (const auto* insert = std::get_if<InsertMessage>(&message)) return Walk(insert->new_tuple);
  const auto* update = std::get_if<UpdateMessage>(&message);
  return update == nullptr ? 0 : Walk(update->old_tuple) + Walk(update->new_tuple);
}

void Report(benchmark::State& state, const Corpus& corpus, std::size_t allocations) {
  const auto iterations = static_cast<std::size_t>(state.iterations());
  state.SetBytesProcessed(static_cast<std::int64_t>(iterations * corpus.bytes()));
  state.SetItemsProcessed(static_cast<std::int64_t>(iterations * corpus.messages()));
  state.counters["message_bytes"] =
      static_cast<double>(corpus.bytes()) / static_cast<double>(corpus.messages());
  state.counters["allocations"] = static_cast<double>(allocations);
}

void DecodeAll(benchmark::State& state, const Corpus& corpus) {
  Decoder decoder({});
  std::size_t seen = 0;
  bool ok = true;
  std::size_t allocations = 0;
  for (auto _ : state) {
    const std::size_t before = AllocationCount();
    corpus.ForEach([&](std::string_view payload) {
      const absl::StatusOr<Message> message = decoder.Decode(payload, Lsn{1});
      ok = ok && message.ok();
      if (message.ok()) seen += Walk(*message);
    });
    allocations += AllocationCount() - before;
    benchmark::DoNotOptimize(seen);
  }
  if (!ok) state.SkipWithError("a message was not decoded");
  Report(state, corpus, allocations);
}

constexpr int kMessages = 4096;

// Argument: bytes of the tenth column.
void BM_Inserts(benchmark::State& state) {
  const PgoutputWriter writer;
  Corpus corpus;
  for (int i = 0; i < kMessages; ++i) {
    corpus.Add(writer.Insert(16384, OrderRow(i, static_cast<std::size_t>(state.range(0)))));
  }
  DecodeAll(state, corpus);
}
BENCHMARK(BM_Inserts)->Arg(20)->Arg(200)->Arg(2000);

// Updates of a table with replica identity FULL: both rows travel.
void BM_UpdatesWithOldRow(benchmark::State& state) {
  const PgoutputWriter writer;
  Corpus corpus;
  for (int i = 0; i < kMessages; ++i) {
    corpus.Add(writer.Update(16384, OldTuple::kFull, OrderRow(i, 20), OrderRow(i + 1, 20)));
  }
  DecodeAll(state, corpus);
}
BENCHMARK(BM_UpdatesWithOldRow);

// With the frame of each message, as it comes from the connection.
void BM_FramedInserts(benchmark::State& state) {
  const PgoutputWriter writer;
  Corpus corpus;
  for (int i = 0; i < kMessages; ++i) {
    corpus.Add(WriteXLogData(Lsn{1}, Lsn{2}, 3, writer.Insert(16384, OrderRow(i, 20))));
  }
  Decoder decoder({});
  std::size_t seen = 0;
  bool ok = true;
  std::size_t allocations = 0;
  for (auto _ : state) {
    const std::size_t before = AllocationCount();
    corpus.ForEach([&](std::string_view copy_data) {
      const absl::StatusOr<Frame> frame = DecodeFrame(copy_data);
      const auto* data = frame.ok() ? std::get_if<XLogData>(&*frame) : nullptr;
      const absl::StatusOr<Message> message = decoder.Decode(data == nullptr ? "" : data->payload, Lsn{1});
      ok = ok && message.ok();
      if (message.ok()) seen += Walk(*message);
    });
    allocations += AllocationCount() - before;
    benchmark::DoNotOptimize(seen);
  }
  if (!ok) state.SkipWithError("a frame was not decoded");
  Report(state, corpus, allocations);
}
BENCHMARK(BM_FramedInserts);

}  // namespace
}  // namespace walferry
