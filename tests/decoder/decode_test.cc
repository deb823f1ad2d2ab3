#include "decoder/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/pgoutput_writer.h"

namespace walferry {
namespace {

using testing::HasSubstr;

// Decodes one message and takes it as a T; the bytes live as long as the result is used in one expression or
// in `kept`.
template <typename T>
T Take(Decoder& decoder, const std::string& bytes) {
  const absl::StatusOr<Message> message = decoder.Decode(bytes, Lsn{0x100});
  EXPECT_TRUE(message.ok()) << message.status();
  const T* taken = message.ok() ? std::get_if<T>(&*message) : nullptr;
  EXPECT_NE(taken, nullptr) << "another kind of message";
  return taken == nullptr ? T() : *taken;
}

template <typename T>
T Take(const std::string& bytes, const ProtocolOptions& options = {}) {
  Decoder decoder(options);
  return Take<T>(decoder, bytes);
}

void ExpectMalformed(const std::string& bytes, std::string_view text, const ProtocolOptions& options = {},
                     bool in_stream = false) {
  Decoder decoder(options);
  decoder.set_in_stream(in_stream);
  const absl::Status status = decoder.Decode(bytes, Lsn{0x16B374D848}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(status.ToString(), HasSubstr(std::string(text)));
  EXPECT_THAT(status.ToString(), HasSubstr("16/B374D848"));
}

TEST(DecodeTest, Begin) {
  const auto m = Take<BeginMessage>(PgoutputWriter().Begin(Lsn{1}, -2, 3));
  EXPECT_EQ(m.final_lsn, Lsn{1});
  EXPECT_EQ(m.commit_time, -2);
  EXPECT_EQ(m.xid, 3u);
}

TEST(DecodeTest, Commit) {
  const auto m = Take<CommitMessage>(PgoutputWriter().Commit(Lsn{1}, Lsn{2}, 3));
  EXPECT_EQ(m.commit_lsn, Lsn{1});
  EXPECT_EQ(m.end_lsn, Lsn{2});
  EXPECT_EQ(m.commit_time, 3);
}

TEST(DecodeTest, Origin) {
  const std::string bytes = PgoutputWriter().Origin(Lsn{1}, "upstream");
  const auto m = Take<OriginMessage>(bytes);
  EXPECT_EQ(m.origin_lsn, Lsn{1});
  EXPECT_EQ(m.name, "upstream");
}

TEST(DecodeTest, Relation) {
  const std::string bytes = PgoutputWriter().Relation(7, "public", "t", ReplicaIdentity::kIndex,
                                                      {{"id", 23, true}, {"code", 1043, false, 24}});
  const auto m = Take<RelationMessage>(bytes);
  EXPECT_EQ(m.relation_id, 7u);
  EXPECT_EQ(m.schema, "public");
  EXPECT_EQ(m.name, "t");
  EXPECT_EQ(m.replica_identity, ReplicaIdentity::kIndex);
  EXPECT_FALSE(m.stream_xid.has_value());
  ASSERT_EQ(m.columns.size(), 2);
  std::vector<RelationColumnView> columns;
  m.columns.ForEach([&](const RelationColumnView& column) { columns.push_back(column); });
  EXPECT_TRUE(columns[0].is_key);
  EXPECT_EQ(columns[0].name, "id");
  EXPECT_EQ(columns[0].type_oid, 23u);
  EXPECT_EQ(columns[0].typmod, -1);
  EXPECT_FALSE(columns[1].is_key);
  EXPECT_EQ(columns[1].name, "code");
  EXPECT_EQ(columns[1].typmod, 24);
}

TEST(DecodeTest, AnEmptySchemaMeansPgCatalog) {
  const PgoutputWriter writer;
  EXPECT_EQ(Take<RelationMessage>(writer.Relation(7, "", "t", ReplicaIdentity::kFull, {})).schema,
            "pg_catalog");
  EXPECT_EQ(Take<TypeMessage>(writer.Type(7, "", "int4")).schema, "pg_catalog");
}

TEST(DecodeTest, Type) {
  const std::string bytes = PgoutputWriter().Type(7, "public", "mood");
  const auto m = Take<TypeMessage>(bytes);
  EXPECT_EQ(m.type_oid, 7u);
  EXPECT_EQ(m.schema, "public");
  EXPECT_EQ(m.name, "mood");
}

TEST(DecodeTest, TheFourKindsOfColumnsStayApart) {
  const std::string bytes = PgoutputWriter().Insert(
      7, {NullColumn(), UnchangedToastColumn(), TextColumn(""), TextColumn("text"), BinaryColumn("\xff")});
  const auto m = Take<InsertMessage>(bytes);
  EXPECT_EQ(m.relation_id, 7u);
  EXPECT_EQ(m.new_tuple.size(), 5);
  std::vector<std::pair<ColumnKind, std::string_view>> columns;
  for (const ColumnView column : m.new_tuple) columns.emplace_back(column.kind, column.value);
  const std::vector<std::pair<ColumnKind, std::string_view>> expected = {{ColumnKind::kNull, ""},
                                                                         {ColumnKind::kUnchangedToast, ""},
                                                                         {ColumnKind::kText, ""},
                                                                         {ColumnKind::kText, "text"},
                                                                         {ColumnKind::kBinary, "\xff"}};
  EXPECT_EQ(columns, expected);
}

TEST(DecodeTest, ARowWithoutColumns) {
  const std::string bytes = PgoutputWriter().Insert(7, {});
  const auto m = Take<InsertMessage>(bytes);
  EXPECT_TRUE(m.new_tuple.empty());
  EXPECT_EQ(m.new_tuple.begin(), m.new_tuple.end());
}

TEST(DecodeTest, ValuesBorrowThePayload) {
  const std::string bytes = PgoutputWriter().Insert(7, {TextColumn("value")});
  const auto m = Take<InsertMessage>(bytes);
  EXPECT_EQ((*m.new_tuple.begin()).value.data(), bytes.data() + bytes.size() - 5);
}

TEST(DecodeTest, UpdateWithoutAnOldTuple) {
  const std::string bytes = PgoutputWriter().Update(7, {TextColumn("new")});
  const auto m = Take<UpdateMessage>(bytes);
  EXPECT_EQ(m.old_kind, OldTuple::kNone);
  EXPECT_TRUE(m.old_tuple.empty());
  EXPECT_EQ((*m.new_tuple.begin()).value, "new");
}

TEST(DecodeTest, UpdateWithAKeyOrAWholeOldTuple) {
  for (const OldTuple kind : {OldTuple::kKey, OldTuple::kFull}) {
    const std::string bytes =
        PgoutputWriter().Update(7, kind, {TextColumn("old")}, {TextColumn("new"), NullColumn()});
    const auto m = Take<UpdateMessage>(bytes);
    EXPECT_EQ(m.old_kind, kind);
    EXPECT_EQ(m.old_tuple.size(), 1);
    EXPECT_EQ((*m.old_tuple.begin()).value, "old");
    EXPECT_EQ(m.new_tuple.size(), 2);
    EXPECT_EQ((*m.new_tuple.begin()).value, "new");
  }
}

TEST(DecodeTest, DeleteWithAKeyOrAWholeOldTuple) {
  for (const OldTuple kind : {OldTuple::kKey, OldTuple::kFull}) {
    const std::string bytes = PgoutputWriter().Delete(7, kind, {TextColumn("old")});
    const auto m = Take<DeleteMessage>(bytes);
    EXPECT_EQ(m.old_kind, kind);
    EXPECT_EQ((*m.old_tuple.begin()).value, "old");
  }
}

TEST(DecodeTest, Truncate) {
  for (const bool cascade : {false, true}) {
    for (const bool restart_identity : {false, true}) {
      const std::string bytes = PgoutputWriter().Truncate({7, 0x80000001}, cascade, restart_identity);
      const auto m = Take<TruncateMessage>(bytes);
      EXPECT_EQ(m.cascade, cascade);
      EXPECT_EQ(m.restart_identity, restart_identity);
      ASSERT_EQ(m.relation_ids.size(), 2u);
      EXPECT_EQ(m.relation_ids[0], 7u);
      EXPECT_EQ(m.relation_ids[1], 0x80000001);
    }
  }
}

TEST(DecodeTest, LogicalMessageWithAnyBytes) {
  const std::string content("a\0b", 3);
  for (const bool transactional : {false, true}) {
    const std::string bytes = PgoutputWriter().LogicalMessage(transactional, Lsn{9}, "prefix", content);
    const auto m = Take<LogicalMessage>(bytes);
    EXPECT_EQ(m.transactional, transactional);
    EXPECT_EQ(m.lsn, Lsn{9});
    EXPECT_EQ(m.prefix, "prefix");
    EXPECT_EQ(m.content, content);
  }
}

TEST(DecodeTest, StreamCommit) {
  const auto m = Take<StreamCommitMessage>(PgoutputWriter().StreamCommit(1, Lsn{2}, Lsn{3}, 4));
  EXPECT_EQ(m.xid, 1u);
  EXPECT_EQ(m.commit_lsn, Lsn{2});
  EXPECT_EQ(m.end_lsn, Lsn{3});
  EXPECT_EQ(m.commit_time, 4);
}

TEST(DecodeTest, AStreamAbortHasItsPositionWithParallelStreamingOnly) {
  const ProtocolOptions parallel = {.proto_version = 4, .streaming = Streaming::kParallel};
  const ProtocolOptions on = {.proto_version = 4, .streaming = Streaming::kOn};
  const std::string with_position = PgoutputWriter(Streaming::kParallel).StreamAbort(1, 2, Lsn{3}, 4);
  const std::string without = PgoutputWriter(Streaming::kOn).StreamAbort(1, 2);

  const auto m = Take<StreamAbortMessage>(with_position, parallel);
  EXPECT_EQ(m.xid, 1u);
  EXPECT_EQ(m.subxid, 2u);
  EXPECT_EQ(m.abort_lsn, Lsn{3});
  EXPECT_EQ(m.abort_time, 4);
  EXPECT_FALSE(Take<StreamAbortMessage>(without, on).abort_lsn.valid());
  ExpectMalformed(with_position, "stream_abort message (type 0x41)", on);
  ExpectMalformed(without, "message ends too early, at offset 9 of 9", parallel);
}

TEST(DecodeTest, AStrayStreamAbortOnProtocolOneIsAccepted) {
  EXPECT_EQ(Take<StreamAbortMessage>(PgoutputWriter().StreamAbort(1, 2), {.proto_version = 1}).subxid, 2u);
}

template <typename T>
void ExpectPrepareFields(const std::string& bytes) {
  const T m = Take<T>(bytes);
  EXPECT_EQ(m.prepare_lsn, Lsn{1});
  EXPECT_EQ(m.end_lsn, Lsn{2});
  EXPECT_EQ(m.prepare_time, 3);
  EXPECT_EQ(m.xid, 4u);
  EXPECT_EQ(m.gid, "gid");
}

TEST(DecodeTest, BeginPrepareAndPrepareAndStreamPrepare) {
  const PgoutputWriter writer;
  ExpectPrepareFields<BeginPrepareMessage>(writer.BeginPrepare(Lsn{1}, Lsn{2}, 3, 4, "gid"));
  ExpectPrepareFields<PrepareMessage>(writer.Prepare(Lsn{1}, Lsn{2}, 3, 4, "gid"));
  ExpectPrepareFields<StreamPrepareMessage>(writer.StreamPrepare(Lsn{1}, Lsn{2}, 3, 4, "gid"));
}

TEST(DecodeTest, CommitPrepared) {
  const std::string bytes = PgoutputWriter().CommitPrepared(Lsn{1}, Lsn{2}, 3, 4, "gid");
  const auto m = Take<CommitPreparedMessage>(bytes);
  EXPECT_EQ(m.commit_lsn, Lsn{1});
  EXPECT_EQ(m.end_lsn, Lsn{2});
  EXPECT_EQ(m.commit_time, 3);
  EXPECT_EQ(m.xid, 4u);
  EXPECT_EQ(m.gid, "gid");
}

TEST(DecodeTest, RollbackPrepared) {
  const std::string bytes = PgoutputWriter().RollbackPrepared(Lsn{1}, Lsn{2}, 3, 4, 5, "gid");
  const auto m = Take<RollbackPreparedMessage>(bytes);
  EXPECT_EQ(m.prepare_end_lsn, Lsn{1});
  EXPECT_EQ(m.rollback_end_lsn, Lsn{2});
  EXPECT_EQ(m.prepare_time, 3);
  EXPECT_EQ(m.rollback_time, 4);
  EXPECT_EQ(m.xid, 5u);
  EXPECT_EQ(m.gid, "gid");
}

TEST(DecodeTest, ChangesCarryATransactionIdInsideOfStreamBlocksOnly) {
  Decoder decoder({.proto_version = 2, .streaming = Streaming::kOn});
  PgoutputWriter writer(Streaming::kOn);
  EXPECT_FALSE(Take<InsertMessage>(decoder, writer.Insert(7, {})).stream_xid.has_value());

  const auto start = Take<StreamStartMessage>(decoder, writer.StreamStart(500, true));
  EXPECT_EQ(start.xid, 500u);
  EXPECT_TRUE(start.first_segment);
  EXPECT_TRUE(decoder.in_stream());
  writer.set_change_xid(501);
  const ReplicaIdentity identity = ReplicaIdentity::kDefault;
  EXPECT_EQ(Take<RelationMessage>(decoder, writer.Relation(7, "s", "t", identity, {})).stream_xid, 501u);
  EXPECT_EQ(Take<TypeMessage>(decoder, writer.Type(8, "s", "t")).stream_xid, 501u);
  EXPECT_EQ(Take<InsertMessage>(decoder, writer.Insert(7, {})).stream_xid, 501u);
  EXPECT_EQ(Take<UpdateMessage>(decoder, writer.Update(7, {})).stream_xid, 501u);
  EXPECT_EQ(Take<DeleteMessage>(decoder, writer.Delete(7, OldTuple::kKey, {})).stream_xid, 501u);
  EXPECT_EQ(Take<TruncateMessage>(decoder, writer.Truncate({7}, false, false)).stream_xid, 501u);
  EXPECT_EQ(Take<LogicalMessage>(decoder, writer.LogicalMessage(true, {}, "", "")).stream_xid, 501u);
  Take<OriginMessage>(decoder, writer.Origin({}, "upstream"));
  Take<StreamStopMessage>(decoder, writer.StreamStop());

  EXPECT_FALSE(decoder.in_stream());
  EXPECT_FALSE(Take<InsertMessage>(decoder, writer.Insert(7, {})).stream_xid.has_value());
  EXPECT_FALSE(Take<StreamStartMessage>(decoder, writer.StreamStart(500, false)).first_segment);
}

TEST(DecodeTest, StreamBlocksDoNotNestAndDoNotEndTwice) {
  ExpectMalformed(PgoutputWriter().StreamStart(1, true), "malformed stream_start message (type 0x53)", {},
                  true);
  ExpectMalformed(PgoutputWriter().StreamStop(), "no stream block is open", {}, false);
}

TEST(DecodeTest, WhatEndsTransactionsIsRejectedInsideOfAStreamBlock) {
  const PgoutputWriter writer;
  for (const std::string& bytes :
       {writer.Begin({}, 0, 1), writer.Commit({}, {}, 0), writer.StreamCommit(1, {}, {}, 0),
        writer.StreamAbort(1, 1), writer.BeginPrepare({}, {}, 0, 1, "g"), writer.Prepare({}, {}, 0, 1, "g"),
        writer.CommitPrepared({}, {}, 0, 1, "g"), writer.RollbackPrepared({}, {}, 0, 0, 1, "g"),
        writer.StreamPrepare({}, {}, 0, 1, "g")}) {
    ExpectMalformed(bytes, "not allowed inside a stream block", {}, true);
  }
}

TEST(DecodeTest, ErrorsNameTypeAndLsnAndOffset) {
  ExpectMalformed("", "malformed message at LSN 16/B374D848: empty");
  ExpectMalformed(
      "z",
      "malformed unknown message (type 0x7a) at LSN 16/B374D848: unknown message type, at offset 0 of 1");
  ExpectMalformed(
      PgoutputWriter().Begin({}, 0, 1) + "x",
      "malformed begin message (type 0x42) at LSN 16/B374D848: trailing bytes, at offset 21 of 22");
}

TEST(DecodeTest, UnknownTagsAreRejected) {
  const PgoutputWriter writer;
  std::string column = writer.Insert(7, {NullColumn(), NullColumn()});
  column[9] = 'x';
  ExpectMalformed(column, "unknown column tag, at offset 9 of 10");
  std::string insert = writer.Insert(7, {});
  insert[5] = 'K';
  ExpectMalformed(insert, "expected the tag 'N' of a new tuple, at offset 5");
  std::string update = writer.Update(7, {});
  update[5] = 'X';
  ExpectMalformed(update, "expected the tag 'K', 'O' or 'N' of a tuple, at offset 5");
  std::string removal = writer.Delete(7, OldTuple::kKey, {});
  removal[5] = 'N';
  ExpectMalformed(removal, "expected the tag 'K' or 'O' of an old tuple, at offset 5");
  std::string relation = writer.Relation(7, "s", "t", ReplicaIdentity::kFull, {});
  relation[9] = 'x';
  ExpectMalformed(relation, "unknown replica identity, at offset 9");
}

TEST(DecodeTest, LengthsThatDoNotFitAreRejected) {
  const PgoutputWriter writer;
  std::string negative = writer.Insert(7, {TextColumn("value")});
  negative.replace(9, 4, "\xff\xff\xff\xff");
  ExpectMalformed(negative, "length goes beyond the end of the message, at offset 13");
  std::string oversized = writer.Insert(7, {TextColumn("value")});
  oversized[12] = 6;
  ExpectMalformed(oversized, "length goes beyond the end of the message, at offset 13");
  std::string columns = writer.Insert(7, {});
  columns.replace(6, 2, "\x80\x01");
  ExpectMalformed(columns, "negative number of columns, at offset 6");
  std::string relations = writer.Truncate({7}, false, false);
  relations.replace(1, 4, "\x40\x00\x00\x01", 4);
  ExpectMalformed(relations, "length goes beyond the end of the message, at offset 6");
  ExpectMalformed(writer.LogicalMessage(true, {}, "p", "content").substr(0, 20),
                  "length goes beyond the end");
  ExpectMalformed(PgoutputWriter().Origin({}, "name").substr(0, 12), "string without its terminating NUL");
}

TEST(DecodeTest, FlagsWithoutAMeaningAreRejected) {
  const PgoutputWriter writer;
  std::string commit = writer.Commit({}, {}, 0);
  commit[1] = 1;
  ExpectMalformed(commit, "unknown flag, at offset 1");
  std::string truncate = writer.Truncate({}, true, true);
  truncate[5] = 4;
  ExpectMalformed(truncate, "unknown flag, at offset 5");
  std::string column = writer.Relation(7, "", "", ReplicaIdentity::kFull, {{"c"}});
  column[10] = 2;
  ExpectMalformed(column, "unknown flag, at offset 10");
}

TEST(DecodeTest, AnErrorDoesNotShowValues) {
  const std::string bytes = PgoutputWriter().Insert(7, {TextColumn("secret")}) + "secret";
  EXPECT_THAT(Decoder({}).Decode(bytes, {}).status().ToString(), testing::Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace walferry
