#include "apply/schema_script.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace walferry {
namespace {

std::string Entry(const std::string& name, const std::string& type, const std::string& sql,
                  const std::string& schema = "public") {
  return "--\n-- Name: " + name + "; Type: " + type + "; Schema: " + schema + "; Owner: postgres\n--\n\n" +
         sql + "\n\n\n";
}

constexpr char kPreamble[] =
    "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nSET statement_timeout = 0;\n"
    "SET transaction_timeout = 0;\nSELECT pg_catalog.set_config('search_path', '', false);\n\n";
constexpr char kEnd[] = "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n";

TEST(SchemaScript, SettingsAndPsqlCommandsAroundTheEntriesAreLeftOut) {
  const auto entries = SplitScript(kPreamble + Entry("a", "TABLE", "CREATE TABLE public.a ();") + kEnd);
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].name, "a");
  EXPECT_EQ(entries[0].type, "TABLE");
  EXPECT_EQ(entries[0].schema, "public");
  EXPECT_EQ(entries[0].sql, "CREATE TABLE public.a ();");
}

TEST(SchemaScript, SettingsOfAnEntryGoWithTheEntry) {
  const std::string heap = "SET default_table_access_method = heap;";
  const std::string other = "SET default_table_access_method = other;";
  const auto entries = SplitScript(kPreamble + heap + "\n\n" + Entry("a", "TABLE", "CREATE TABLE a ();") +
                                   Entry("f", "FUNCTION", "SELECT 'SET default_x';") + other + "\n\n" +
                                   Entry("b", "TABLE", "CREATE TABLE b ();") +
                                   Entry("c", "TABLE", "CREATE TABLE c ();") + kEnd);
  ASSERT_EQ(entries.size(), 4U);
  EXPECT_EQ(entries[0].sql, heap + "\n\nCREATE TABLE a ();");
  EXPECT_EQ(entries[1].sql, "SELECT 'SET default_x';");
  EXPECT_EQ(entries[2].sql, other + "\n\nCREATE TABLE b ();");
  EXPECT_EQ(entries[3].sql, "CREATE TABLE c ();");
}

TEST(SchemaScript, LiteralsOfAnotherKindAreRefused) {
  const std::string preamble = kPreamble;
  const std::string entry = Entry("a", "COMMENT", "\nSET standard_conforming_strings = on;\n");
  EXPECT_TRUE(CheckScriptSettings(preamble + "SET standard_conforming_strings = on;\n" + entry).ok());
  const absl::Status off = CheckScriptSettings(preamble + "SET standard_conforming_strings = off;\n" + entry);
  EXPECT_EQ(off.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(CheckScriptSettings(preamble + entry).ok());
}

TEST(SchemaScript, HeadersInsideOfBodiesAndLiteralsAreText) {
  const std::string fake = Entry("fake", "TABLE", "DROP TABLE x;") + kEnd;
  const std::vector<std::string> bodies = {
      "CREATE FUNCTION f() AS $body$\n" + fake + "$body$;", "CREATE FUNCTION f() AS $$\n$a$" + fake + "$$;",
      "COMMENT ON TABLE a IS 'it''s\n" + fake + "';",       "COMMENT ON TABLE a IS E'\\'\n" + fake + "';",
      "CREATE TABLE \"a''$$\n" + fake + "\" ();",           "/* /* nested */\n" + fake + "*/ SELECT 1;",
  };
  for (const std::string& body : bodies) {
    const auto entries =
        SplitScript(kPreamble + Entry("f", "FUNCTION", body) + Entry("b", "TABLE", "x;") + kEnd);
    ASSERT_EQ(entries.size(), 2U) << body;
    EXPECT_EQ(entries[0].sql, body);
    EXPECT_EQ(entries[1].name, "b");
  }
}

TEST(SchemaScript, QuotesInHeadersAndDollarsInNamesOpenNothing) {
  const auto entries = SplitScript(Entry("it's \"$$; Type: odd", "TABLE", "CREATE TABLE a$b$c ();") +
                                   Entry("b", "TABLE", "CREATE TABLE b ();"));
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].name, "it's \"$$; Type: odd");
  EXPECT_EQ(entries[0].type, "TABLE");
}

TEST(SchemaScript, AnythingIsSplitWithoutReadingOutside) {
  const std::string script = kPreamble + Entry("f", "FUNCTION", "AS $a$ 'x' $a$ E'\\\\' /* */") + kEnd;
  for (std::size_t size = 0; size <= script.size(); ++size) {
    const std::string exact = script.substr(0, size);
    EXPECT_LE(SplitScript(exact).size(), 1U);
  }
}

TEST(SchemaScript, WhatExistsOnEveryServerIsNotCreatedAgain) {
  const auto entries =
      SplitScript(Entry("public", "SCHEMA", "CREATE SCHEMA public;", "-") +
                  Entry("SCHEMA public", "COMMENT", "COMMENT ON SCHEMA public IS 'x';", "-") +
                  Entry("app", "SCHEMA", "CREATE SCHEMA app;\n\n\nALTER SCHEMA app OWNER TO a;", "-") +
                  Entry("EXTENSION x", "COMMENT", "COMMENT ON EXTENSION x IS 'x';", "-"));
  EXPECT_EQ(PreDataSql(entries), "CREATE SCHEMA IF NOT EXISTS app;\n\n\nALTER SCHEMA app OWNER TO a;\n\n");
}

