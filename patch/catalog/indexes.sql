-- The indexes of the tables.
SELECT i.indrelid AS relation, i.indexrelid AS oid, i.indexrelid::pg_catalog.regclass AS name,
    pg_catalog.pg_get_indexdef(i.indexrelid) AS definition, pg_catalog.pg_get_indexdef(i.indexrelid, 1, false) AS key,
    i.indisunique AS unique, i.indisprimary AS primary, i.indnkeyatts AS keys, i.indkey AS columns,
    i.indexprs IS NOT NULL AS expressions, i.indpred IS NOT NULL AS partial, i.indisreplident AS identity
FROM pg_catalog.pg_index i
WHERE i.indrelid = ANY (:'tables'::pg_catalog.oid[])
ORDER BY i.indexrelid
