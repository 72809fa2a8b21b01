-- The triggers of the tables.
SELECT t.tgrelid AS relation, t.tgname AS name, pg_catalog.pg_get_triggerdef(t.oid) AS definition, t.tgfoid AS function, t.tgtype AS type, t.tgenabled AS enabled,
    t.tgattr = '' AND t.tgqual IS NULL AND t.tgnargs = 0 AND t.tgconstraint = 0 AND t.tgoldtable IS NULL AND t.tgnewtable IS NULL AS plain
FROM pg_catalog.pg_trigger t
WHERE t.tgrelid = ANY (:'tables'::pg_catalog.oid[]) AND NOT t.tgisinternal
ORDER BY t.tgrelid, t.tgname
