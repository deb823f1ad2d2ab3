-- options: proto_version=3
CREATE TABLE sale (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE sale_east PARTITION OF sale FOR VALUES IN ('east');
CREATE TABLE sale_west PARTITION OF sale FOR VALUES IN ('west');
CREATE PUBLICATION golden FOR TABLE sale WITH (publish_via_partition_root = true);
-- slot
INSERT INTO sale VALUES (1, 'east');
UPDATE sale SET region = 'west' WHERE id = 1;
TRUNCATE sale;
