// What the tests of wrong input look at: one readable sentence, the exit code, and both databases as they
// were.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/server_pair.h"
#include "tests/support/walferry_process.h"

namespace walferry {

// Everything in a database that a migration could leave behind.
inline std::string Traces(Connection& connection) {
  return QueryText(
      connection,
      "SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp' UNION ALL "
      "SELECT relkind::text || ' ' || n.nspname || '.' || relname || ' ' || relfilenode FROM pg_class c "
      "JOIN pg_namespace n ON n.oid = relnamespace "
      "WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' UNION ALL "
      "SELECT 'slot ' || slot_name || ' ' || confirmed_flush_lsn FROM pg_replication_slots UNION ALL "
      "SELECT 'publication ' || pubname FROM pg_publication ORDER BY 1");
}

// What precedes the sentence that a log line or LogFatal carries.
inline std::string SentenceOf(const std::string& line) {
  for (const std::string start : {"walferry: ", " error ", " warning "}) {
    if (const std::size_t at = line.find(start); at != std::string::npos)
      return line.substr(at + start.size());
  }
  return line;
}

// No word twice in a row, no piece between two colons twice, and no tower of prefixes.
inline void ExpectReadable(const std::string& line) {
  const std::string sentence = SentenceOf(line);
  std::set<std::string> pieces;
  std::string rest = sentence;
  while (!rest.empty()) {
    const std::size_t colon = rest.find(": ");
    EXPECT_TRUE(pieces.insert(rest.substr(0, colon)).second) << "said twice: " << line;
    rest = colon == std::string::npos ? "" : rest.substr(colon + 2);
  }
  EXPECT_LE(pieces.size(), 6u) << "a tower of prefixes: " << line;
  std::istringstream words(sentence);
  std::string word;
  for (std::string last; words >> word; last = word) EXPECT_NE(word, last) << "in: " << line;
  EXPECT_GT(sentence.size(), 20u) << line;
  EXPECT_LT(sentence.size(), 400u) << line;
}

// The lines of stderr that a person has to read: all but info.
inline std::vector<std::string> Complaints(const std::string& err) {
  std::vector<std::string> complaints;
  std::istringstream lines(err);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" info ") == std::string::npos) complaints.push_back(line);
  }
  return complaints;
}

class BadInput : public ::testing::Test {
 protected:
  void SetUp() override {
    pair.RunOnSource(
        "create table t (id int primary key, a text); insert into t select g, 'row ' || g from "
        "generate_series(1, "
        "100) g");
  }

  std::vector<std::string> Arguments(std::vector<std::string> arguments) const {
    for (const auto& [option, value] :
         {std::pair<std::string, std::string>{"--source", pair.source_conninfo()},
          {"--target", pair.target_conninfo()}}) {
      if (std::find(arguments.begin(), arguments.end(), option) != arguments.end()) continue;
      arguments.push_back(option);
      arguments.push_back(value);
    }
    return arguments;
  }

  // Exit code, one sentence with all of `words`, and nothing changed on either side.
  void ExpectRefused(const std::vector<std::string>& arguments, int exit_code,
                     const std::vector<std::string>& words, const Environment& environment = {}) {
    const std::string source_before = Traces(pair.source());
    const std::string target_before = Traces(pair.target());
    const WalferryRun run = RunWalferry(Arguments(arguments), environment, absl::Seconds(30));
    SCOPED_TRACE(::testing::PrintToString(arguments) + "\n" + run.err);
    EXPECT_EQ(run.exit_code, exit_code);
    EXPECT_THAT(run.out, ::testing::IsEmpty());
    const std::vector<std::string> complaints = Complaints(run.err);
    // Blockers of the checks: a line each, and a last one that says that nothing was done.
    const bool checked = !complaints.empty() && complaints.back().find("found blockers") != std::string::npos;
    if (checked) {
      EXPECT_EQ(exit_code, 3);
    } else {
      EXPECT_EQ(complaints.size(), 1u);
    }
    for (const std::string& line : complaints) ExpectReadable(line);
    for (const std::string& word : words) EXPECT_THAT(run.err, ::testing::HasSubstr(word));
    EXPECT_EQ(Traces(pair.source()), source_before);
    EXPECT_EQ(Traces(pair.target()), target_before);
  }

  DatabasePair pair;
};

}  // namespace walferry
