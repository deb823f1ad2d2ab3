#include "decoder/relation.h"

#include <gtest/gtest.h>

#include "decoder/decode.h"
#include "tests/support/pgoutput_writer.h"

namespace walferry {
namespace {

// The description of relation 7 with one column, `column`.
class Description {
 public:
  explicit Description(const std::string& column, bool is_key = true, std::string_view schema = "public",
                       ReplicaIdentity identity = ReplicaIdentity::kDefault)
      : bytes_(PgoutputWriter().Relation(7, schema, "t", identity, {{column, 23, is_key}})),
        message_(std::get<RelationMessage>(Decoder({}).Decode(bytes_, {}).value())) {}
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

  operator const RelationMessage&() const { return message_; }

 private:
  std::string bytes_;
  RelationMessage message_;
};

TEST(RelationCacheTest, KeepsWhatTheMessageSaidAfterItsBytesAreGone) {
  RelationCache cache;
  {
    const std::string bytes = PgoutputWriter().Relation(7, "public", "t", ReplicaIdentity::kFull,
                                                        {{"id", 23, true}, {"code", 1043, true, 24}});
    const Message message = Decoder({}).Decode(bytes, {}).value();
    cache.Put(std::get<RelationMessage>(message), cache.NextArrival());
  }
  const Relation expected = {.id = 7,
                             .schema = "public",
                             .name = "t",
                             .replica_identity = ReplicaIdentity::kFull,
                             .columns = {{"id", 23, -1, true}, {"code", 1043, 24, true}}};
  ASSERT_NE(cache.Find(7), nullptr);
  EXPECT_EQ(*cache.Find(7), expected);
  EXPECT_EQ(cache.Find(7)->FullName(), "public.t");
  EXPECT_EQ(cache.Find(8), nullptr);
}

TEST(RelationCacheTest, AnEqualDescriptionGivesTheSamePointerAndADifferentOneAnother) {
  RelationCache cache;
  const Relation* first = cache.Put(Description("a"), cache.NextArrival());
  EXPECT_EQ(cache.Put(Description("a"), cache.NextArrival()), first);
  const Relation* renamed = cache.Put(Description("b"), cache.NextArrival());
  EXPECT_NE(renamed, first);
  EXPECT_EQ(cache.Find(7), renamed);
  EXPECT_EQ(first->columns[0].name, "a") << "the old shape stays for those who hold it";
  EXPECT_EQ(cache.Put(Description("a"), cache.NextArrival()), first)
      << "a shape that comes back is the old one";
  EXPECT_NE(cache.Put(Description("a", false), cache.NextArrival()), first);
  EXPECT_NE(cache.Put(Description("a", true, "other"), cache.NextArrival()), first);
  EXPECT_NE(cache.Put(Description("a", true, "public", ReplicaIdentity::kIndex), cache.NextArrival()), first);
}

TEST(RelationCacheTest, TheServersOwnSchemaIsNamedInFull) {
  RelationCache cache;
  EXPECT_EQ(cache.Put(Description("a", true, ""), cache.NextArrival())->FullName(), "pg_catalog.t");
}

TEST(RelationCacheTest, AStreamedDescriptionHoldsForItsTransactionAloneUntilItCommits) {
  RelationCache cache;
  const Relation* global = cache.Put(Description("a"), cache.NextArrival());
  const Relation* streamed = cache.PutStreamed(100, Description("b"), cache.NextArrival());
  EXPECT_EQ(cache.FindStreamed(100, 7), streamed);
  EXPECT_EQ(cache.FindStreamed(200, 7), global);
  EXPECT_EQ(cache.Find(7), global);
  cache.CommitStreamed(100);
  EXPECT_EQ(cache.Find(7), streamed);
  EXPECT_EQ(cache.FindStreamed(200, 7), streamed);
}

TEST(RelationCacheTest, AStreamedDescriptionIsForgottenWhenItsTransactionAborts) {
  RelationCache cache;
  const Relation* global = cache.Put(Description("a"), cache.NextArrival());
  cache.PutStreamed(100, Description("b"), cache.NextArrival());
  cache.AbortStreamed(100);
  EXPECT_EQ(cache.FindStreamed(100, 7), global);
  cache.CommitStreamed(100);
  EXPECT_EQ(cache.Find(7), global);
}

TEST(RelationCacheTest, ANewerDescriptionOutsideWinsOverOneThatCommitsLater) {
  RelationCache cache;
  cache.PutStreamed(100, Description("old"), cache.NextArrival());
  const Relation* newer = cache.Put(Description("new"), cache.NextArrival());
  EXPECT_EQ(cache.FindStreamed(100, 7)->columns[0].name, "old") << "the transaction's changes have its shape";
  cache.CommitStreamed(100);
  EXPECT_EQ(cache.Find(7), newer);
}

TEST(RelationCacheTest, OfTwoStreamedTransactionsTheNewerDescriptionWinsWhicheverCommitsLast) {
  RelationCache cache;
  cache.PutStreamed(100, Description("old"), cache.NextArrival());
  const Relation* newer = cache.PutStreamed(200, Description("new"), cache.NextArrival());
  cache.CommitStreamed(200);
  cache.CommitStreamed(100);
  EXPECT_EQ(cache.Find(7), newer);
}

TEST(RelationCacheTest, ANewConnectionStartsWithoutBindingsAndPointersStay) {
  RelationCache cache;
  const Relation* before = cache.Put(Description("a"), cache.NextArrival());
  cache.PutStreamed(100, Description("b"), cache.NextArrival());
  cache.ForgetBindings();
  EXPECT_EQ(cache.Find(7), nullptr);
  EXPECT_EQ(cache.FindStreamed(100, 7), nullptr);
  EXPECT_EQ(before->columns[0].name, "a");
  EXPECT_EQ(cache.Put(Description("a"), cache.NextArrival()), before);
}

}  // namespace
}  // namespace walferry
