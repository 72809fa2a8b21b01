-- The tables that inherit from the tables.
SELECT i.inhparent AS relation, i.inhrelid::pg_catalog.regclass AS name
FROM pg_catalog.pg_inherits i
WHERE i.inhparent = ANY (:'tables'::pg_catalog.oid[])
ORDER BY i.inhrelid
