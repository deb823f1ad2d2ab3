// walferry dump against real servers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/time/clock.h"
#include "stream/child_process.h"
#include "tests/support/server_pair.h"
#include "tests/support/walferry_process.h"

namespace walferry {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;

class Dump : public ::testing::Test {
 protected:
  // Table t, publication p for all that is there, and slot NAME_s, at whose beginning nothing has happened.
  void Prepare(const std::string& ddl = "create table t (id int primary key, a text)") {
    pair_.RunOnSource(ddl);
    pair_.RunOnSource("create publication p for all tables");
    pair_.RunOnSource("select pg_create_logical_replication_slot('" + slot() + "', 'pgoutput')");
  }
  std::string slot() const { return pair_.name() + "_s"; }

  WalferryRun Run(std::vector<std::string> extra) {
    std::vector<std::string> arguments = {"dump",   "--source", pair_.source_conninfo(), "--publication", "p",
                                          "--slot", slot()};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    return RunWalferry(arguments);
  }
  // The JSON lines of a run that has to succeed.
  std::vector<json> Lines(std::vector<std::string> extra = {}) {
    extra.insert(extra.end(), {"--format", "json"});
    const WalferryRun run = Run(std::move(extra));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return Parse(run.out);
  }
  static std::vector<json> Parse(const std::string& out) {
    std::vector<json> lines;
    std::istringstream stream(out);
    for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
    return lines;
  }
  static std::vector<std::string> Kinds(const std::vector<json>& lines) {
    std::vector<std::string> kinds;
    for (const json& line : lines) kinds.push_back(line.at("kind"));
    return kinds;
  }
  static std::vector<json> OfKind(const std::vector<json>& lines, const std::string& kind) {
    std::vector<json> found;
    for (const json& line : lines) {
      if (line.at("kind") == kind) found.push_back(line);
    }
    return found;
  }
  std::string SlotPosition() {
    return QueryText(
        pair_.source(),
        "select confirmed_flush_lsn from pg_replication_slots where slot_name = '" + slot() + "'");
  }