TEST(SchemaScript, ObjectsGoToTheirStagesAndCommentsToTheirObject) {
  const auto pre = SplitScript(Entry("m V", "MATERIALIZED VIEW", "CREATE MATERIALIZED VIEW …"));
  const auto post =
      SplitScript(Entry("t t_pkey", "CONSTRAINT", "ALTER 1;") + Entry("i", "INDEX", "CREATE INDEX i;") +
                  Entry("INDEX i", "COMMENT", "COMMENT i;") + Entry("i", "INDEX ATTACH", "ATTACH;") +
                  Entry("t tr", "TRIGGER", "CREATE TRIGGER;") + Entry("t f", "FK CONSTRAINT", "FK;"));
  const std::vector<SchemaObject> objects = PostDataObjects(pre, post);
  ASSERT_EQ(objects.size(), 6U);
  EXPECT_EQ(objects[0].stage, ObjectStage::kIndex);
  EXPECT_EQ(objects[0].name, "public.t t_pkey");
  EXPECT_EQ(objects[1].sql, "CREATE INDEX i;\nCOMMENT i;");
  EXPECT_EQ(objects[2].stage, ObjectStage::kAttach);
  EXPECT_EQ(objects[3].stage, ObjectStage::kTrigger);
  EXPECT_EQ(objects[4].stage, ObjectStage::kForeignKey);
  EXPECT_EQ(objects[5].kind, kRefreshKind);
  EXPECT_THAT(objects[5].sql, ::testing::HasSubstr("\"public\".\"m V\""));
}

std::string TableOf(const std::string& kind, const std::string& sql) {
  SchemaObject object;
  object.kind = kind;
  object.sql = sql;
  const std::optional<TableName> table = TableOfIndex(object);
  return table.has_value() ? table->schema + "|" + table->name : "";
}

TEST(SchemaScript, TableOfAnIndexIsReadFromItsStatement) {
  EXPECT_EQ(TableOf("INDEX", "CREATE INDEX i ON public.t USING btree (a);"), "public|t");
  EXPECT_EQ(TableOf("INDEX", "CREATE UNIQUE INDEX \"i ON x\" ON ONLY \"S.s\".\"t \"\"q\"\"\" USING gin (a);"),
            "S.s|t \"q\"");
  EXPECT_EQ(TableOf("CONSTRAINT", "ALTER TABLE ONLY app.\"T\"\n    ADD CONSTRAINT c PRIMARY KEY (a);"),
            "app|T");
  EXPECT_EQ(TableOf("CONSTRAINT", "ALTER DOMAIN app.d ADD CONSTRAINT c CHECK (true);"), "");
  EXPECT_EQ(TableOf("FK CONSTRAINT", "ALTER TABLE ONLY app.t\n    ADD CONSTRAINT c FOREIGN KEY"), "");
  for (const char* cut :
       {"CREATE INDEX i ON public.t", "CREATE INDEX i ON public", "CREATE INDEX \"i", "CREATE ", ""})
    EXPECT_EQ(TableOf("INDEX", cut), "") << cut;
}

TEST(EraseEntries, TakesCommentsAndGrantsAlong) {
  std::vector<ScriptEntry> entries = SplitScript(
      Entry("f(a)", "FUNCTION", "CREATE FUNCTION f;") + Entry("FUNCTION f(a)", "COMMENT", "COMMENT f;") +
      Entry("f(integer)", "FUNCTION", "CREATE FUNCTION g;") +
      Entry("FUNCTION f(integer)", "COMMENT", "COMMENT g;") + Entry("t fk", "FK CONSTRAINT", "ALTER;") +
      Entry("CONSTRAINT fk ON t", "COMMENT", "COMMENT fk;") +
      Entry("t fk", "FK CONSTRAINT", "OTHER;", "app") + Entry("FUNCTION f(a)", "ACL", "GRANT f;") +
      Entry("FUNCTION f(integer)", "ACL", "GRANT g;"));
  EraseEntries({{"FUNCTION", "public", "f(a)"}, {"FK CONSTRAINT", "public", "t fk"}}, entries);
  std::vector<std::string> left;
  for (const ScriptEntry& entry : entries) left.push_back(entry.sql);
  EXPECT_THAT(left, ::testing::ElementsAre("CREATE FUNCTION g;", "COMMENT g;", "OTHER;", "GRANT g;"));
}

TEST(WithTablesRenamed, TakesWholeNamesOnly) {
  const TableRenames renames = {{{"public", "a"}, {"Odd", "x.y"}}};
  EXPECT_EQ(
      WithTablesRenamed("CREATE INDEX a_i ON public.a USING btree (a); x.public.a public.ab \"public\".\"a\"",
                        renames),
      "CREATE INDEX a_i ON \"Odd\".\"x.y\" USING btree (a); x.public.a public.ab \"Odd\".\"x.y\"");
}

TEST(WithTablesRenamed, NamesMayBeExchanged) {
  const TableRenames renames = {{{"s", "a"}, {"s", "b"}}, {{"s", "b"}, {"s", "a"}}};
  EXPECT_EQ(WithTablesRenamed("ALTER TABLE ONLY s.a ADD FOREIGN KEY (i) REFERENCES s.b(i);", renames),
            "ALTER TABLE ONLY \"s\".\"b\" ADD FOREIGN KEY (i) REFERENCES \"s\".\"a\"(i);");
}

}  // namespace
}  // namespace walferry
