-- Everything the plan needs, read in one statement and so from one snapshot: one row, one JSON document.
-- $1: the schema, as the user wrote it; $2: the names that Evolution's migrations give to the indexes of the catalogue.
WITH ns AS (
    SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname = $1::pg_catalog.name
), tab AS (
    SELECT c.oid, c.relkind, c.relowner, c.relispartition
    FROM pg_catalog.pg_class c JOIN ns ON c.relnamespace = ns.oid
    WHERE c.relname = 'OpenaiCreds' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
), mig AS (
    SELECT c.oid
    FROM pg_catalog.pg_class c JOIN ns ON c.relnamespace = ns.oid
    WHERE c.relname = '_prisma_migrations' AND c.relkind = 'r'
      AND 3 = (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
               WHERE a.attrelid = c.oid AND a.attname IN ('migration_name', 'finished_at', 'rolled_back_at'))
)
SELECT pg_catalog.json_build_object(
    'server', pg_catalog.current_setting('server_version'),
    'role', current_user,
    'standby', pg_catalog.pg_is_in_recovery(),
    'migrating', EXISTS (
        SELECT FROM pg_catalog.pg_locks
        WHERE locktype = 'advisory' AND classid = 0 AND objid = 72707369 AND objsubid = 1 AND granted
          AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())),
    'schema', (SELECT nspname FROM ns),
    'elsewhere', (
        SELECT pg_catalog.json_agg(n.nspname ORDER BY n.nspname)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname = 'OpenaiCreds' AND c.relkind IN ('r', 'p') AND n.nspname <> $1::pg_catalog.name),
    -- query_to_xml runs a statement only where the CASE reaches it: the table need not exist, nor be readable.
    'migration', (
        SELECT CASE WHEN pg_catalog.has_schema_privilege(ns.oid, 'USAGE') AND pg_catalog.has_table_privilege(mig.oid, 'SELECT')
            THEN pg_catalog.substring(pg_catalog.query_to_xml(pg_catalog.format(
                'SELECT max(migration_name COLLATE "C") AS m FROM %I._prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL',
                ns.nspname), false, false, '')::pg_catalog.text, '<m>([^<]*)</m>') END
        FROM ns, mig),
    'table', (
        SELECT pg_catalog.json_build_object(
            'kind', tab.relkind, 'partition', tab.relispartition, 'owner', pg_catalog.pg_get_userbyid(tab.relowner),
            'mine', pg_catalog.pg_has_role(current_user, tab.relowner, 'USAGE'),
            'columns', (SELECT pg_catalog.json_agg(attname ORDER BY attnum) FROM pg_catalog.pg_attribute
                        WHERE attrelid = tab.oid AND attnum > 0 AND NOT attisdropped))
        FROM tab),
    'indexes', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', ic.relname, 'definition', pg_catalog.pg_get_indexdef(ic.oid),
            'unique', i.indisunique, 'primary', i.indisprimary, 'valid', i.indisvalid, 'keys', i.indnkeyatts,
            'key', (SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = tab.oid AND a.attnum = i.indkey[0]),
            'columns', (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                        WHERE a.attrelid = tab.oid AND a.attnum > 0 AND (a.attnum = ANY (i.indkey) OR EXISTS (
                            SELECT FROM pg_catalog.pg_depend d
                            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = ic.oid
                              AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = tab.oid
                              AND d.refobjsubid = a.attnum))),
            'special', i.indpred IS NOT NULL OR i.indexprs IS NOT NULL OR i.indisreplident OR ic.relispartition,
            'constraint', con.conname,
            'dependants', (
                SELECT pg_catalog.json_agg(pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid))
                FROM pg_catalog.pg_depend d
                WHERE d.deptype = 'n'
                  AND (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = ic.oid
                       OR d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.refobjid = con.oid)))
            ORDER BY ic.relname)
        FROM tab JOIN pg_catalog.pg_index i ON i.indrelid = tab.oid JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
            LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = ic.oid AND con.conrelid = tab.oid AND con.contype IN ('p', 'u', 'x')),
    'named', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', c.relname, 'what', pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, c.oid, 0)))
        FROM pg_catalog.pg_class c JOIN ns ON c.relnamespace = ns.oid
        WHERE c.relname = ANY ($2::pg_catalog.name[]))
)::pg_catalog.text