  DatabasePair pair_;
};

TEST_F(Dump, PrintsEveryChangeAndLeavesTheSlotWhereItIs) {
  Prepare();
  pair_.RunOnSource("insert into t values (1, 'x'), (2, null)");
  pair_.RunOnSource("update t set id = 3, a = 'y' where id = 2");
  pair_.RunOnSource("delete from t where id = 1");
  pair_.RunOnSource("truncate t restart identity");
  const std::string before = SlotPosition();
  const std::vector<json> lines = Lines();
  ASSERT_THAT(Kinds(lines),
              ElementsAre("begin", "relation", "insert", "insert", "commit", "begin", "update", "commit",
                          "begin", "delete", "commit", "begin", "relation", "truncate", "commit"));
  EXPECT_EQ(lines[2].at("new"), (json{{"id", "1"}, {"a", "x"}}));
  EXPECT_EQ(lines[3].at("new"), (json{{"id", "2"}, {"a", nullptr}}));
  EXPECT_EQ(lines[6].at("key"), (json{{"id", "2"}}));
  EXPECT_EQ(lines[6].at("new"), (json{{"id", "3"}, {"a", "y"}}));
  EXPECT_EQ(lines[9].at("key"), (json{{"id", "1"}}));
  EXPECT_EQ(lines[13].at("tables"), (json::array({{{"schema", "public"}, {"table", "t"}}})));
  EXPECT_TRUE(lines[13].at("restart_identity").get<bool>());
  for (const json& line : lines) {
    EXPECT_THAT(line.at("commit_time").get<std::string>(),
                ::testing::MatchesRegex("20..-..-..T..:..:..\\.......Z"));
    EXPECT_TRUE(line.contains("xid") && line.contains("commit_lsn")) << line;
  }
  EXPECT_EQ(SlotPosition(), before);
  EXPECT_EQ(Lines(), lines);
}

TEST_F(Dump, TextHasOneLineAMessage) {
  Prepare();
  pair_.RunOnSource("insert into t values (1, E'two\\nlines')");
  const WalferryRun run = Run({});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(std::count(run.out.begin(), run.out.end(), '\n'), 4);
  EXPECT_THAT(run.out,
              AllOf(HasSubstr("insert relation="), HasSubstr("public.t new(id='1', a='two\\nlines')")));
}

TEST_F(Dump, ConsumeMovesTheSlotBehindWhatWasPrinted) {
  Prepare();
  pair_.RunOnSource("insert into t values (1, 'x')");
  EXPECT_THAT(Kinds(Lines({"--consume"})), Contains("insert"));
  EXPECT_THAT(Lines(), IsEmpty());
  pair_.RunOnSource("insert into t values (2, 'x')");
  EXPECT_THAT(Kinds(Lines()), ElementsAre("begin", "relation", "insert", "commit"));
}

TEST_F(Dump, UntilEndsBeforeTheTransactionThatIsThere) {
  Prepare();
  pair_.RunOnSource("insert into t values (1, 'x')");
  const std::string middle = QueryText(pair_.source(), "select pg_current_wal_insert_lsn()");
  pair_.RunOnSource("insert into t values (2, 'x')");
  const std::vector<json> inserts = OfKind(Lines({"--until", middle}), "insert");
  ASSERT_EQ(inserts.size(), 1U);
  EXPECT_EQ(inserts[0].at("new").at("id"), "1");
  // And from there on the other.
  const std::vector<json> rest = OfKind(Lines({"--from", middle}), "insert");
  ASSERT_EQ(rest.size(), 1U);
  EXPECT_EQ(rest[0].at("new").at("id"), "2");
}

TEST_F(Dump, TablesLeaveOutWhatIsOfOthersAndTransactionsWithoutAny) {
  Prepare(
      "create table t (id int primary key); create table u (id int primary key);"
      "create table parts (id int primary key) partition by range (id);"
      "create table parts_1 partition of parts for values from (0) to (10)");
  pair_.RunOnSource("insert into u values (1)");
  pair_.RunOnSource("begin; insert into u values (2); insert into t values (2); commit");
  pair_.RunOnSource("insert into parts values (3)");
  EXPECT_THAT(Kinds(Lines({"--tables", "public.t"})), ElementsAre("begin", "relation", "insert", "commit"));
  EXPECT_THAT(Kinds(Lines({"--tables", "public.parts"})),
              ElementsAre("begin", "relation", "insert", "commit"));
  EXPECT_THAT(OfKind(Lines({"--exclude-tables", "public.u"}), "insert").size(), 2U);
}

TEST_F(Dump, XidShowsOneTransaction) {
  Prepare();
  pair_.RunOnSource("insert into t values (1, 'x')");
  pair_.RunOnSource("insert into t values (2, 'x')");
  const std::vector<json> all = Lines();
  const std::string xid = std::to_string(all.back().at("xid").get<int>());
  const std::vector<json> one = Lines({"--xid", xid});
  ASSERT_THAT(Kinds(one), ElementsAre("begin", "insert", "commit"));
  EXPECT_EQ(one[1].at("new").at("id"), "2");
}

TEST_F(Dump, StreamedTransactionsAreShownAsTheyCome) {
  Prepare();
  pair_.RunOnSource("alter database " + pair_.name() + " set logical_decoding_work_mem = '64kB'");
  pair_.RunOnSource(
      "begin; insert into t select i, repeat('x', 100) from generate_series(1, 2000) i; savepoint s;"
      "insert into t select i, repeat('y', 100) from generate_series(2001, 4000) i; rollback to s;"
      "insert into t values (4001, 'last'); commit");
  const std::vector<json> lines = Lines({"--streaming", "on"});
  EXPECT_THAT(Kinds(lines), IsSupersetOf({"stream_start", "stream_stop", "stream_commit"}));
  EXPECT_EQ(lines.back().at("kind"), "stream_commit");
  const std::vector<json> inserts = OfKind(lines, "insert");
  EXPECT_EQ(inserts.back().at("new").at("a"), "last");
  for (const json& line : lines) EXPECT_EQ(line.at("xid"), lines.front().at("xid"));
  // A change inside the savepoint names its own transaction, too.
  EXPECT_THAT(inserts, Contains(::testing::Truly([](const json& line) { return line.contains("subxid"); })));
  EXPECT_EQ(OfKind(Lines(), "insert").size(), 2001U);
}

TEST_F(Dump, LogicalMessagesAreShownUnlessRefused) {
  Prepare();
  pair_.RunOnSource("select pg_logical_emit_message(false, 'outside', 'a')");
  pair_.RunOnSource("select pg_logical_emit_message(true, 'inside', 'b')");
  const std::vector<json> messages = OfKind(Lines(), "message");
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(messages[0].at("prefix"), "outside");
  EXPECT_FALSE(messages[0].at("transactional").get<bool>());
  EXPECT_FALSE(messages[0].contains("xid"));
  EXPECT_EQ(messages[1].at("content"), "b");
  EXPECT_TRUE(messages[1].contains("xid"));
  EXPECT_THAT(OfKind(Lines({"--no-messages"}), "message"), IsEmpty());
}

TEST_F(Dump, UnchangedToastIsNeitherNullNorText) {
  Prepare();
  pair_.RunOnSource("alter table t alter a set storage external");
  pair_.RunOnSource("insert into t values (1, repeat('x', 10000))");
  pair_.RunOnSource("alter table t add b int");
  pair_.RunOnSource("update t set b = 1");
  const std::vector<json> updates = OfKind(Lines(), "update");
  ASSERT_EQ(updates.size(), 1U);
  EXPECT_EQ(updates[0].at("new"), (json{{"id", "1"}, {"a", {{"unchanged_toast", true}}}, {"b", "1"}}));
}

// One row for each value that a type prints in its own way.
constexpr const char* kValues = R"(
create table v (id int primary key, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric, t text, c char(5),
                vc varchar(9), u uuid, o oid, d date, tm time, ts timestamp, tz timestamptz, j json, jb jsonb, by bytea);
)";
constexpr const char* kInsertValues = R"(
insert into v (id, b, i2, i8, t, c, vc, u, o, j, jb, by) values
  (1, true, -32768, -9223372036854775808, E'a\nb', 'ab', 'x', '6ecd8c99-4036-403d-bf84-cf8400f67836', 4294967295,
   '{"a":  1}', '{"b": [1, null]}', '\xdeadbeef'),
  (2, false, 32767, 9223372036854775807, '', '', '', '00000000-0000-0000-0000-000000000000', 0, 'null', '""', '');
