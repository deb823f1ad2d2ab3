-- options: proto_version=3 streaming=on
-- Blocks of a transaction in progress, others between them: prepared transactions, which a slot without two_phase
-- sees as in progress until they are committed, stand in for concurrent sessions.
CREATE TABLE item (id int PRIMARY KEY);
CREATE TABLE bulk (filler text);
CREATE PROCEDURE fill() LANGUAGE sql AS $$ INSERT INTO bulk SELECT repeat('x', 1000) FROM generate_series(1, 100) $$;
CREATE PUBLICATION golden FOR TABLE item;
-- slot
BEGIN;
INSERT INTO item VALUES (1);
CALL fill();
INSERT INTO item VALUES (2);
PREPARE TRANSACTION 'first';
INSERT INTO item VALUES (3);
BEGIN;
INSERT INTO item VALUES (4);
CALL fill();
PREPARE TRANSACTION 'second';
INSERT INTO item VALUES (5);
COMMIT PREPARED 'second';
COMMIT PREPARED 'first';
