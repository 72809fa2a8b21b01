-- What the catalog says of one schema: one row, one JSON document. No row of anybody's table is read here, and nothing that
-- the owner of the schema wrote is evaluated. Colon and quotes stand for a quoted value, as in psql: the schema, the name of
-- its guard, and the names of the table, of the indexes of the catalogue and of Prisma's list.
-- Few tables, few functions, few operators: in a fresh session, looking them up takes longer than all the rest.
WITH rel AS (
    SELECT c.oid, c.relname, c.relkind, c.relowner, c.relispartition, pg_catalog.row_security_active(c.oid) AS hidden,
        pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable,
        (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                'name', a.attname, 'number', a.attnum, 'type', pg_catalog.format_type(a.atttypid, NULL), 'text', a.atttypid IN (25, 1043), -- text, varchar
                'builtin', a.atttypid < '16384'::pg_catalog.oid, 'limit', CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 0 END, 'generated', a.attgenerated <> '') ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped) AS columns
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = :'schema'::pg_catalog.text) AND c.relname = ANY (:'names'::pg_catalog.name[])
)
SELECT pg_catalog.json_build_object(
    'role', current_user, 'superuser', pg_catalog.current_setting('is_superuser') = 'on', 'standby', pg_catalog.pg_is_in_recovery(),
    -- Prisma's advisory lock, in this database.
    'migrating', EXISTS (SELECT FROM pg_catalog.pg_lock_status() l
        WHERE l.locktype = 'advisory' AND l.classid = '0'::pg_catalog.oid AND l.objid = '72707369'::pg_catalog.oid AND l.objsubid = 1 AND l.granted
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())),
    -- To whom this role's default privileges open what it creates.
    'grantees', (SELECT pg_catalog.json_agg(DISTINCT pg_catalog.pg_get_userbyid(x.grantee))
        FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) x
        WHERE pg_catalog.pg_get_userbyid(d.defaclrole) = current_user AND d.defaclobjtype IN ('f', 'n') AND x.grantee NOT IN (0, d.defaclrole)),
    'guarded', EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = :'guard'),
    'table', (
        SELECT pg_catalog.json_build_object('oid', oid, 'kind', relkind, 'partition', relispartition, 'owner', pg_catalog.pg_get_userbyid(relowner),
            'mine', pg_catalog.pg_has_role(relowner, 'USAGE'), 'hidden', hidden, 'readable', readable, 'columns', columns)
        FROM rel WHERE relname = 'OpenaiCreds'),
    'list', (
        SELECT pg_catalog.json_build_object('kind', relkind, 'hidden', hidden, 'readable', readable, 'columns', columns)
        FROM rel WHERE relname = '_prisma_migrations'),
    'indexes', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'oid', indexrelid, 'name', indexrelid::pg_catalog.regclass, 'definition', pg_catalog.pg_get_indexdef(indexrelid), 'key', pg_catalog.pg_get_indexdef(indexrelid, 1, false),
            'unique', indisunique, 'primary', indisprimary, 'keys', indnkeyatts, 'columns', indkey::pg_catalog.text,
            'expressions', indexprs IS NOT NULL, 'partial', indpred IS NOT NULL, 'identity', indisreplident,
            'constraints', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', conname, 'type', contype, 'table', conrelid::pg_catalog.regclass, 'definition', pg_catalog.pg_get_constraintdef(oid)) ORDER BY oid)
                            FROM pg_catalog.pg_constraint WHERE conindid = indexrelid AND NOT indisprimary)) ORDER BY indexrelid)
        FROM pg_catalog.pg_index WHERE indrelid = (SELECT oid FROM rel WHERE relname = 'OpenaiCreds')),
    'named', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('oid', oid, 'name', relname, 'kind', relkind) ORDER BY oid) FROM rel WHERE relname <> '_prisma_migrations')
)::pg_catalog.text
