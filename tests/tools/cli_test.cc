// The program as scripts see it: exit codes, where what is printed, and where options come from. No server is
// needed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/walferry_process.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// A conninfo where nobody listens: what it is tried with shows in the error.
constexpr const char* kNobody = "host=127.0.0.1 port=1 user=nobody dbname=shop";

class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text) {
    std::string path = (std::filesystem::temp_directory_path() / "walferry-config-XXXXXX").string();
    const int fd = ::mkstemp(path.data());
    EXPECT_GE(fd, 0);
    ::close(fd);
    path_ = path;
    std::ofstream(path_) << text;
  }
  ~ConfigFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(Cli, HelpExplainsEveryCommandWithExamples) {
  const WalferryRun help = RunWalferry({"help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.err, IsEmpty());
  EXPECT_THAT(help.out, AllOf(HasSubstr("--source"), HasSubstr("WALFERRY_SOURCE"), HasSubstr("Exit codes")));
  for (const std::string& command : std::vector<std::string>{"check", "dump", "version", "help"}) {
    EXPECT_THAT(help.out, HasSubstr("  " + command));
    const WalferryRun topic = RunWalferry({"help", command});
    EXPECT_EQ(topic.exit_code, 0);
    EXPECT_THAT(topic.out, HasSubstr("Examples:\n  walferry " + command));
  }
  EXPECT_EQ(RunWalferry({"dump", "--help"}).exit_code, 0);
}

TEST(Cli, ExamplesOfHelpAreAccepted) {
  const std::string help = RunWalferry({"help", "dump"}).out;
  EXPECT_THAT(help, HasSubstr("--publication p --format json"));
  // As pasted, up to the connection that is not there.
  const WalferryRun run =
      RunWalferry({"dump", "--source", kNobody, "--publication", "p", "--format", "json"});
  EXPECT_EQ(run.exit_code, 75);
}

TEST(Cli, WrongUsageExitsWith2AndOneSentence) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"nonsense"},
      {"check", "--nonsense"},
      {"version", "--memory", "12 parsecs"},
      {"version", "--memory", "1MB"},
      {"version", "--retry-for", "soon"},
      {"version", "--log-level", "loud"},
      {"version", "--name", "Not-A-Slot"},
      {"help", "nonsense"},
      {"check"},
      {"check", "--source", kNobody},
      {"check", "--source", kNobody, "--source-only", "--tables", "x"},
      {"dump", "--source", kNobody},
      {"dump", "--source", kNobody, "--publication", "p", "--until", "Z"},
      {"dump", "--source", kNobody, "--publication", "p", "--consume"}};
  for (const auto& arguments : wrong) {
    const WalferryRun run = RunWalferry(arguments);
    SCOPED_TRACE(::testing::PrintToString(arguments));
    EXPECT_EQ(run.exit_code, 2);
    EXPECT_THAT(run.out, IsEmpty());
    EXPECT_THAT(run.err, StartsWith("walferry: "));
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1);
  }
}

TEST(Cli, MissingSourceNamesFlagAndVariable) {
  EXPECT_THAT(RunWalferry({"check"}).err, AllOf(HasSubstr("--source"), HasSubstr("WALFERRY_SOURCE")));
}

TEST(Cli, UnreachableServerGivesTheCodeOfTheCommand) {
  EXPECT_EQ(RunWalferry({"check", "--source", kNobody, "--target", kNobody}).exit_code, 5);
  EXPECT_EQ(RunWalferry({"dump", "--source", kNobody, "--publication", "p"}).exit_code, 75);
}

TEST(Cli, CheckThatCouldNotLookSaysSoInJson) {
  const WalferryRun run = RunWalferry({"check", "--json", "--source", kNobody, "--target", kNobody});
  const nlohmann::json json = nlohmann::json::parse(run.out);
  EXPECT_FALSE(json.at("ok").get<bool>());
  EXPECT_THAT(json.at("error").get<std::string>(), HasSubstr("cannot connect to the source"));
}

// What `version --json --name N` is not able to show, the port in an error is: where --source came from.
std::string PortTried(const std::vector<std::string>& extra, const Environment& environment) {
  std::vector<std::string> arguments = {"check", "--source-only"};
  arguments.insert(arguments.end(), extra.begin(), extra.end());
  const WalferryRun run = RunWalferry(arguments, environment);
  EXPECT_EQ(run.exit_code, 5) << run.err;
  for (const std::string& port : std::vector<std::string>{"11", "12", "13"}) {
    if (run.err.find("port " + port + " ") != std::string::npos) return port;
  }
  return run.err;
}

