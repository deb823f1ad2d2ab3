-- options: proto_version=3
-- Old tuples under each replica identity.
CREATE TABLE by_default (id int PRIMARY KEY, note text);
CREATE TABLE by_index (a int NOT NULL, b int NOT NULL, note text);
CREATE UNIQUE INDEX by_index_b ON by_index (b);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_b;
CREATE TABLE by_full (a int, note text);
ALTER TABLE by_full REPLICA IDENTITY FULL;
CREATE TABLE by_nothing (a int);
ALTER TABLE by_nothing REPLICA IDENTITY NOTHING;
CREATE PUBLICATION golden FOR TABLE by_default, by_index, by_full;
CREATE PUBLICATION inserts FOR TABLE by_nothing WITH (publish = 'insert');
-- slot
INSERT INTO by_default VALUES (1, 'x');
UPDATE by_default SET note = 'y';
UPDATE by_default SET id = 2;
DELETE FROM by_default;
INSERT INTO by_index VALUES (1, 10, NULL);
UPDATE by_index SET a = 2;
UPDATE by_index SET b = 11;
DELETE FROM by_index;
INSERT INTO by_full VALUES (NULL, 'x'), (NULL, 'x');
UPDATE by_full SET a = 1;
DELETE FROM by_full;
INSERT INTO by_nothing VALUES (1);
