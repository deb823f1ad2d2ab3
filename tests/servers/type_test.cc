// Values of all kinds of types on their way from one database to the other.
#include "tests/servers/migration_fixture.h"

namespace walferry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kTypes = R"sql(
CREATE EXTENSION hstore; CREATE EXTENSION citext;
CREATE TYPE mood AS ENUM ('sad', 'it''s ok'); CREATE TYPE pair AS (a int, b text, c mood);
CREATE FUNCTION small(x int) RETURNS boolean LANGUAGE sql AS $$ SELECT x < 1000 $$;
CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN checked AS int CHECK (small(VALUE));
CREATE DOMAIN list AS positive[]; CREATE TYPE float_range AS RANGE (subtype = float8);
CREATE TABLE numbers (id int PRIMARY KEY, s smallint, b bigint, r real, d float8, n numeric, n2 numeric(10, 2), m money);
CREATE TABLE times (id int PRIMARY KEY, d date, t time(3), tz timetz, ts timestamp, tsz timestamptz, i interval);
CREATE TABLE texts (id int PRIMARY KEY, c char(5), v varchar(9), t text, n name, b bytea, ci citext, u uuid, x xml,
  js json, jb jsonb, jp jsonpath, q tsquery, tv tsvector);
CREATE TABLE shapes (id int PRIMARY KEY, p point, l line, s lseg, bx box, pa path, po polygon, ci circle, ip inet,
  ci2 cidr, m macaddr, m8 macaddr8, b bit(3), vb varbit, l2 pg_lsn, x xid8);
CREATE TABLE made (id positive PRIMARY KEY, m mood, p pair, c checked, h hstore, fr float_range, r int4range,
  tr tstzrange, nr numrange, mr int4multirange, fmr float_multirange);
CREATE TABLE arrays (id int PRIMARY KEY, i int[], t text[], m mood[], p pair[], l list, r int4range[], h hstore[],
  n numeric[][], ts timestamptz[], b bytea[]);
CREATE TABLE enum_key (m mood, r int4range, a int[], n int, PRIMARY KEY (m, r, a));
)sql";

constexpr const char* kFirstRows = R"sql(
INSERT INTO numbers VALUES (1, -32768, 9223372036854775807, 'NaN', '-Infinity', 'NaN', 0.10, 12.34),
  (2, NULL, NULL, 1.1754944e-38, 0.1, 123456789012345678901234567890.000100, -0.01, NULL),
  (3, 0, 0, '-0', 1e308, 'Infinity', 1, -5);
INSERT INTO times VALUES (1, '0044-03-15 BC', '23:59:60', '12:00:00.123456-12:34', 'infinity', '2024-02-29 23:59:59.999999+14',
  '1 year -2 mons 3 days -04:05:06.789'), (2, 'infinity', '00:00', NULL, '4713-11-24 BC', '-infinity', '-178000000 years');
INSERT INTO texts VALUES (1, 'ab', '', E'tab\tline\nback\\slash \u20ac \U0001F418', 'n', '\x00ff5c', 'CaSe',
  '00000000-0000-0000-0000-000000000001', '<a b="c">&lt;</a>', '{"b": 1,  "a": [1.50, null]}', '{"a": "\u20ac"}',
  '$.a[*] ? (@ > 1)', 'a & !b', 'a:1A b:2,3'), (2, NULL, 'NULL', '\N', '', '', '', NULL, NULL, 'null', 'null', NULL, 'b', '');
INSERT INTO shapes VALUES (1, '(1,2.5)', '{1,2,3}', '[(0,0),(1,1)]', '(2,2),(1,1)', '[(0,0),(1,2)]', '((0,0),(1,1),(1,0))',
  '<(0,0),1.5>', '10.0.0.1/8', '2001:db8::/32', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'101', B'', '16/B374D848', '42');
INSERT INTO made VALUES (1, 'it''s ok', '(1,"x, ""y""",sad)', 5, 'a=>1, "b c"=>NULL', '[0.5,infinity)', '[1,5)',
  '[2024-01-01 00:00+00,)', 'empty', '{[1,2),[5,6)}', '{}'), (2, 'sad', '(,,)', NULL, '', NULL, '(,)', NULL, '(,5]', NULL, NULL);
