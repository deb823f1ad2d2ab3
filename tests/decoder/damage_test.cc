// Damaged messages of a real server: each is an error or decodes into views that lie inside of the damaged
// bytes. The bytes stand in heap blocks of their exact size, so that a sanitizer sees reads beyond them too.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "decoder/decode.h"
#include "tests/decoder/golden_file.h"
#include "tests/decoder/message_views.h"

namespace walferry {
namespace {

class Block {
 public:
  explicit Block(std::string_view bytes)
      : size_(bytes.size()), bytes_(std::make_unique<char[]>(bytes.size())) {
    std::memcpy(bytes_.get(), bytes.data(), bytes.size());
  }
  std::string_view view() const { return {bytes_.get(), size_}; }
  char& operator[](std::size_t i) { return bytes_[i]; }

 private:
  std::size_t size_;
  std::unique_ptr<char[]> bytes_;
};

bool Contains(std::string_view outer, std::string_view inner) {
  return inner.data() >= outer.data() && inner.data() + inner.size() <= outer.data() + outer.size();
}

// Decodes and touches all that was decoded. Says whether it was an error.
bool IsRejected(std::string_view payload, const ProtocolOptions& options, bool in_stream) {
  Decoder decoder(options);
  decoder.set_in_stream(in_stream);
  const absl::StatusOr<Message> message = decoder.Decode(payload, Lsn{0x100});
  if (!message.ok()) {
    EXPECT_EQ(message.status().code(), absl::StatusCode::kDataLoss);
    return true;
  }
  MessageViews([&](std::string_view view) { EXPECT_TRUE(Contains(payload, view)); }).Of(*message);
  return false;
}

// Calls `check(payload, options, in_stream)` for each golden message.
template <typename Check>
void ForEachGoldenMessage(Check check) {
  const absl::StatusOr<std::vector<GoldenFile>> files = ReadGoldenFiles();
  ASSERT_TRUE(files.ok()) << files.status();
  for (const GoldenFile& file : *files) {
    Decoder decoder(file.options);
    for (const GoldenMessage& message : file.messages) {
      check(message.payload, file.options, decoder.in_stream());
      ASSERT_TRUE(decoder.Decode(message.payload, message.lsn).ok());
    }
  }
}

TEST(DamageTest, EveryProperPrefixIsRejected) {
  ForEachGoldenMessage([](const std::string& payload, const ProtocolOptions& options, bool in_stream) {
    for (std::size_t length = 0; length < payload.size(); ++length) {
      const Block prefix(std::string_view(payload).substr(0, length));
      ASSERT_TRUE(IsRejected(prefix.view(), options, in_stream)) << "length " << length;
    }
  });
}

TEST(DamageTest, EveryByteWithEveryOtherValueIsRejectedOrDecodesInside) {
  ForEachGoldenMessage([](const std::string& payload, const ProtocolOptions& options, bool in_stream) {
    Block block(payload);
    for (std::size_t i = 0; i < payload.size(); ++i) {
      for (int change = 1; change < 256; ++change) {
        block[i] = static_cast<char>(payload[i] ^ change);
        IsRejected(block.view(), options, in_stream);
      }
      block[i] = payload[i];
    }
  });
}

TEST(DamageTest, EveryTrailingByteIsRejected) {
  ForEachGoldenMessage([](const std::string& payload, const ProtocolOptions& options, bool in_stream) {
    for (int byte = 0; byte < 256; ++byte) {
      const Block longer(payload + static_cast<char>(byte));
      ASSERT_TRUE(IsRejected(longer.view(), options, in_stream));
    }
  });
}

// A streamed message read as a plain one and the other way round: the transaction id is there or missing.
TEST(DamageTest, AMessageInTheWrongStateIsRejectedOrDecodesInside) {
  ForEachGoldenMessage([](const std::string& payload, const ProtocolOptions& options, bool in_stream) {
    const Block block(payload);
    IsRejected(block.view(), options, !in_stream);
  });
}

}  // namespace
}  // namespace walferry
