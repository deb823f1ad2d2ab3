-- options: proto_version=3 streaming=on two_phase=on
-- Changes that were themselves replicated: in a plain, a prepared and a streamed transaction.
CREATE TABLE item (id int PRIMARY KEY);
CREATE TABLE bulk (filler text);
CREATE PUBLICATION golden FOR TABLE item;
SELECT pg_replication_origin_create('upstream "A"');
-- slot
SELECT pg_replication_origin_session_setup('upstream "A"');
BEGIN;
SELECT pg_replication_origin_xact_setup('1/ABCD', '2024-01-02 03:04:05Z');
INSERT INTO item VALUES (1);
COMMIT;
BEGIN;
INSERT INTO item VALUES (2);
SELECT pg_replication_origin_xact_setup('1/ABCE', '2024-01-02 03:04:06Z');
PREPARE TRANSACTION 'from upstream';
COMMIT PREPARED 'from upstream';
BEGIN;
INSERT INTO item VALUES (3);
INSERT INTO bulk SELECT repeat('x', 1000) FROM generate_series(1, 100);
INSERT INTO item VALUES (4);
SELECT pg_replication_origin_xact_setup('1/ABCF', '2024-01-02 03:04:07Z');
COMMIT;
