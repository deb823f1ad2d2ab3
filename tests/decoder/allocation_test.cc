#include <gtest/gtest.h>

#include "decoder/decode.h"
#include "decoder/relation.h"
#include "tests/decoder/allocation_count.h"
#include "tests/decoder/golden_file.h"
#include "tests/decoder/message_views.h"

namespace walferry {
namespace {

TEST(AllocationTest, DecodingAndWalkingAnyMessageAllocatesNothing) {
  const absl::StatusOr<std::vector<GoldenFile>> files = ReadGoldenFiles();
  ASSERT_TRUE(files.ok()) << files.status();
  for (const GoldenFile& file : *files) {
    Decoder decoder(file.options);
    for (const GoldenMessage& golden : file.messages) {
      std::size_t seen = 0;
      const std::size_t before = AllocationCount();
      const absl::StatusOr<Message> message = decoder.Decode(golden.payload, golden.lsn);
      if (message.ok()) MessageViews([&](std::string_view view) { seen += view.size(); }).Of(*message);
      const std::size_t after = AllocationCount();
      EXPECT_TRUE(message.ok());
      EXPECT_EQ(after - before, 0u) << golden.description << seen;
    }
  }
}

TEST(AllocationTest, ARepeatedDescriptionOfARelationAllocatesNothing) {
  const absl::StatusOr<std::vector<GoldenFile>> files = ReadGoldenFiles();
  ASSERT_TRUE(files.ok()) << files.status();
  for (const GoldenFile& file : *files) {
    Decoder decoder(file.options);
    RelationCache cache;
    for (const GoldenMessage& golden : file.messages) {
      const absl::StatusOr<Message> message = decoder.Decode(golden.payload, golden.lsn);
      const auto* relation = message.ok() ? std::get_if<RelationMessage>(&*message) : nullptr;
      if (relation == nullptr) continue;
      cache.Put(*relation, cache.NextArrival());
      const std::size_t before = AllocationCount();
      cache.Put(*relation, cache.NextArrival());
      EXPECT_EQ(AllocationCount() - before, 0u) << golden.description;
    }
  }
}

}  // namespace
}  // namespace walferry