insert into v (id, d, tm, ts, tz) values
  (10, '2000-01-01', '00:00', '2000-01-01', '2000-01-01 00:00+00'),
  (11, '0044-03-15 BC', '23:59:59.999999', '0044-03-15 12:00 BC', '0001-01-01 00:00+00 BC'),
  (12, 'infinity', '24:00', 'infinity', '-infinity'),
  (13, '5874897-12-31', '01:02:03.1', '294276-12-31 23:59:59.999999', '1999-12-31 23:59:59.5+00'),
  (14, '4713-01-01 BC', '12:00', '1969-12-31 23:59:59.999999', '2024-02-29 12:00+05:30');
insert into v (id, n) select 100 + row_number() over (), n::numeric from unnest(array['0', '0.000', '-1', '10000',
  '9999', '100000000', '0.0001', '0.00001', '-0.00012345678', '12345.6789', '1e30', '1e-30', '123456789012345678901234567890.1234567890',
  'NaN', 'Infinity', '-Infinity', '10000.00', '-99999999.5000']) n;
insert into v (id, f8) select 200 + row_number() over (), f from unnest(array['0', '-0', '1', '0.1', '1e15', '1e14', '123456789012345',
  '1234567890123456', '1e-4', '1e-5', '0.00012345', '5e-324', '1.7976931348623157e308', 'NaN', 'Infinity', '-Infinity', '9007199254740993',
  '1e23', '2e22', '9.5367431640625e-07', '123456.789', '100']::float8[]) f;
