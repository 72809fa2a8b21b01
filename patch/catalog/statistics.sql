-- The extended statistics of the tables.
SELECT e.stxrelid AS relation, e.stxname AS name
FROM pg_catalog.pg_statistic_ext e
WHERE e.stxrelid = ANY (:'tables'::pg_catalog.oid[])
ORDER BY e.oid