INSERT INTO arrays VALUES (1, '{1,NULL,3}', '{a,"b,c","d\"e",NULL,"NULL",""}', '{sad,"it''s ok"}', '{"(1,a,sad)","(,,)"}',
  '{1,2}', '{"[1,2)",empty}', '{"a=>1"}', '{{1.0,2.50},{3,NULL}}', '{infinity,2024-01-01 00:00+00}', '{"\\x00","\\x"}'),
  (2, '[5:6]={5,6}', '{}', '{}', NULL, '{}', '{}', '{}', '{}', '{}', '{}');
INSERT INTO enum_key VALUES ('sad', '[1,2)', '{1}', 1), ('sad', '[1,2)', '{2}', 2), ('it''s ok', 'empty', '{}', 3);
)sql";

// The same rows under other keys, then each kind of change.
constexpr const char* kChanges = R"sql(
INSERT INTO numbers SELECT id + 100, s, b, r, d, n, n2, m FROM numbers; UPDATE numbers SET r = 'Infinity', n = n * 2 WHERE id < 100;
INSERT INTO times SELECT id + 100, d, t, tz, ts, tsz, i FROM times; UPDATE times SET i = '1 day', tsz = NULL WHERE id = 1;
INSERT INTO texts SELECT id + 100, c, v, t, n, b, ci, u, x, js, jb, jp, q, tv FROM texts; UPDATE texts SET ci = 'cAsE', js = '[]', x = NULL;
INSERT INTO shapes SELECT id + 100, p, l, s, bx, pa, po, ci, ip, ci2, m, m8, b, vb, l2, x FROM shapes; UPDATE shapes SET p = NULL WHERE id = 1;
INSERT INTO made SELECT id + 100, m, p, c, h, fr, r, tr, nr, mr, fmr FROM made; UPDATE made SET m = 'sad', h = h || 'z=>9', mr = '{[7,9)}';
DELETE FROM made WHERE id = 2; UPDATE made SET id = 50 WHERE id = 1;
INSERT INTO arrays SELECT id + 100, i, t, m, p, l, r, h, n, ts, b FROM arrays; UPDATE arrays SET i = i || 9, p = '{}', t = NULL WHERE id = 1;
UPDATE enum_key SET m = 'it''s ok', n = 10 WHERE a = '{1}'; DELETE FROM enum_key WHERE a = '{2}'; UPDATE enum_key SET n = 30 WHERE n = 3;
)sql";

class TypesInFormat : public MigrationTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(TypesInFormat, AllArriveByCopyAndByStream) {
  RunOnSource(kTypes);
  RunOnSource(kFirstRows);
  Migrate();
  ExpectEqualContent(pair_);
  RunOnSource(kChanges);
  Migrate({"--binary", GetParam()});
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT count(*) FROM arrays"), "4");
  EXPECT_EQ(Status().at("totals").at("missing_rows"), 0);
}

INSTANTIATE_TEST_SUITE_P(Formats, TypesInFormat, ::testing::Values("off", "on"), [](const auto& param) {
  return param.param == std::string("on") ? "Binary" : "Text";
});

class Type : public MigrationTest {};

// The server does not take its own binary form of it.
TEST_F(Type, EmptyTsqueryTravelsAsText) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, q tsquery, n int); INSERT INTO t VALUES (1, '', 1)");
  Migrate();
  RunOnSource("INSERT INTO t VALUES (2, '', 2); UPDATE t SET n = 3 WHERE id = 1");
  Migrate();
  ExpectEqualContent(pair_);
}

TEST_F(Type, FormatMayChangeFromRunToRun) {
  RunOnBoth("CREATE TABLE t (id int PRIMARY KEY, a numeric, b timestamptz[], c text)");
  Publish();
  for (const std::string format : {"on", "off", "on"}) {
    RunOnSource(
        "UPDATE t SET c = c || '+' || a; INSERT INTO t SELECT count(*), 1.50 + count(*), ARRAY[now(), NULL], "
        "'" +
        format + "' FROM t");
    Stream({"--binary", format});
    ExpectEqualContent(pair_);
  }
}

