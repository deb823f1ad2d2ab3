-- options: proto_version=3 streaming=on messages=true
-- Transactions sent in blocks while in progress. Rows of "bulk", which is not published, fill the server's memory, so
-- that blocks are cut without making this file long. The first transaction fills the server's caches, without which
-- it would notice that a transaction was rolled back, and not send it.
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE item (id int PRIMARY KEY, note text, mood mood);
CREATE TABLE other (id int PRIMARY KEY);
CREATE TABLE bulk (filler text);
CREATE PROCEDURE fill() LANGUAGE sql AS $$ INSERT INTO bulk SELECT repeat('x', 1000) FROM generate_series(1, 100) $$;
CREATE PUBLICATION golden FOR TABLE item, other;
-- slot
INSERT INTO item VALUES (1, 'small', 'glad');

-- Kept, but for a subtransaction.
BEGIN;
INSERT INTO item VALUES (10, 'streamed', NULL);
CALL fill();
SAVEPOINT inner_kept;
INSERT INTO item VALUES (11, 'of a subtransaction', 'sad');
SELECT pg_logical_emit_message(true, 'walferry', 'in a block');
CALL fill();
SAVEPOINT inner_dropped;
INSERT INTO item VALUES (12, 'rolled back', NULL);
CALL fill();
ROLLBACK TO inner_dropped;
UPDATE item SET note = 'changed' WHERE id = 10;
UPDATE item SET id = 13 WHERE id = 11;
DELETE FROM item WHERE id = 1;
CALL fill();
TRUNCATE other RESTART IDENTITY;
COMMIT;

-- Rolled back.
BEGIN;
INSERT INTO item VALUES (20, 'never', NULL);
CALL fill();
ROLLBACK;

-- A description that belongs to the transaction which changed the relation.
BEGIN;
ALTER TABLE item ADD COLUMN added int;
INSERT INTO item VALUES (30, 'wider', 'glad', 1);
CALL fill();
INSERT INTO item VALUES (31, 'wider', 'glad', NULL);
COMMIT;
INSERT INTO item VALUES (40, 'plain again', NULL, 4);
