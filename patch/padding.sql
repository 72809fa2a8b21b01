-- What the catalog says of the padding, and of whatever would run in an UPDATE of the table: a row with one JSON document for
-- each of some schemas that has the table. Colon and quotes stand for the quoted names of the schemas, as in psql.
SELECT pg_catalog.json_build_object(
    'schema', n.nspname,
    'triggers', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', t.tgname, 'definition', pg_catalog.pg_get_triggerdef(t.oid), 'function', t.tgfoid, 'type', t.tgtype, 'enabled', t.tgenabled,
            'plain', t.tgattr = '' AND t.tgqual IS NULL AND t.tgnargs = 0 AND t.tgconstraint = 0 AND t.tgoldtable IS NULL AND t.tgnewtable IS NULL) ORDER BY t.tgname)
        FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal),
    'function', (
        SELECT pg_catalog.json_build_object(
            'oid', f.oid, 'owner', pg_catalog.pg_get_userbyid(f.proowner), 'body', f.prosrc, 'settings', f.proconfig, 'comment', pg_catalog.obj_description(f.oid, 'pg_proc'),
            'plain', f.prokind = 'f' AND l.lanname = 'plpgsql' AND NOT f.prosecdef AND NOT f.proretset AND f.provolatile = 'v' AND f.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype,
            -- Whoever owns it can replace it, and so has to be somebody who can do as the owner of the table does.
            'trusted', pg_catalog.pg_has_role(f.proowner, c.relowner, 'MEMBER'),
            'users', (SELECT pg_catalog.json_agg(pg_catalog.format('trigger %I on table %s', t.tgname, t.tgrelid::pg_catalog.regclass) ORDER BY t.oid)
                      FROM pg_catalog.pg_trigger t WHERE t.tgfoid = f.oid AND (t.tgrelid <> c.oid OR t.tgname <> 'evolution_openai_patch')))
        FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_language l ON l.oid = f.prolang
        WHERE f.proname = 'evolution_openai_patch' AND f.pronargs = 0 AND f.pronamespace = c.relnamespace),
    'rules', (SELECT pg_catalog.json_agg(r.rulename ORDER BY r.rulename) FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid),
    'checks', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', k.conname, 'definition', pg_catalog.pg_get_constraintdef(k.oid), 'columns', k.conkey, 'validated', k.convalidated) ORDER BY k.conname)
        FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'),
    -- An update that cascades queues triggers of the other table, which fire with the rights of whoever updates.
    'foreign_keys', (
        SELECT pg_catalog.json_agg(pg_catalog.format('%I of table %s', k.conname, k.conrelid::pg_catalog.regclass) ORDER BY k.oid)
        FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'apiKey'
        WHERE k.contype = 'f' AND (k.confrelid = c.oid AND a.attnum = ANY (k.confkey) OR k.conrelid = c.oid AND a.attnum = ANY (k.conkey))),
    'statistics', (SELECT pg_catalog.json_agg(e.stxname ORDER BY e.stxname) FROM pg_catalog.pg_statistic_ext e WHERE e.stxrelid = c.oid),
    'children', (SELECT pg_catalog.json_agg(i.inhrelid::pg_catalog.regclass ORDER BY i.inhrelid) FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid),
    -- Where this is replica, no ordinary trigger fires. Evolution connects as this role or as the owner of its table. A
    -- setting is stored in the spelling of whoever made it.
    'replica', (
        SELECT pg_catalog.json_agg(DISTINCT found.place) FROM (
            SELECT CASE WHEN r.setrole = 0 THEN 'the database' ELSE pg_catalog.format('role %I', pg_catalog.pg_get_userbyid(r.setrole)) END
            FROM pg_catalog.pg_db_role_setting r, pg_catalog.unnest(r.setconfig) AS config(setting)
            WHERE pg_catalog.lower(config.setting) = 'session_replication_role=replica' AND (r.setrole IN (0, c.relowner) OR pg_catalog.pg_get_userbyid(r.setrole) = session_user)
                AND (r.setdatabase = 0 OR r.setdatabase = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
            UNION ALL
            SELECT 'this session' WHERE pg_catalog.current_setting('session_replication_role') = 'replica') AS found(place)),
    'nondeterministic', EXISTS (
        SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation
        WHERE a.attrelid = c.oid AND a.attname = 'apiKey' AND NOT o.collisdeterministic)
)::pg_catalog.text
FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
WHERE n.nspname = ANY (:'schemas'::pg_catalog.text[]) AND c.relname = 'OpenaiCreds' AND c.relkind = 'r'
