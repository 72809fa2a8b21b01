-- What a change is made to: one statement, so one snapshot; one row, one JSON document.
-- $1: the schema; $2: the names of the table and of the indexes of the catalogue.
-- Few tables, few functions, few operators: in a fresh session, looking them up takes longer than all the rest. What is
-- seldom needed is left to ts_stat, which plans its statement only where a CASE reaches it; that statement has to return its
-- answer as the one lexeme of a tsvector, within 2 kB. (query_to_xml has no such limit, but no server built without libxml has it.)
WITH rel AS (
    SELECT c.oid, c.relname, c.relkind, c.relowner, c.relispartition FROM pg_catalog.pg_class c
    WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1::pg_catalog.name) AND c.relname = ANY ($2::pg_catalog.name[])
)
SELECT pg_catalog.json_build_object(
    'migrating', CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_lock_status() l WHERE l.objid = '72707369'::pg_catalog.oid)
        THEN EXISTS (SELECT FROM pg_catalog.ts_stat('SELECT array_to_tsvector(''{here}'') FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
            WHERE l.locktype = ''advisory'' AND l.classid = 0 AND l.objid = 72707369 AND l.objsubid = 1 AND l.granted')) END,
    'table', (
        SELECT pg_catalog.json_build_object(
            'kind', relkind, 'partition', relispartition, 'owner', pg_catalog.pg_get_userbyid(relowner), 'mine', pg_catalog.pg_has_role(relowner, 'USAGE'))
        FROM rel WHERE relname = 'OpenaiCreds'),
    'indexes', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'oid', indexrelid, 'name', indexrelid::pg_catalog.regclass, 'definition', pg_catalog.pg_get_indexdef(indexrelid), 'key', pg_catalog.pg_get_indexdef(indexrelid, 1, false),
            'unique', indisunique, 'primary', indisprimary, 'keys', indnkeyatts,
            'special', indexprs IS NOT NULL OR indpred IS NOT NULL OR indisreplident,
            'constraints', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', conname, 'type', contype, 'table', conrelid::pg_catalog.regclass, 'definition', pg_catalog.pg_get_constraintdef(oid)))
                            FROM pg_catalog.pg_constraint WHERE conindid = indexrelid AND NOT indisprimary)))
        FROM pg_catalog.pg_index WHERE indrelid = (SELECT oid FROM rel WHERE relname = 'OpenaiCreds')),
    'named', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('oid', oid, 'name', relname, 'kind', relkind)) FROM rel)
)::pg_catalog.text
