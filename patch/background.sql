-- What stands around a change and does not move while it is made: one row, one JSON document.
-- $1: the schema; $2: the name of its guard.
WITH rel AS (
    SELECT c.oid, c.relname, c.relkind, ARRAY(SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1::pg_catalog.name) AND c.relname = ANY ('{OpenaiCreds,_prisma_migrations}')
)
SELECT pg_catalog.json_build_object(
    'role', current_user, 'superuser', pg_catalog.current_setting('is_superuser') = 'on',
    'standby', pg_catalog.pg_is_in_recovery(),
    'columns', (SELECT columns FROM rel WHERE relname = 'OpenaiCreds'),
    -- A guard has a schema of its own name, which is cheaper to look for.
    'guard', CASE WHEN pg_catalog.to_regnamespace($2) IS NOT NULL THEN
        (SELECT word::pg_catalog.json FROM pg_catalog.ts_stat(
            'SELECT array_to_tsvector(ARRAY[json_build_object(''signature'', left(obj_description(oid, ''pg_event_trigger''), 8), ''enabled'', evtenabled IN (''O'', ''A''),
                ''mine'', pg_has_role(evtowner, ''USAGE''))::text]) FROM pg_event_trigger WHERE evtname = ' || pg_catalog.quote_literal($2))) END,
    'migrations', (
        SELECT CASE WHEN pg_catalog.has_table_privilege(oid, 'SELECT') AND pg_catalog.has_schema_privilege($1, 'USAGE')
            THEN (SELECT word::pg_catalog.json FROM pg_catalog.ts_stat(
                'SELECT array_to_tsvector(ARRAY[json_build_object(''last'', max(substring(migration_name::text, ''^[0-9]{14}'') COLLATE "C") FILTER (WHERE finished_at IS NOT NULL),
                    ''unfinished'', count(*) FILTER (WHERE finished_at IS NULL))::text]) FROM ' || oid::pg_catalog.regclass || ' WHERE rolled_back_at IS NULL')) END
        FROM rel WHERE relname = '_prisma_migrations' AND relkind = 'r' AND columns @> '{migration_name,finished_at,rolled_back_at}')
)::pg_catalog.text
