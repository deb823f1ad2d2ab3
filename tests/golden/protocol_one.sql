-- options: proto_version=1
-- The oldest protocol, and a relation that is described again because it changed.
CREATE TABLE item (id int PRIMARY KEY, name text);
CREATE PUBLICATION golden FOR TABLE item;
-- slot
INSERT INTO item VALUES (1, 'one');
ALTER TABLE item ADD COLUMN size int DEFAULT 5;
UPDATE item SET name = 'uno' WHERE id = 1;
ALTER TABLE item DROP COLUMN name;
DELETE FROM item WHERE id = 1;
ALTER TABLE item RENAME TO thing;
INSERT INTO thing VALUES (2, 6);
