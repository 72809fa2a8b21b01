-- The schemas, and those that hold their guards.
SELECT n.nspname AS schema, n.oid AS namespace
FROM pg_catalog.pg_namespace n
WHERE n.nspname = ANY (:'schemas'::pg_catalog.name[] || :'guards'::pg_catalog.name[])
