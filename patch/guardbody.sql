-- evolution-openai-patch :header
-- It runs at the end of every CREATE INDEX in this database, also of other applications, as the role that made the guard. It
-- therefore waits for nothing, fails no statement and sends nothing to the session; an error goes to the server's log, and the
-- next run of evolution-openai-patch repairs what is missing. When the last index has been created, it drops its event
-- trigger. It does not drop its function, which another session may be about to call.
DECLARE
    created pg_catalog.record;
BEGIN
    FOR created IN
        SELECT x.relname AS index, pg_catalog.pg_get_userbyid(o.relowner) AS owner, n.oid AS namespace
        FROM pg_catalog.pg_event_trigger_ddl_commands() c
            JOIN pg_catalog.pg_index i ON i.indexrelid = c.objid AND i.indisunique
            JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
            JOIN pg_catalog.pg_class o ON o.oid = i.indrelid AND o.relkind = 'r' AND o.relname = 'OpenaiCreds'
            JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace AND n.nspname = :'schema'
    LOOP
        -- Without this lock the owner of the schema could give its name to another one between two statements.
        PERFORM FROM pg_catalog.pg_namespace n WHERE n.oid = created.namespace AND n.nspname = :'schema' FOR KEY SHARE;
        CONTINUE WHEN NOT FOUND;
        :commands
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'evolution-openai-patch: the event trigger % changed nothing: %', :'guard', SQLERRM;
END
