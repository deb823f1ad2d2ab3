-- options: proto_version=3 streaming=on two_phase=on
CREATE TABLE item (id int PRIMARY KEY);
CREATE TABLE bulk (filler text);
CREATE PROCEDURE fill() LANGUAGE sql AS $$ INSERT INTO bulk SELECT repeat('x', 1000) FROM generate_series(1, 100) $$;
CREATE PUBLICATION golden FOR TABLE item;
-- slot
BEGIN;
INSERT INTO item VALUES (1);
CALL fill();
INSERT INTO item VALUES (2);
PREPARE TRANSACTION 'large, kept';
BEGIN;
INSERT INTO item VALUES (3);
CALL fill();
PREPARE TRANSACTION 'large, dropped';
COMMIT PREPARED 'large, kept';
ROLLBACK PREPARED 'large, dropped';
