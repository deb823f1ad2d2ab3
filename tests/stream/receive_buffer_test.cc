#include "stream/receive_buffer.h"

#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "decoder/wire_writer.h"
#include "gtest/gtest.h"
#include "stream/message_skimmer.h"

namespace walferry {
namespace {

TEST(ReceiveBlock, GivesBackTheMessagesThatWereAppended) {
  MemoryBudget budget(64 << 20);
  ReceivePool pool(budget);
  const std::shared_ptr<ReceiveBlock> block = pool.Take();
  EXPECT_EQ(block->Next(), std::nullopt);
  block->Append("first");
  block->Append("");
  EXPECT_EQ(block->Next(), "first");
  EXPECT_EQ(block->Next(), "");
  EXPECT_EQ(block->Next(), std::nullopt);
}

TEST(ReceiveBlock, GoesOnBeingFilledWhileItsFirstPartIsInUse) {
  MemoryBudget budget(64 << 20);
  ReceivePool pool(budget);
  std::shared_ptr<ReceiveBlock> block = pool.Take();
  block->Append("first");
  const std::string_view first = *block->Next();
  const std::size_t used_bytes = budget.used_bytes();
  std::string read;
  std::thread reader([held = std::shared_ptr<const Bytes>(block), first, &read] { read = first; });
  int more = 0;
  while (block->Append("second")) ++more;
  reader.join();
  EXPECT_EQ(read, "first");
  EXPECT_GT(more, 1000);
  EXPECT_EQ(budget.used_bytes(), used_bytes);
}

std::string OnTheWire(char type, std::string_view body) {
  WireWriter writer;
  writer.Int8(static_cast<std::uint8_t>(type)).Int32(static_cast<std::uint32_t>(body.size() + 4)).Bytes(body);
  return std::move(writer).Take();
}

// Messages of random sizes, some larger than a block, one in ten of another kind than CopyData.
struct RandomStream {
  explicit RandomStream(std::mt19937& random) {
    for (int i = 0; i < 400; ++i) {
      std::string body(random() % (random() % 50 == 0 ? 100000 : 700), static_cast<char>('a' + i % 26));
      const char type = random() % 10 == 0 ? "NSA"[random() % 3] : 'd';
      bytes += OnTheWire(type, body);
      (type == 'd' ? data : others).push_back(std::move(body));
    }
  }
  std::string bytes;
  std::vector<std::string> data;
  std::vector<std::string> others;
};

TEST(ReceiveBlock, GivesWholeMessagesHoweverTheirBytesAreCut) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const RandomStream stream(random);
  MemoryBudget budget(1 << 20);
  ReceivePool pool(budget);
  std::shared_ptr<ReceiveBlock> block = pool.Take();
  std::vector<std::string> data;
  std::vector<std::string> others;
  std::vector<std::string_view> views;
  std::vector<std::shared_ptr<ReceiveBlock>> held;
  for (std::string_view rest = stream.bytes; !rest.empty();) {
    const std::span<char> room = block->room();
    const std::size_t piece = std::min({rest.size(), room.size(), std::size_t{random() % 5000}});
    std::copy_n(rest.begin(), piece, room.begin());
    block->Filled(piece);
    rest.remove_prefix(piece);
    while (true) {
      const absl::StatusOr<std::optional<WireMessage>> other = block->Scan();
      ASSERT_TRUE(other.ok()) << other.status();
      if (!*other) break;
      others.emplace_back((*other)->body);
    }
    while (const std::optional<std::string_view> payload = block->Next()) views.push_back(*payload);
    if (!block->full()) continue;
    held.push_back(block);
    block = pool.Continue(*block);
  }
  for (const std::string_view view : views) data.emplace_back(view);
  EXPECT_EQ(data, stream.data);
  EXPECT_EQ(others, stream.others);
  EXPECT_TRUE(block->unfinished().empty());
  EXPECT_GT(held.size(), 10);
}

TEST(ReceiveBlock, RefusesALengthThatCannotBe) {
  for (const auto& [type, length] : {std::pair{'d', 0U},
                                     {'d', 3U},
                                     {'d', 0x4000'0005U},
                                     {'d', 0xffff'ffffU},
                                     {'N', 2U},
                                     {'E', 0x2000'0000U},
                                     {'Z', 0xffff'fff0U}}) {
    MemoryBudget budget(1 << 20);
    ReceivePool pool(budget);
    const std::shared_ptr<ReceiveBlock> block = pool.Take();
    block->Append("before");
    WireWriter writer;
    writer.Int8(static_cast<std::uint8_t>(type)).Int32(length);
    std::copy_n(writer.bytes().begin(), WireMessage::kHeaderBytes, block->room().begin());
    block->Filled(WireMessage::kHeaderBytes);
    EXPECT_TRUE(absl::IsDataLoss(block->Scan().status())) << type << " " << length;
    EXPECT_EQ(block->Next(), "before");
    EXPECT_EQ(block->Next(), std::nullopt);
    EXPECT_TRUE(absl::IsDataLoss(MessageSkimmer().Take(writer.bytes())));
  }
}

TEST(MessageSkimmer, SeesWhatBeginsAndNotWhatIsInside) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const RandomStream stream(random);
  MessageSkimmer skimmer;
  const std::string bytes =
      stream.bytes + OnTheWire('c', "") + OnTheWire('d', OnTheWire('C', "x")) + OnTheWire('Z', "I");
  for (std::string_view rest = bytes; !rest.empty();) {
    EXPECT_FALSE(skimmer.seen('Z'));
    const std::size_t piece = std::min(rest.size(), std::size_t{1 + random() % 3000});
    ASSERT_TRUE(skimmer.Take(rest.substr(0, piece)).ok());
    rest.remove_prefix(piece);
  }
  EXPECT_TRUE(skimmer.seen('Z') && skimmer.seen('c') && skimmer.seen('d'));
  EXPECT_FALSE(skimmer.seen('C'));
}

TEST(ReceivePool, MakesALargerBlockForALargerMessageOnly) {
  MemoryBudget budget(64 << 20);
  ReceivePool pool(budget);
  std::shared_ptr<ReceiveBlock> block = pool.Take();
  const std::size_t usual_bytes = budget.used_bytes();
  const std::string large(10 << 20, 'x');
  EXPECT_FALSE(block->Append(large));
  EXPECT_TRUE(block->full());
  block = pool.Continue(*block);
  EXPECT_GT(budget.used_bytes(), large.size());
  EXPECT_TRUE(block->Append(large));
  EXPECT_TRUE(block->full());
  block = pool.Continue(*block);
  EXPECT_EQ(budget.used_bytes(), usual_bytes);
}

TEST(ReceivePool, CutsItsBlocksToASmallBudget) {
  MemoryBudget budget(2 << 20);
  ReceivePool pool(budget);
  const std::shared_ptr<ReceiveBlock> block = pool.Take();
  EXPECT_LE(budget.used_bytes(), budget.limit_bytes() / 16);
}

TEST(ReceivePool, BlockMayOutliveThePoolAndReturnsToTheBudget) {
  MemoryBudget budget(64 << 20);
  std::shared_ptr<ReceiveBlock> block;
  {
    ReceivePool pool(budget);
    block = pool.Take();
  }
  block->Append("still here");
  EXPECT_EQ(block->Next(), "still here");
  std::thread([held = std::move(block)]() mutable { held.reset(); }).join();
  EXPECT_EQ(budget.used_bytes(), 0);
}

}  // namespace
}  // namespace walferry
