-- The rules of the tables.
SELECT r.ev_class AS relation, r.rulename AS name
FROM pg_catalog.pg_rewrite r
WHERE r.ev_class = ANY (:'tables'::pg_catalog.oid[])
ORDER BY r.oid