insert into v (id, f4) select 300 + row_number() over (), f from unnest(array['0', '-0', '1.5e10', '1e6', '999999', '1000000', '123456',
  '1234567', '0.1', '1e-4', '1e-5', '3.4028235e38', '1e-45', '16777216', '33554432', '8.5e9', 'NaN', '-Infinity']::float4[]) f;
insert into v (id, f8) select 1000 + i, (sin(i) * power(10, (i % 600) - 300))::float8 from generate_series(1, 600) i;
insert into v (id, f4) select 2000 + i, (sin(i) * power(10, (i % 70) - 35))::float4 from generate_series(1, 280) i;
insert into v (id, f4) select 3000 + i, power(2, i - 140)::float4 from generate_series(1, 260) i;
insert into v (id, f8) select 4000 + i, power(2, i - 1000)::float8 from generate_series(1, 2000) i;
insert into v (id, n) select 7000 + i, (sin(i) * power(10::numeric, (i % 40) - 20))::numeric from generate_series(1, 200) i;
)";

TEST_F(Dump, BinaryValuesPrintAsTheServerPrintsThem) {
  Prepare(kValues);
  pair_.RunOnSource(kInsertValues);
  const std::vector<json> text = OfKind(Lines(), "insert");
  const std::vector<json> binary = OfKind(Lines({"--binary"}), "insert");
  ASSERT_EQ(text.size(), binary.size());
  ASSERT_GT(text.size(), 3000U);
  for (std::size_t i = 0; i < text.size(); ++i) EXPECT_EQ(binary[i].at("new"), text[i].at("new"));
}

TEST_F(Dump, BinaryValuesOfUnknownTypesAreHex) {
  Prepare("create table t (id int primary key, a int[], p point)");
  pair_.RunOnSource("insert into t values (1, '{7}', null)");
  const std::vector<json> inserts = OfKind(Lines({"--binary"}), "insert");
  ASSERT_EQ(inserts.size(), 1U);
  EXPECT_EQ(inserts[0].at("new").at("id"), "1");
  EXPECT_THAT(inserts[0].at("new").at("a").at("binary").get<std::string>(),
              ::testing::EndsWith("0000000400000007"));
  EXPECT_EQ(inserts[0].at("new").at("p"), nullptr);
}

TEST_F(Dump, StatsCountByTableAndKind) {
  Prepare();
  pair_.RunOnSource("insert into t values (1, 'x'), (2, 'y')");
  pair_.RunOnSource("delete from t where id = 1");
  const std::vector<json> lines = Lines({"--stats"});
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].at("transactions"), 2);
  EXPECT_GT(lines[0].at("largest_transaction").at("bytes"), 0);
  std::map<std::string, int> messages;
  for (const json& kind : lines[0].at("kinds")) {
    messages[kind.at("kind")] = kind.at("messages");
    if (kind.at("kind") == "insert") {
      EXPECT_EQ(kind.at("table"), "public.t");
    }
  }
  EXPECT_EQ(messages["insert"], 2);
  EXPECT_EQ(messages["delete"], 1);
  EXPECT_EQ(messages["commit"], 2);
  EXPECT_THAT(Run({"--stats"}).out, AllOf(HasSubstr("public.t"), HasSubstr("2 transactions")));
}

