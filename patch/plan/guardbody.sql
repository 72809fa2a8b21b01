-- evolution-openai-patch :header
-- It runs at the end of every CREATE INDEX in this database, also of other applications, as the role that made the guard. It
-- therefore waits for nothing, fails no statement and sends nothing to the session; an error goes to the server's log, and the
-- next run of evolution-openai-patch repairs what is missing. When the last index has been created, it drops its event
-- trigger. It does not drop its function, which another session may be about to call.
DECLARE
    created pg_catalog.record;
    padding pg_catalog.oid;
BEGIN
    -- An index as Evolution creates it, of a table like Evolution's (the types text and varchar are 25 and 1043), whose owner may
    -- do what the owner of the schema or of the database may. Rows may be those of an old snapshot, so that these two are former
    -- ones; the functions see the present, in which a former owner may not grant CREATE.
    FOR created IN
        SELECT x.oid AS oid, x.relname AS index, fix.pads, o.oid AS relation, o.relnamespace AS namespace, pg_catalog.pg_get_userbyid(o.relowner) AS owner
        FROM pg_catalog.pg_event_trigger_ddl_commands() c
            JOIN pg_catalog.pg_index i ON i.indexrelid = c.objid AND i.indisunique AND i.indnatts = 1 AND i.indpred IS NULL
            JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
            JOIN pg_catalog.pg_class o ON o.oid = i.indrelid AND o.relkind = 'r' AND NOT o.relispartition AND o.relname = 'OpenaiCreds'
            JOIN pg_catalog.pg_attribute a ON a.attrelid = o.oid AND a.attnum = i.indkey[0] AND a.atttypid IN (25, 1043) AND a.attgenerated = ''
            JOIN (VALUES :fixes) AS fix(index, key, pads) ON fix.index = x.relname AND fix.key = a.attname
            JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace AND n.oid = pg_catalog.to_regnamespace(:'name')
            JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
        WHERE (pg_catalog.pg_has_role(o.relowner, current_user, 'USAGE')
                OR pg_catalog.pg_has_role(o.relowner, n.nspowner, 'USAGE') AND pg_catalog.has_schema_privilege(o.relowner, n.oid, 'CREATE WITH GRANT OPTION')
                OR pg_catalog.pg_has_role(o.relowner, d.datdba, 'USAGE') AND pg_catalog.has_database_privilege(o.relowner, d.oid, 'CREATE WITH GRANT OPTION'))
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger e -- whose function somebody else can replace
                    JOIN pg_catalog.pg_proc f ON f.oid = e.evtfoid
                    JOIN pg_catalog.pg_roles r ON r.oid = f.proowner
                WHERE e.evtevent <> 'login' AND e.evtenabled <> 'D' AND NOT r.rolsuper AND r.rolname <> current_user)
            AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute t
                WHERE t.attrelid = o.oid AND t.attname IN ('id', 'apiKey', 'instanceId') AND t.atttypid IN (25, 1043) AND t.attgenerated = '') = 3
    LOOP
        :commands
        IF created.index = :'last' THEN
            DROP EVENT TRIGGER :event_trigger;
        END IF;
        -- The owner of schemas can give their names to others between two statements. What could be given away or be left
        -- behind in another one is therefore looked for where it belongs; otherwise the guard has done nothing, and stays.
        padding := (SELECT f.oid
            FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
            WHERE t.tgrelid = created.relation AND t.tgname = 'evolution_openai_patch' AND f.proname = 'evolution_openai_patch' AND f.pronamespace = created.namespace
                AND f.proowner = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
                AND f.prosrc = :'body' AND f.proconfig = :'settings'::pg_catalog.text[] AND NOT f.prosecdef
                AND NOT pg_catalog.has_function_privilege('public', f.oid, 'EXECUTE'));
        IF created.pads AND padding IS NOT NULL AND created.owner <> current_user THEN
            EXECUTE pg_catalog.format('ALTER FUNCTION %s OWNER TO %I', :'function', created.owner);
        END IF;
        IF pg_catalog.to_regnamespace(:'name') IS DISTINCT FROM created.namespace
            OR EXISTS (SELECT FROM pg_catalog.pg_class x WHERE x.oid = created.oid)
            OR EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                WHERE i.indrelid = created.relation AND x.relname = created.index AND NOT i.indisunique) <> :keep
            OR created.pads AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc f WHERE f.oid = padding AND pg_catalog.pg_get_userbyid(f.proowner) = created.owner)
        THEN
            RAISE 'schema % was renamed at the same moment', :'schema';
        END IF;
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'evolution-openai-patch: the event trigger % changed nothing: %', :'guard', SQLERRM;
END
