-- What the catalog says of each of some schemas: a row with one JSON document for each. No row of anybody's table is read here,
-- and nothing that the owner of a schema wrote is evaluated. Colon and quotes stand for a quoted value, as in psql: the
-- schemas, and the names of the table, of the indexes of the catalogue and of Prisma's list.
-- Few tables, few functions, few operators: in a fresh session, looking them up takes longer than all the rest.
SELECT pg_catalog.json_build_object(
    'schema', wanted.name, 'role', current_user, 'superuser', pg_catalog.current_setting('is_superuser') = 'on', 'standby', pg_catalog.pg_is_in_recovery(),
    -- Prisma's advisory lock, in this database.
    'migrating', EXISTS (SELECT FROM pg_catalog.pg_lock_status() l
        WHERE l.locktype = 'advisory' AND l.classid = '0'::pg_catalog.oid AND l.objid = '72707369'::pg_catalog.oid AND l.objsubid = 1 AND l.granted
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())),
    'guarded', EXISTS (SELECT FROM pg_catalog.pg_namespace g WHERE g.nspname = wanted.guard),
    'relations', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object('oid', c.oid, 'name', c.relname, 'kind', c.relkind, 'partition', c.relispartition, 'owner', pg_catalog.pg_get_userbyid(c.relowner),
            'mine', pg_catalog.pg_has_role(c.relowner, 'USAGE'), 'hidden', pg_catalog.row_security_active(c.oid),
            'readable', pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'),
            'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                    'name', a.attname, 'number', a.attnum, 'type', pg_catalog.format_type(a.atttypid, NULL), 'text', a.atttypid IN (25, 1043), -- text, varchar
                    'builtin', a.atttypid < '16384'::pg_catalog.oid, 'limit', CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 0 END, 'generated', a.attgenerated <> '') ORDER BY a.attnum)
                FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped),
            'indexes', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                    'oid', i.indexrelid, 'name', i.indexrelid::pg_catalog.regclass, 'definition', pg_catalog.pg_get_indexdef(i.indexrelid), 'key', pg_catalog.pg_get_indexdef(i.indexrelid, 1, false),
                    'unique', i.indisunique, 'primary', i.indisprimary, 'keys', i.indnkeyatts, 'columns', i.indkey::pg_catalog.text,
                    'expressions', i.indexprs IS NOT NULL, 'partial', i.indpred IS NOT NULL, 'identity', i.indisreplident,
                    'constraints', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', k.conname, 'type', k.contype, 'table', k.conrelid::pg_catalog.regclass, 'definition', pg_catalog.pg_get_constraintdef(k.oid)) ORDER BY k.oid)
                        FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND NOT i.indisprimary)) ORDER BY i.indexrelid)
                FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND c.relname = 'OpenaiCreds')) ORDER BY c.relname)
        FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = ANY (:'names'::pg_catalog.name[]))
)::pg_catalog.text
FROM ROWS FROM (pg_catalog.unnest(:'schemas'::pg_catalog.text[]), pg_catalog.unnest(:'guards'::pg_catalog.text[])) AS wanted(name, guard)
    LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.name
