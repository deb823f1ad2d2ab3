-- options: proto_version=3
CREATE TABLE parent (id serial PRIMARY KEY);
CREATE TABLE child (id serial PRIMARY KEY, parent int REFERENCES parent);
CREATE TABLE other (id int PRIMARY KEY);
CREATE PUBLICATION golden FOR TABLE parent, child, other;
-- slot
TRUNCATE other;
TRUNCATE parent CASCADE;
TRUNCATE other RESTART IDENTITY;
TRUNCATE parent, other RESTART IDENTITY CASCADE;
