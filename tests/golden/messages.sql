-- options: proto_version=3 messages=true
CREATE TABLE item (id int PRIMARY KEY);
CREATE PUBLICATION golden FOR TABLE item;
-- slot
SELECT pg_logical_emit_message(true, 'walferry', 'inside');
SELECT pg_logical_emit_message(false, 'walferry', '\x000aff27'::bytea);
BEGIN;
INSERT INTO item VALUES (1);
SELECT pg_logical_emit_message(true, '', '');
SELECT pg_logical_emit_message(false, 'walferry', 'at once');
COMMIT;
BEGIN;
SELECT pg_logical_emit_message(true, 'walferry', 'never seen');
SELECT pg_logical_emit_message(false, 'walferry', 'seen although aborted');
ROLLBACK;
-- Decoding stops where the WAL is flushed, which a rollback does not do.
INSERT INTO item VALUES (2);