TEST_F(Type, OtherTypeOfTheTargetTakesTextAndRefusesBinary) {
  RunOnSource("CREATE TABLE t (id int PRIMARY KEY, n int, m int)");
  RunOnTarget("CREATE TABLE t (id bigint PRIMARY KEY, n numeric, m text)");
  Publish();
  RunOnSource("INSERT INTO t VALUES (1, 2, 3)");
  EXPECT_THAT(RefusalOf("stream", {"--binary", "on"}),
              AllOf(HasSubstr("public.t"), HasSubstr("--binary off")));
  Stream();
  EXPECT_EQ(Target("SELECT id, n, m FROM t"), "1|2|3");
}

TEST_F(Type, TypeWithoutABinaryFormatTravelsAsText) {
  RunOnSource(
      "CREATE TYPE plain; CREATE FUNCTION plain_in(cstring) RETURNS plain LANGUAGE internal IMMUTABLE STRICT "
      "AS 'textin';"
      "CREATE FUNCTION plain_out(plain) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';"
      "CREATE TYPE plain (INPUT = plain_in, OUTPUT = plain_out, LIKE = text);"
      "CREATE TABLE t (id int PRIMARY KEY, p plain, n numeric); INSERT INTO t VALUES (1, 'copied', 1.5)");
  Migrate();
  RunOnSource(
      "INSERT INTO t VALUES (2, 'new', 2.5), (3, NULL, NULL); UPDATE t SET p = 'changed' WHERE id = 1");
  Migrate({"--binary", "on"});
  ExpectEqualContent(pair_);
  EXPECT_EQ(Target("SELECT p FROM t WHERE id = 1"), "changed");
}

TEST_F(Type, KeysOfANondeterministicCollation) {
  RunOnSource(
      "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
      "CREATE TABLE keyed (a text COLLATE ci PRIMARY KEY, n int); CREATE TABLE f (a text COLLATE ci, n int);"
      "ALTER TABLE f REPLICA IDENTITY FULL; INSERT INTO keyed VALUES ('x', 1), ('y', 1); INSERT INTO f "
      "VALUES ('x', "
      "1), ('y', 1)");
  Migrate();
  // For the target's key, too, 'X' is 'x': the row is found under the other spelling, and gets it. Without a
  // key the row that is spelled otherwise is another row.
  RunOnTarget("UPDATE keyed SET a = upper(a); UPDATE f SET a = upper(a)");
  RunOnSource(
      "UPDATE keyed SET n = 2 WHERE a = 'x'; DELETE FROM keyed WHERE a = 'y'; UPDATE f SET n = 2 WHERE a = "
      "'x'; "
      "DELETE FROM f WHERE a = 'y'");
  RunOnSource("BEGIN; UPDATE keyed SET a = 'X'; UPDATE keyed SET a = 'x', n = 3; COMMIT");
  Migrate();
  EXPECT_EQ(Target("SELECT a, n FROM keyed"), "x|3");
  EXPECT_EQ(Target("SELECT a, n FROM f ORDER BY a COLLATE \"C\""), "X|1\nY|1");
  EXPECT_EQ(TableStatus("public.keyed").at("missing_rows"), 0);
  EXPECT_EQ(TableStatus("public.f").at("missing_rows"), 2);
}

class Latin1Source : public MigrationTest {
 protected:
  Latin1Source() : MigrationTest("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0") {}
};

TEST_F(Latin1Source, IsConvertedForAUtf8Target) {
  ASSERT_EQ(Source("SHOW server_encoding"), "LATIN1");
  ASSERT_EQ(Target("SHOW server_encoding"), "UTF8");
  RunOnSource(
      "CREATE TABLE t (id int PRIMARY KEY, a text, \"\u00e9t\u00e9\" text); INSERT INTO t VALUES (1, "
      "'\u00e9\u00ff', 'x')");
  Migrate();
  RunOnSource(
      "INSERT INTO t VALUES (2, '\u00fc', '\u00e9'); UPDATE t SET \"\u00e9t\u00e9\" = '\u00d8' WHERE id = 1");
  Migrate();
  ExpectSame(
      "SELECT id, encode(convert_to(a, 'UTF8'), 'hex'), encode(convert_to(\"\u00e9t\u00e9\", 'UTF8'), 'hex') "
      "FROM t ORDER BY id");
  EXPECT_EQ(Source("SELECT octet_length(a) FROM t WHERE id = 1"), "2");
  EXPECT_EQ(Target("SELECT octet_length(a) FROM t WHERE id = 1"), "4");
}

}  // namespace
}  // namespace walferry
