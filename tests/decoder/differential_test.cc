// The decoder agrees with the reference decoder on golden, generated and mutated messages, in every state.
// WALFERRY_SEED repeats a run.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "decoder/decode.h"
#include "tests/decoder/golden_file.h"
#include "tests/decoder/reference_decoder.h"
#include "tests/support/pgoutput_writer.h"

namespace walferry {
namespace {

class MessageGenerator {
 public:
  explicit MessageGenerator(std::uint64_t seed) : random_(seed) {}

  std::size_t Below(std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random_);
  }
  bool Coin() { return Below(2) == 0; }

  // A well-formed message, as it stands inside or outside of a stream block.
  std::string Message(Streaming streaming, bool in_stream) {
    PgoutputWriter writer(streaming);
    if (in_stream) writer.StreamStart(Number(), true);
    switch (Below(19)) {
      case 0:
        return writer.Begin(Position(), Time(), Number());
      case 1:
        return writer.Commit(Position(), Position(), Time());
      case 2:
        return writer.Origin(Position(), Name());
      case 3:
        return writer.Relation(Number(), Name(), Name(), Identity(), Columns());
      case 4:
        return writer.Type(Number(), Name(), Name());
      case 5:
        return writer.Insert(Number(), Row());
      case 6:
        return writer.Update(Number(), Row());
      case 7:
        return writer.Update(Number(), Old(), Row(), Row());
      case 8:
        return writer.Delete(Number(), Old(), Row());
      case 9:
        return writer.Truncate(std::vector<Oid>(Below(5), Number()), Coin(), Coin());
      case 10:
        return writer.LogicalMessage(Coin(), Position(), Name(), Name());
      case 11:
        return writer.StreamStart(Number(), Coin());
      case 12:
        return writer.StreamStop();
      case 13:
        return writer.StreamCommit(Number(), Position(), Position(), Time());
      case 14:
        return writer.StreamAbort(Number(), Number(), Position(), Time());
      case 15:
        return writer.BeginPrepare(Position(), Position(), Time(), Number(), Name());
      case 16:
        return writer.Prepare(Position(), Position(), Time(), Number(), Name());
      case 17:
        return writer.CommitPrepared(Position(), Position(), Time(), Number(), Name());
      default:
        return writer.RollbackPrepared(Position(), Position(), Time(), Time(), Number(), Name());
    }
  }

  // Damages `bytes` a few times, with a liking for values at the edges and for tags.
  void Mutate(std::string& bytes) {
    for (std::size_t i = Below(4); i > 0; --i) {
      const std::size_t at = Below(bytes.size() + 1);
      const char byte = Coin() ? "\x00\x01\x7f\x80\xff"
                                 "nutbNKOAEp"[Below(15)]
                               : static_cast<char>(Below(256));
      switch (Below(4)) {
        case 0:
          bytes.insert(at, 1, byte);
          break;
        case 1:
          bytes.resize(at);
          break;
        default:
          if (at < bytes.size()) bytes[at] = byte;
      }
    }
  }

 private:
  std::uint32_t Number() { return static_cast<std::uint32_t>(random_()); }
  Lsn Position() { return Lsn{random_()}; }
  TimestampMicros Time() { return static_cast<TimestampMicros>(random_()); }
  std::string Name() { return std::string(Below(6), static_cast<char>('a' + Below(26))); }
  OldTuple Old() { return Coin() ? OldTuple::kKey : OldTuple::kFull; }
  ReplicaIdentity Identity() { return static_cast<ReplicaIdentity>("dnfi"[Below(4)]); }
  std::vector<WrittenRelationColumn> Columns() {
    std::vector<WrittenRelationColumn> columns(Below(4));
    for (auto& column : columns) column = {Name(), Number(), Coin(), static_cast<std::int32_t>(Number())};
    return columns;
  }
  WrittenRow Row() {
    WrittenRow row(Below(6));
    for (auto& column : row) column = {static_cast<ColumnKind>("nutb"[Below(4)]), Name()};
    return row;
  }

  std::mt19937_64 random_;
};

std::uint64_t Seed() {
  const char* given = std::getenv("WALFERRY_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
}

void ExpectAgreement(const std::string& payload, Streaming streaming, bool in_stream) {
  Decoder decoder({.proto_version = 4, .streaming = streaming});
  decoder.set_in_stream(in_stream);
  const absl::StatusOr<Message> message = decoder.Decode(payload, {});
  const std::optional<FieldList> expected = ReferenceDecode(payload, streaming, in_stream);
  ASSERT_EQ(message.ok(), expected.has_value()) << message.status();
  if (message.ok()) {
    ASSERT_EQ(FieldsOf(*message), *expected);
  }
}

TEST(DifferentialTest, AgreesWithTheReferenceDecoderOnGeneratedAndMutatedMessages) {
  const std::uint64_t seed = Seed();
  std::printf("seed: WALFERRY_SEED=%llu\n", static_cast<unsigned long long>(seed));
  MessageGenerator generator(seed);
  for (int i = 0; i < 200'000; ++i) {
    const auto streaming = static_cast<Streaming>(generator.Below(3));
    const bool in_stream = generator.Coin();
    std::string payload = generator.Message(streaming, in_stream);
    generator.Mutate(payload);
    ExpectAgreement(payload, streaming, in_stream);
    if (HasFatalFailure()) {
      FAIL() << "in round " << i << " of WALFERRY_SEED=" << seed;
    }
  }
}

TEST(DifferentialTest, AgreesWithTheReferenceDecoderOnMutatedMessagesOfARealServer) {
  const std::uint64_t seed = Seed();
  std::printf("seed: WALFERRY_SEED=%llu\n", static_cast<unsigned long long>(seed));
  MessageGenerator generator(seed);
  const absl::StatusOr<std::vector<GoldenFile>> files = ReadGoldenFiles();
  ASSERT_TRUE(files.ok()) << files.status();
  for (const GoldenFile& file : *files) {
    for (const GoldenMessage& message : file.messages) {
      for (int i = 0; i < 200; ++i) {
        std::string payload = message.payload;
        if (i > 0) generator.Mutate(payload);
        ExpectAgreement(payload, file.options.streaming, generator.Coin());
        if (HasFatalFailure()) {
          FAIL() << file.path << " with WALFERRY_SEED=" << seed;
        }
      }
    }
  }
}

}  // namespace
}  // namespace walferry
