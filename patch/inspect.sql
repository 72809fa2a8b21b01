-- Everything the plan needs, read in one statement and so from one snapshot: one row, one JSON document.
-- $1: the schema, as the user wrote it; $2: the names that Evolution's migrations give to the indexes of the catalogue;
-- $3, $4: whether to read the migrations and to count the keys; $5: the name of the schema's guard. Few tables and functions on purpose: in a fresh session, looking them up takes
-- longer than all the rest.
WITH rel AS (
    SELECT c.oid, n.nspname, n.nspname = $1::pg_catalog.name AS here, c.relname, c.relkind, c.relowner, c.relispartition
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = 'OpenaiCreds' OR c.relname = '_prisma_migrations' OR c.relname = ANY ($2::pg_catalog.name[])
), tab AS (
    SELECT oid, nspname, relkind, relowner, relispartition FROM rel
    WHERE here AND relname = 'OpenaiCreds' AND relkind IN ('r', 'p', 'v', 'm', 'f')
), att AS (
    SELECT a.attrelid, a.attnum, a.attname, a.atttypmod FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = (SELECT oid FROM tab) AND a.attnum > 0 AND NOT a.attisdropped
), idx AS (
    SELECT i.indexrelid, i.indisunique, i.indisprimary, i.indisvalid, i.indnkeyatts, i.indkey[0] AS key, i.indexprs, c.relname,
        i.indpred IS NOT NULL OR i.indexprs IS NOT NULL OR i.indisreplident OR c.relispartition AS special
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = (SELECT oid FROM tab)
), con AS (
    SELECT oid, conname, contype, conindid, conrelid FROM pg_catalog.pg_constraint WHERE conindid IN (SELECT indexrelid FROM idx)
)
SELECT pg_catalog.json_build_object(
    'role', current_user,
    'standby', pg_catalog.pg_is_in_recovery(),
    'migrating', EXISTS (
        SELECT FROM pg_catalog.pg_locks
        WHERE locktype = 'advisory' AND classid = 0 AND objid = 72707369 AND objsubid = 1 AND granted
          AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())),
    'schema', (SELECT nspname FROM tab),
    'elsewhere', (SELECT pg_catalog.json_agg(nspname) FROM rel WHERE NOT here AND relname = 'OpenaiCreds' AND relkind IN ('r', 'p')),
    -- query_to_xml runs its statement only where the CASE reaches it: the table need not exist, nor be readable.
    'migrations', (
        SELECT CASE WHEN $3::pg_catalog.bool AND pg_catalog.has_table_privilege(oid, 'SELECT') AND pg_catalog.has_schema_privilege(nspname, 'USAGE')
            AND 3 = (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute
                     WHERE attrelid = oid AND attname IN ('migration_name', 'finished_at', 'rolled_back_at'))
            THEN pg_catalog.substring(pg_catalog.query_to_xml(pg_catalog.format(
                'SELECT json_build_object(''last'', max(substring(migration_name, ''^[0-9a-zA-Z_]+$'') COLLATE "C") FILTER (WHERE finished_at IS NOT NULL),
                    ''unfinished'', count(*) FILTER (WHERE finished_at IS NULL)) AS j FROM %I._prisma_migrations WHERE rolled_back_at IS NULL',
                nspname), false, false, '')::pg_catalog.text, '<j>(.*)</j>')::pg_catalog.json END
        FROM rel WHERE here AND relname = '_prisma_migrations' AND relkind = 'r'),
    'table', (
        SELECT pg_catalog.json_build_object(
            'kind', relkind, 'partition', relispartition, 'owner', pg_catalog.pg_get_userbyid(relowner),
            'mine', pg_catalog.pg_has_role(relowner, 'USAGE'), 'columns', (SELECT pg_catalog.json_agg(attname ORDER BY attnum) FROM att))
        FROM tab),
    'indexes', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', relname, 'definition', pg_catalog.pg_get_indexdef(indexrelid),
            'unique', indisunique, 'primary', indisprimary, 'valid', indisvalid, 'keys', indnkeyatts, 'special', special,
            'key', (SELECT attname FROM att WHERE attnum = idx.key),
            'expression', CASE WHEN indexprs IS NOT NULL THEN pg_catalog.pg_get_indexdef(indexrelid, 1, false) END,
            'constraint', (SELECT pg_catalog.json_build_object('name', conname, 'definition', pg_catalog.pg_get_constraintdef(oid))
                           FROM con WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x')),
            'dependants', (SELECT pg_catalog.json_agg(pg_catalog.format('foreign key %I of table %s', conname, conrelid::pg_catalog.regclass))
                           FROM con WHERE conindid = indexrelid AND contype = 'f')))
        FROM idx),
    -- 23: BEFORE INSERT OR UPDATE, FOR EACH ROW
    'trigger', (
        SELECT pg_catalog.json_build_object(
            'definition', pg_catalog.pg_get_triggerdef(t.oid), 'body', f.prosrc, 'settings', f.proconfig,
            'works', t.tgtype = 23 AND t.tgenabled IN ('O', 'A') AND t.tgattr = '' AND t.tgqual IS NULL AND NOT f.prosecdef
                AND f.proname = 'evolution_openai_patch' AND f.pronamespace = c.relnamespace)
        FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
        WHERE t.tgrelid = (SELECT oid FROM tab) AND t.tgname = 'evolution_openai_patch'),
    'function', (
        SELECT f.oid::pg_catalog.regprocedure FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
        WHERE f.proname = 'evolution_openai_patch' AND f.pronargs = 0 AND n.nspname = $1::pg_catalog.name),
    'keys', (
        SELECT CASE WHEN $4::pg_catalog.bool AND pg_catalog.has_table_privilege(tab.oid, 'SELECT') AND pg_catalog.has_schema_privilege(nspname, 'USAGE')
            THEN pg_catalog.substring(pg_catalog.query_to_xml(pg_catalog.format(
                'SELECT json_build_object(''bare'', count(*) FILTER (WHERE k <> p AND length(p) <= %2$s), ''spaced'', count(*) FILTER (WHERE k LIKE ''%% ''),
                    ''full'', count(*) FILTER (WHERE k <> p AND length(p) > %2$s), ''limit'', %2$s) AS j
                 FROM (SELECT "apiKey"::text COLLATE "C" AS k, rtrim("apiKey", '' '') || '' '' COLLATE "C" AS p FROM %1$I."OpenaiCreds") AS keys',
                nspname, CASE WHEN atttypmod > 4 THEN atttypmod - 4 ELSE 1000000000 END),
                false, false, '')::pg_catalog.text, '<j>(.*)</j>')::pg_catalog.json END
        FROM tab JOIN att ON attname = 'apiKey' WHERE relkind = 'r'),
    'guard', (
        SELECT pg_catalog.json_build_object('signature', pg_catalog.obj_description(oid, 'pg_event_trigger'),
            'enabled', evtenabled IN ('O', 'A'), 'mine', pg_catalog.pg_has_role(evtowner, 'USAGE'))
        FROM pg_catalog.pg_event_trigger WHERE evtname = $5::pg_catalog.name),
    'named', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', relname, 'kind', relkind)) FROM rel WHERE here AND relname = ANY ($2))
)::pg_catalog.text
