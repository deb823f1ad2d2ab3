-- options: proto_version=3
-- Values stored out of line: not sent when unchanged, also in an INSERT that a row filter made of an UPDATE; sent in
-- full as part of a key or of a whole old row.
CREATE TABLE plain (id int PRIMARY KEY, small text, large text);
ALTER TABLE plain ALTER large SET STORAGE EXTERNAL;
CREATE TABLE whole (id int PRIMARY KEY, small text, large text);
ALTER TABLE whole ALTER large SET STORAGE EXTERNAL;
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE large_key (id text PRIMARY KEY, small text);
ALTER TABLE large_key ALTER id SET STORAGE EXTERNAL;
CREATE TABLE filtered (id int PRIMARY KEY, large text);
ALTER TABLE filtered ALTER large SET STORAGE EXTERNAL;
CREATE PUBLICATION golden FOR TABLE plain, whole, large_key, filtered WHERE (id > 10);
-- slot
INSERT INTO plain VALUES (1, 'a', repeat('x', 2100));
UPDATE plain SET small = 'b';
UPDATE plain SET large = 'short';
INSERT INTO whole VALUES (1, 'a', repeat('y', 2100));
UPDATE whole SET small = 'b';
DELETE FROM whole;
INSERT INTO large_key VALUES (repeat('k', 2100), 'a');
UPDATE large_key SET small = 'b';
INSERT INTO filtered VALUES (1, repeat('z', 2100));
UPDATE filtered SET id = 11;
UPDATE filtered SET id = 2;
