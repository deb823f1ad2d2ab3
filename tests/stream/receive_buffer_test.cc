#include "stream/receive_buffer.h"

#include <string>
#include <thread>

#include "gtest/gtest.h"

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
