-- What the plan needs of the catalog, read in one statement and so from one snapshot: one row, one JSON document.
-- $1: the schema; $2: the names of the table, of Prisma's list of migrations and of the indexes of the catalogue;
-- $3: whether to read the migrations; $4: the name of the schema's guard.
-- Few tables, few functions: in a fresh session, looking them up takes longer than all the rest. What is seldom needed is
-- left to query_to_xml, which plans its statement only where a CASE reaches it.
WITH rel AS (
    SELECT c.oid, c.relname, c.relkind, c.relowner, c.relispartition FROM pg_catalog.pg_class c
    WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1::pg_catalog.name) AND c.relname = ANY ($2::pg_catalog.name[])
), tab AS (
    SELECT * FROM rel WHERE relname = 'OpenaiCreds'
), idx AS (
    SELECT i.* FROM pg_catalog.pg_index i WHERE i.indrelid = (SELECT oid FROM tab)
), con AS (
    SELECT k.oid, k.conname, k.contype, k.conindid, k.conrelid FROM pg_catalog.pg_constraint k
    WHERE k.contype = 'u' AND k.conrelid = (SELECT oid FROM tab) OR k.contype = 'f' AND k.confrelid = (SELECT oid FROM tab)
)
SELECT pg_catalog.json_build_object(
    'role', current_user, 'superuser', pg_catalog.current_setting('is_superuser') = 'on',
    'standby', pg_catalog.pg_is_in_recovery(),
    'migrating', CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_lock_status() l WHERE l.locktype = 'advisory' AND l.classid = 0 AND l.objid = 72707369 AND l.objsubid = 1 AND l.granted)
        THEN pg_catalog.query_to_xml('SELECT true AS here FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
            WHERE l.locktype = ''advisory'' AND l.classid = 0 AND l.objid = 72707369 AND l.objsubid = 1 AND l.granted', false, false, '')::pg_catalog.text LIKE '%true%' END,
    'table', (
        SELECT pg_catalog.json_build_object(
            'kind', relkind, 'partition', relispartition, 'owner', pg_catalog.pg_get_userbyid(relowner), 'mine', pg_catalog.pg_has_role(relowner, 'USAGE'),
            'columns', (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = oid AND a.attnum > 0 AND NOT a.attisdropped))
        FROM tab),
    'indexes', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'oid', indexrelid, 'name', indexrelid::pg_catalog.regclass, 'definition', pg_catalog.pg_get_indexdef(indexrelid), 'key', pg_catalog.pg_get_indexdef(indexrelid, 1, false),
            'unique', indisunique, 'primary', indisprimary, 'keys', indnkeyatts,
            'special', indexprs IS NOT NULL OR indpred IS NOT NULL OR indisreplident,
            'constraints', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', conname, 'type', contype, 'table', conrelid::pg_catalog.regclass, 'definition', pg_catalog.pg_get_constraintdef(oid)))
                            FROM con WHERE conindid = indexrelid)))
        FROM idx),
    'guard', (
        SELECT pg_catalog.json_build_object('signature', pg_catalog.obj_description(oid, 'pg_event_trigger'),
            'enabled', evtenabled IN ('O', 'A'), 'mine', pg_catalog.pg_has_role(evtowner, 'USAGE'))
        FROM pg_catalog.pg_event_trigger WHERE evtname = $4::pg_catalog.name),
    'named', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('oid', oid, 'name', relname, 'kind', relkind)) FROM rel),
    'migrations', (
        SELECT CASE WHEN pg_catalog.has_table_privilege(oid, 'SELECT') AND pg_catalog.has_schema_privilege($1, 'USAGE')
            THEN pg_catalog.substring(pg_catalog.query_to_xml(
                'SELECT json_build_object(''last'', max(substring(m ->> ''migration_name'', ''^[0-9a-zA-Z_]+$'') COLLATE "C") FILTER (WHERE m ->> ''finished_at'' IS NOT NULL),
                    ''unfinished'', count(*) FILTER (WHERE m ->> ''finished_at'' IS NULL)) AS j FROM (SELECT to_jsonb(t) AS m FROM ' || oid::pg_catalog.regclass || ' AS t) AS j WHERE m ->> ''rolled_back_at'' IS NULL',
                false, false, '')::pg_catalog.text, '<j>(.*)</j>')::pg_catalog.json END
        FROM rel WHERE $3::pg_catalog.bool AND relname = '_prisma_migrations' AND relkind = 'r')
)::pg_catalog.text
