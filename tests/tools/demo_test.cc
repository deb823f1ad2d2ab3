#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/walferry_process.h"

namespace walferry {
namespace {

using Names = std::set<std::string>;

// Directories that a demo makes; other programs may have theirs beside.
Names DemoDirectories() {
  Names names;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::temp_directory_path())) {
    const std::string name = entry.path().filename();
    for (const char* prefix : {"walferry-old-", "walferry-new-", "walferry-demo-"}) {
      if (name.starts_with(prefix)) names.insert(name);
    }
  }
  return names;
}

Names Added(const Names& before, const Names& after) {
  Names added;
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                      std::inserter(added, added.end()));
  return added;
}

TEST(Demo, MovesASmallShopAndLeavesNothing) {
  const Names before = DemoDirectories();
  const WalferryRun run = RunWalferry({"demo", "--size", "small"}, {}, absl::Minutes(10));
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_NE(run.out.find("11 of 11 tables equal"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("pull the plug"), std::string::npos) << run.out;
  EXPECT_EQ(Added(before, DemoDirectories()), Names());
}

}  // namespace
}  // namespace walferry