TEST_F(Dump, WithoutASlotFollowsFromNowAndLeavesNothingBehind) {
  Prepare();
  pair_.RunOnSource("insert into t values (1, 'before')");
  WalferryProcess dump(
      {"dump", "--source", pair_.source_conninfo(), "--publication", "p", "--format", "json"});
  const std::string slots =
      "select count(*) from pg_replication_slots where temporary and active and database = '" + pair_.name() +
      "'";
  ASSERT_TRUE(WaitUntil([&] { return QueryText(pair_.source(), slots) == "1"; })) << dump.err();
  pair_.RunOnSource("insert into t values (2, 'after')");
  ASSERT_TRUE(WaitUntil([&] { return dump.out().find("\"commit\"") != std::string::npos; })) << dump.err();
  dump.Signal(SIGINT);
  EXPECT_EQ(dump.Wait(), 0) << dump.err();
  EXPECT_THAT(dump.out(), AllOf(HasSubstr("after"), Not(HasSubstr("before"))));
  EXPECT_TRUE(WaitUntil([&] { return QueryText(pair_.source(), slots) == "0"; }));
}

TEST_F(Dump, WhatDoesNotExistIsSaidInOneSentence) {
  Prepare();
  const std::string source = pair_.source_conninfo();
  const WalferryRun no_publication =
      RunWalferry({"dump", "--source", source, "--slot", slot(), "--publication", "q"});
  EXPECT_EQ(no_publication.exit_code, 1);
  EXPECT_EQ(no_publication.err, "walferry: there is no publication q on the source\n");
  const WalferryRun no_slot =
      RunWalferry({"dump", "--source", source, "--slot", "nobody", "--publication", "p"});
  EXPECT_EQ(no_slot.exit_code, 1);
  EXPECT_EQ(no_slot.err, "walferry: there is no replication slot nobody on the source\n");
  pair_.RunOnSource("insert into t values (1, 'x')");
  Lines({"--consume"});
  EXPECT_EQ(Run({"--from", "0/1"}).exit_code, 1);
}

TEST_F(Dump, ReaderThatHadEnoughIsNoFailureAndAFullDiskIs) {
  Prepare();
  pair_.RunOnSource("insert into t select i, repeat('x', 100) from generate_series(1, 20000) i");
  const std::string command = std::string(WALFERRY_BINARY) + " dump --source '" + pair_.source_conninfo() +
                              "' --publication p --slot " + slot();
  const auto run = [](const std::string& script) {
    ChildOptions options;
    options.argv = {"/bin/bash", "-o", "pipefail", "-c", script};
    absl::StatusOr<ChildProcess> child = ChildProcess::Start(options);
    EXPECT_TRUE(child.ok()) << child.status();
    return child->Wait(absl::Now() + absl::Minutes(1));
  };
  EXPECT_EQ(run(command + " | head -1"), 0);
  EXPECT_EQ(run(command + " --stats > /dev/full"), 1);
  EXPECT_EQ(run(command + " > /dev/full"), 1);
}

TEST_F(Dump, ServerThatShutsDownFastIsNotHeldUp) {
  ThrowawayServerOptions options;
  options.name = "shutdown";
  const auto server = ThrowawayServer::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  Connection source = MustConnect((*server)->Conninfo("postgres"));
  RunSql(source, "create table t (id int primary key); create publication p for all tables");
  QueryText(source, "select pg_create_logical_replication_slot('s', 'pgoutput')");
  RunSql(source, "insert into t values (1)");
  WalferryProcess dump(
      {"dump", "--source", (*server)->Conninfo("postgres"), "--publication", "p", "--slot", "s", "--follow"});
  ASSERT_TRUE(WaitUntil([&] { return dump.out().find("commit ") != std::string::npos; })) << dump.err();
  const absl::Status stopped = (*server)->Stop("fast");
  EXPECT_TRUE(stopped.ok()) << stopped;
  EXPECT_EQ(dump.Wait(), 75) << dump.err();
}

TEST_F(Dump, ProtocolVersionIsTheOneAskedFor) {
  Prepare();
  pair_.RunOnSource("insert into t values (1, 'x')");
  EXPECT_THAT(Kinds(Lines({"--proto-version", "1"})), ElementsAre("begin", "relation", "insert", "commit"));
  const WalferryRun run = Run({"--proto-version", "1", "--streaming", "on"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("need 2 or higher"));
}

}  // namespace
}  // namespace walferry
