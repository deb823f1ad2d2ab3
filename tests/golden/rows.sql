-- options: proto_version=3 messages=true
-- Rows of many types, in plain transactions: nulls, empty and long texts, enums, domains, arrays, composites.
CREATE TYPE mood AS ENUM ('glad', 'sad "so"');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE plain (
  id bigint PRIMARY KEY, note text, mood mood, moods mood[], amount positive, pair pair, data jsonb, raw bytea,
  at timestamptz, price numeric(12,2), span int4range, flag bool, twice bigint GENERATED ALWAYS AS (id * 2) STORED);
CREATE SCHEMA "Odd ""Schema""";
CREATE TABLE "Odd ""Schema"""."Tä b.le" ("Kéy" varchar(20) PRIMARY KEY, "select" char(3));
CREATE TABLE narrow ();
CREATE PUBLICATION golden FOR ALL TABLES;
-- slot
SET timezone = 'UTC';
INSERT INTO plain VALUES
  (1, 'first', 'glad', '{glad,"sad \"so\""}', 7, (1, 'x'), '{"a": [1, null]}', '\x00ff10', '2024-02-29 23:59:59.999999Z',
   1234.50, '[1,5)', true),
  (2, '', NULL, '{}', NULL, NULL, NULL, '', NULL, NULL, 'empty', false),
  (3, E'line\nbreak\tand ''quotes'' \\ ü', NULL, NULL, NULL, NULL, NULL, NULL, 'infinity', 'NaN', NULL, NULL);
UPDATE plain SET note = NULL WHERE id = 1;
UPDATE plain SET id = 20 WHERE id = 2;
DELETE FROM plain WHERE id = 3;
INSERT INTO "Odd ""Schema"""."Tä b.le" VALUES ('ключ', 'x');
INSERT INTO narrow DEFAULT VALUES;
