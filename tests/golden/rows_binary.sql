-- options: proto_version=3 binary=true
-- Binary columns; a type without a send function still travels as text.
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE plain (
  id bigint PRIMARY KEY, note text, mood mood, numbers int[], amount numeric, data jsonb, raw bytea, at timestamptz,
  acl aclitem);
CREATE PUBLICATION golden FOR TABLE plain;
-- slot
INSERT INTO plain VALUES
  (1, 'first', 'glad', '{1,2,NULL}', 1234.50, '{"a": 1}', '\x00ff', '2024-02-29 12:00Z', 'postgres=r/postgres'),
  (2, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
UPDATE plain SET id = 3 WHERE id = 2;
DELETE FROM plain WHERE id = 1;