TEST(Config, FlagWinsOverEnvironmentWinsOverFile) {
  const ConfigFile file("source = \"host=127.0.0.1 port=11\"\n");
  const std::string flag = "host=127.0.0.1 port=13";
  const Environment environment = {{"WALFERRY_SOURCE", "host=127.0.0.1 port=12"}};
  EXPECT_EQ(PortTried({"--config", file.path()}, {}), "11");
  EXPECT_EQ(PortTried({"--config", file.path()}, environment), "12");
  EXPECT_EQ(PortTried({"--config", file.path(), "--source", flag}, environment), "13");
  EXPECT_EQ(PortTried({"--config", file.path(), "--source", flag}, {}), "13");
  EXPECT_EQ(PortTried({"--source", flag}, environment), "13");
}

TEST(Config, FileIsFoundByTheEnvironment) {
  const ConfigFile file("source = \"host=127.0.0.1 port=11\"\n");
  EXPECT_EQ(PortTried({}, {{"WALFERRY_CONFIG", file.path()}}), "11");
}

TEST(Config, ValuesMayHoldWhatTomlAllows) {
  const ConfigFile file(
      "# comment\n"
      "source = \"host=127.0.0.1 port=11 password='a#b,c = [d]'\" # comment\n"
      "tables = [\n  \"public.*\",\n  'other.t',\n]\n"
      "json = true\n"
      "[check]\n"
      "source-only = true\n");
  const WalferryRun run = RunWalferry({"check", "--config", file.path()});
  EXPECT_EQ(run.exit_code, 5) << run.err;
  EXPECT_THAT(run.err, HasSubstr("port 11"));
  EXPECT_THAT(run.out, StartsWith("{\"ok\":false"));
}

TEST(Config, WhatIsWrongInTheFileIsAUsageErrorThatNamesIt) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"sorce = \"x\"\n", "unknown key sorce"},
      {"[check]\nlanez = 1\n", "unknown key check.lanez"},
      {"[chekc]\nquiet = true\n", "[chekc]"},
      {"config = \"x\"\n", "unknown key config"},
      {"source = \n", "line 1"},
      {"memory = \"soup\"\n", "--memory"},
      {"source = { a = 1 }\n", "source"}};
  for (const auto& [text, named] : wrong) {
    const ConfigFile file(text);
    const WalferryRun run = RunWalferry({"version", "--config", file.path()});
    EXPECT_EQ(run.exit_code, 2) << text;
    EXPECT_THAT(run.err, HasSubstr(named)) << text;
  }
  EXPECT_EQ(RunWalferry({"version", "--config", "/nonexistent/walferry.toml"}).exit_code, 2);
  EXPECT_EQ(RunWalferry({"version"}, {{"WALFERRY_CONFIG", "/nonexistent/walferry.toml"}}).exit_code, 2);
}

TEST(Cli, PasswordsShowNowhere) {
  const std::string secret = "hunter2secret";
  for (const std::string& source : std::vector<std::string>{"host=127.0.0.1 port=1 user=u password=" + secret,
                                                            "postgres://u:" + secret + "@127.0.0.1:1/shop"}) {
    const WalferryRun run =
        RunWalferry({"check", "--source-only", "--log-level", "debug", "--source", source});
    EXPECT_THAT(run.out + run.err, Not(HasSubstr(secret)));
  }
}

TEST(Cli, LogCanBeJson) {
  const WalferryRun run =
      RunWalferry({"check", "--source-only", "--log-format", "json", "--source", kNobody});
  const nlohmann::json entry = nlohmann::json::parse(run.err);
  EXPECT_EQ(entry.at("level"), "error");
  EXPECT_THAT(entry.at("message").get<std::string>(), HasSubstr("cannot connect"));
}

TEST(Cli, VersionIsTheProjects) {
  const nlohmann::json version = nlohmann::json::parse(RunWalferry({"version", "--json"}).out);
  EXPECT_THAT(RunWalferry({"version"}).out,
              StartsWith("walferry " + version.at("version").get<std::string>() + " "));
}

}  // namespace
}  // namespace walferry
