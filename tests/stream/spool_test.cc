#include "stream/spool.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace walferry {
namespace {

using testing::HasSubstr;
using Records = std::vector<std::pair<Xid, std::string>>;

class SpoolTest : public testing::Test {
 protected:
  SpoolTest() {
    std::string path = testing::TempDir() + "/walferry-spool-XXXXXX";
    directory_ = std::filesystem::canonical(mkdtemp(path.data())).string();
  }
  ~SpoolTest() override { std::filesystem::remove_all(directory_); }

  SpoolRoom Room(std::size_t memory_limit_bytes) {
    return {.budget = budget_, .directory = directory_, .memory_limit_bytes = memory_limit_bytes};
  }

  static absl::Status Fill(Spool& spool, const Records& records) {
    std::uint64_t number = 0;
    for (const auto& [xid, payload] : records) {
      ++number;
      WF_RETURN_IF_ERROR(spool.Append(xid, {.lsn = Lsn{number}, .arrival = number * 2, .payload = payload}));
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<std::vector<std::string>> ReadAll(Spool& spool) {
    std::vector<std::string> payloads;
    while (true) {
      WF_ASSIGN_OR_RETURN(const std::shared_ptr<const SpoolChunk> chunk, spool.TakeChunk());
      if (chunk == nullptr) return payloads;
      std::size_t offset = 0;
      while (const auto record = chunk->Next(offset)) {
        EXPECT_EQ(record->arrival, record->lsn.value * 2);
        payloads.emplace_back(record->payload);
      }
    }
  }

  // The nameless file of the spool, through this process's descriptors.
  std::string OpenFile() const {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
      if (target.starts_with(directory_ + "/")) return entry.path().string();
    }
    return {};
  }

  MemoryBudget budget_{64 << 20};
  std::string directory_;
};

Records Rows(int count, std::size_t bytes) {
  Records rows;
  for (int i = 0; i < count; ++i) rows.emplace_back(1, std::to_string(i) + std::string(bytes, 'r'));
  return rows;
}

std::vector<std::string> Payloads(const Records& records) {
  std::vector<std::string> payloads;
  for (const auto& [xid, payload] : records) payloads.push_back(payload);
  return payloads;
}

TEST_F(SpoolTest, SmallTransactionStaysInMemory) {
  SpoolRoom room = Room(1 << 20);
  const Records rows = Rows(100, 50);
  {
    Spool spool(room);
    ASSERT_TRUE(Fill(spool, rows).ok());
    EXPECT_FALSE(spool.on_disk());
    EXPECT_GT(room.memory_bytes, 0);
    EXPECT_EQ(ReadAll(spool).value(), Payloads(rows));
  }
  EXPECT_EQ(room.memory_bytes, 0);
  EXPECT_EQ(budget_.used_bytes(), 0);
}

TEST_F(SpoolTest, LargeTransactionGoesToAFileThatHasNoNameAndHidesItsBytes) {
  SpoolRoom room = Room(512 << 10);
  const Records rows = Rows(5000, 1000);
  {
    Spool spool(room);
    ASSERT_TRUE(Fill(spool, rows).ok());
    EXPECT_TRUE(spool.on_disk());
    EXPECT_LE(room.memory_bytes, std::size_t{1} << 20);
    EXPECT_TRUE(std::filesystem::is_empty(directory_));

    const int fd = open(OpenFile().c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    std::string file(1 << 20, '\0');
    file.resize(static_cast<std::size_t>(std::max<ssize_t>(read(fd, file.data(), file.size()), 0)));
    close(fd);
    EXPECT_GT(file.size(), 1000);
    EXPECT_EQ(file.find("rrrr"), std::string::npos);

    EXPECT_EQ(ReadAll(spool).value(), Payloads(rows));
  }
  EXPECT_EQ(room.memory_bytes, 0);
  EXPECT_EQ(budget_.used_bytes(), 0);
  EXPECT_EQ(OpenFile(), "");
}

TEST_F(SpoolTest, MessageLargerThanAChunkPasses) {
  SpoolRoom room = Room(64 << 10);
  Spool spool(room);
  const Records rows = {{1, "small"}, {1, std::string(3 << 20, 'L')}, {1, "after"}};
  ASSERT_TRUE(Fill(spool, rows).ok());
  EXPECT_EQ(ReadAll(spool).value(), Payloads(rows));
}

TEST_F(SpoolTest, CutDropsTheSubtransactionAndAllBehindIt) {
  SpoolRoom room = Room(1 << 20);
  Spool spool(room);
  ASSERT_TRUE(Fill(spool, {{1, "a"}, {2, "b"}, {1, "c"}, {3, "d"}}).ok());
  ASSERT_TRUE(spool.CutAt(9).ok());
  ASSERT_TRUE(spool.CutAt(2).ok());
  ASSERT_TRUE(spool.CutAt(3).ok());  // Went with what was behind 2.
  ASSERT_TRUE(spool.Append(3, {.lsn = Lsn{1}, .arrival = 2, .payload = "e"}).ok());
  EXPECT_EQ(ReadAll(spool).value(), (std::vector<std::string>{"a", "e"}));
}

// Against a vector, with chunks in memory and in the file, cuts anywhere, and appends after cuts.
TEST_F(SpoolTest, AnySequenceOfAppendsAndCutsGivesWhatAVectorGives) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    SpoolRoom room = Room(round % 3 == 0 ? 0 : 300 << 10);
    Spool spool(room);
    Records expected;
    for (int step = 0; step < 400; ++step) {
      const auto xid = static_cast<Xid>(random() % 60);
      if (random() % 25 == 0) {
        ASSERT_TRUE(spool.CutAt(xid).ok());
        const auto first =
            std::find_if(expected.begin(), expected.end(), [&](const auto& r) { return r.first == xid; });
        expected.erase(first, expected.end());
      } else {
        expected.emplace_back(xid, std::to_string(random()) + std::string(random() % 20000, 'x'));
        ASSERT_TRUE(
            spool.Append(xid, {.lsn = Lsn{5}, .arrival = 10, .payload = expected.back().second}).ok());
      }
    }
    const auto read = ReadAll(spool);
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_EQ(*read, Payloads(expected));
  }
  EXPECT_EQ(budget_.used_bytes(), 0);
}

TEST_F(SpoolTest, ChunkHandedOutOutlivesTheSpool) {
  SpoolRoom room = Room(0);
  std::shared_ptr<const SpoolChunk> chunk;
  {
    Spool spool(room);
    ASSERT_TRUE(Fill(spool, Rows(100, 1000)).ok());
    chunk = spool.TakeChunk().value();
  }
  std::size_t offset = 0;
  EXPECT_THAT(std::string(chunk->Next(offset)->payload), HasSubstr("0rrr"));
  EXPECT_GT(budget_.used_bytes(), 0);
  chunk.reset();
  EXPECT_EQ(budget_.used_bytes(), 0);
}

TEST_F(SpoolTest, DamagedFileIsDataLoss) {
  SpoolRoom room = Room(0);
  Spool spool(room);
  ASSERT_TRUE(Fill(spool, Rows(1000, 1000)).ok());
  const int fd = open(OpenFile().c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  char byte = 0;
  ASSERT_EQ(pread(fd, &byte, 1, 100), 1);
  byte = static_cast<char>(byte ^ 1);
  ASSERT_EQ(pwrite(fd, &byte, 1, 100), 1);
  close(fd);
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(spool).status()));
}

TEST_F(SpoolTest, FullDiskIsOneClearSentence) {
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 10000, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  SpoolRoom room = Room(0);
  Spool spool(room);
  std::mt19937 random(1);  // Bytes that do not compress.
  absl::Status status;
  for (int i = 0; i < 100 && status.ok(); ++i) {
    std::string payload(4000, '\0');
    for (char& c : payload) c = static_cast<char>(random());
    status = spool.Append(1, {.lsn = {}, .arrival = 0, .payload = payload});
  }
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr(directory_));
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("--work-dir"));
}

TEST_F(SpoolTest, DirectoryThatCannotBeWrittenIsOneClearSentence) {
  SpoolRoom room = Room(0);
  room.directory = "/dev/null/spool";
  Spool spool(room);
  const absl::Status status = Fill(spool, Rows(100, 1000));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("/dev/null/spool"));
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("--work-dir"));
}

TEST_F(SpoolTest, MissingDirectoryIsCreated) {
  SpoolRoom room = Room(0);
  room.directory = directory_ + "/a/b";
  Spool spool(room);
  EXPECT_TRUE(Fill(spool, Rows(100, 1000)).ok());
}

}  // namespace
}  // namespace walferry
