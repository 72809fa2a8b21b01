-- What the plan needs to know for the padding: one row, one JSON document, null without the table. $1: the schema.
SELECT pg_catalog.json_build_object(
    -- 23: BEFORE INSERT OR UPDATE, FOR EACH ROW
    'trigger', (
        SELECT pg_catalog.json_build_object(
            'definition', pg_catalog.pg_get_triggerdef(t.oid), 'body', f.prosrc, 'settings', f.proconfig,
            'works', t.tgtype = 23 AND t.tgenabled IN ('O', 'A') AND t.tgattr = '' AND t.tgqual IS NULL AND NOT f.prosecdef
                AND f.proname = 'evolution_openai_patch' AND f.pronamespace = c.relnamespace)
        FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
        WHERE t.tgrelid = c.oid AND t.tgname = 'evolution_openai_patch'),
    'function', (
        SELECT f.oid::pg_catalog.regprocedure FROM pg_catalog.pg_proc f
        WHERE f.proname = 'evolution_openai_patch' AND f.pronargs = 0 AND f.pronamespace = c.relnamespace),
    'keys', (
        SELECT CASE WHEN pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_schema_privilege($1, 'USAGE')
            THEN (SELECT word::pg_catalog.json FROM pg_catalog.ts_stat(pg_catalog.format(
                'SELECT array_to_tsvector(ARRAY[json_build_object(''bare'', count(*) FILTER (WHERE k <> p AND length(p) <= %2$s), ''spaced'', count(*) FILTER (WHERE k LIKE ''%% ''),
                    ''full'', count(*) FILTER (WHERE k <> p AND length(p) > %2$s), ''limit'', %2$s)::text])
                 FROM (SELECT "apiKey"::text COLLATE "C" AS k, rtrim("apiKey", '' '') || '' '' COLLATE "C" AS p FROM %1$s) AS keys',
                c.oid::pg_catalog.regclass, CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 1000000000 END))) END
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname = 'apiKey' AND a.atttypid IN ('pg_catalog.text'::pg_catalog.regtype, 'pg_catalog.varchar'::pg_catalog.regtype))
)::pg_catalog.text
FROM pg_catalog.pg_class c
WHERE c.relname = 'OpenaiCreds' AND c.relkind = 'r'
  AND c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1::pg_catalog.name)
