// Messages of a real server are described as tests/golden says. WALFERRY_UPDATE_GOLDEN=1 writes the
// descriptions instead; review the difference.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "decoder/decode.h"
#include "decoder/describe.h"
#include "tests/decoder/golden_file.h"

namespace walferry {
namespace {

// Describes the messages of one stream with the relations that the stream itself described before.
class StreamDescriber {
 public:
  explicit StreamDescriber(const ProtocolOptions& options) : decoder_(options) {}

  std::string Next(const GoldenMessage& golden) {
    const absl::StatusOr<Message> message = decoder_.Decode(golden.payload, golden.lsn);
    if (!message.ok()) return message.status().ToString();
    if (const auto* start = std::get_if<StreamStartMessage>(&*message)) top_xid_ = start->xid;
    if (const auto* relation = std::get_if<RelationMessage>(&*message)) Remember(*relation);
    if (const auto* commit = std::get_if<StreamCommitMessage>(&*message))
      relations_.CommitStreamed(commit->xid);
    return Describe(*message, RelationOf(*message));
  }

 private:
  void Remember(const RelationMessage& message) {
    const std::uint64_t arrival = relations_.NextArrival();
    if (decoder_.in_stream()) {
      relations_.PutStreamed(top_xid_, message, arrival);
    } else {
      relations_.Put(message, arrival);
    }
  }

  const Relation* RelationOf(const Message& message) const {
    const auto find = [this](Oid id) {
      return decoder_.in_stream() ? relations_.FindStreamed(top_xid_, id) : relations_.Find(id);
    };
    if (const auto* insert = std::get_if<InsertMessage>(&message)) return find(insert->relation_id);
    if (const auto* update = std::get_if<UpdateMessage>(&message)) return find(update->relation_id);
    if (const auto* removal = std::get_if<DeleteMessage>(&message)) return find(removal->relation_id);
    return nullptr;
  }

  Decoder decoder_;
  RelationCache relations_;
  Xid top_xid_ = 0;
};

TEST(GoldenTest, MessagesOfARealServerAreDescribedAsTheFilesSay) {
  absl::StatusOr<std::vector<GoldenFile>> files = ReadGoldenFiles();
  ASSERT_TRUE(files.ok()) << files.status();
  const bool update = std::getenv("WALFERRY_UPDATE_GOLDEN") != nullptr;
  for (GoldenFile& file : *files) {
    StreamDescriber describer(file.options);
    for (GoldenMessage& message : file.messages) {
      const std::string description = describer.Next(message);
      if (update) message.description = description;
      EXPECT_EQ(description, message.description) << file.path << " at " << message.lsn.ToString();
    }
    if (update) {
      EXPECT_TRUE(WriteGoldenFile(file).ok());
    }
  }
}

TEST(GoldenTest, EveryKindOfMessageThatVersion15SendsIsThere) {
  const absl::StatusOr<std::vector<GoldenFile>> files = ReadGoldenFiles();
  ASSERT_TRUE(files.ok()) << files.status();
  std::set<char> seen;
  for (const GoldenFile& file : *files) {
    for (const GoldenMessage& message : file.messages) seen.insert(message.payload[0]);
  }
  EXPECT_EQ(std::string(seen.begin(), seen.end()), "ABCDEIKMOPRSTUYbcpr");
}

}  // namespace
}  // namespace walferry
