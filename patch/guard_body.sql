-- evolution-openai-patch :header
-- It runs at the end of every CREATE INDEX in this database, also of other applications', as the role that created it. So it
-- waits for nothing, fails nothing and says nothing to the session; what goes wrong is in the server's log, and the next run
-- of evolution-openai-patch puts it right. When the last index has come, its event trigger goes. The function stays: another
-- session may be about to call it.
DECLARE
    created pg_catalog.record;
BEGIN
    FOR created IN
        SELECT x.relname AS index, pg_catalog.pg_get_userbyid(o.relowner) AS owner
        FROM pg_catalog.pg_event_trigger_ddl_commands() c
            JOIN pg_catalog.pg_index i ON i.indexrelid = c.objid AND i.indisunique
            JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
            JOIN pg_catalog.pg_class o ON o.oid = i.indrelid AND o.relkind = 'r' AND o.relname = 'OpenaiCreds'
            JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace AND n.nspname = :'schema'
    LOOP
        :commands
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'evolution-openai-patch: the event trigger % changed nothing: %', :'guard', SQLERRM;
END
