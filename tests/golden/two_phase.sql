-- options: proto_version=3 two_phase=on
CREATE TABLE item (id int PRIMARY KEY, note text);
CREATE PUBLICATION golden FOR TABLE item;
-- slot
BEGIN;
INSERT INTO item VALUES (1, 'kept');
PREPARE TRANSACTION 'to be "kept"';
BEGIN;
INSERT INTO item VALUES (2, 'dropped');
PREPARE TRANSACTION 'to be dropped';
INSERT INTO item VALUES (3, 'between');
ROLLBACK PREPARED 'to be dropped';
COMMIT PREPARED 'to be "kept"';
