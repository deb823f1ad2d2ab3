#include "apply/object_difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace walferry {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SchemaObject Index(const std::string& name, const std::string& rest, std::int64_t id = 0) {
  return {.id = id,
          .stage = ObjectStage::kIndex,
          .kind = "INDEX",
          .name = "app." + name,
          .sql = "CREATE INDEX " + name + " ON app.t USING btree (" + rest + ");",
          .done = false};
}

TEST(ObjectDifference, NothingIsOnTheTargetYet) {
  const ObjectDifference difference =
      CompareObjects({Index("a", "a", 1), Index("b", "b", 2), Index("c", "c", 3)},
                     {Index("a", "a"), Index("b", "b, x"), Index("d", "d")}, ObjectCatalog());
  ASSERT_EQ(difference.kept.size(), 1U);
  EXPECT_EQ(difference.kept.front().id, 1);
  ASSERT_EQ(difference.changed.size(), 1U);
  EXPECT_EQ(difference.changed.front().after.id, 2);
  EXPECT_EQ(difference.changed.front().after.sql, Index("b", "b, x").sql);
  ASSERT_EQ(difference.gone.size(), 1U);
  EXPECT_EQ(difference.gone.front().name, "app.c");
  ASSERT_EQ(difference.added.size(), 1U);
  EXPECT_EQ(difference.added.front().name, "app.d");
  EXPECT_THAT(difference.different, IsEmpty());
  EXPECT_THAT(difference.renamed, IsEmpty());
}

// Default privileges of two roles have one name.
TEST(ObjectDifference, EqualStatementsOfOneNameArePairedFirst) {
  const auto acl = [](const std::string& role, std::int64_t id) {
    return SchemaObject{id,   ObjectStage::kTrigger, "DEFAULT ACL", "app.DEFAULT PRIVILEGES FOR TABLES", role,
                        false};
  };
  const ObjectDifference difference =
      CompareObjects({acl("r1", 1), acl("r2", 2)}, {acl("r2", 0)}, ObjectCatalog());
  ASSERT_EQ(difference.kept.size(), 1U);
  EXPECT_EQ(difference.kept.front().id, 2);
  ASSERT_EQ(difference.gone.size(), 1U);
  EXPECT_EQ(difference.gone.front().id, 1);
}

TEST(ObjectDifference, StatementsThatTakeAway) {
  const auto drop = [](const std::string& kind, const std::string& name) {
    return DropOf({.kind = kind, .name = name, .sql = ""});
  };
  EXPECT_EQ(drop("INDEX", "app.i"), R"(DROP INDEX "app"."i";)");
  EXPECT_EQ(drop("FK CONSTRAINT", "app.t f"), R"(ALTER TABLE "app"."t" DROP CONSTRAINT "f";)");
  EXPECT_EQ(drop("TRIGGER", "app.t g"), R"(DROP TRIGGER "g" ON "app"."t";)");
  EXPECT_EQ(drop("ACL", "TABLE t"), "");
}

TEST(ObjectDifference, FirstStatementEndsOutsideOfQuotes) {
  EXPECT_EQ(FirstStatement("CREATE INDEX \"a;\" ON t ((v || ';'));\n\nCOMMENT ON INDEX x IS 'y';"),
            "CREATE INDEX \"a;\" ON t ((v || ';'));");
  EXPECT_EQ(CommentsOf("A;\n\nCOMMENT ON INDEX x IS 'y';"), "COMMENT ON INDEX x IS 'y';");
}

}  // namespace
}  // namespace walferry
