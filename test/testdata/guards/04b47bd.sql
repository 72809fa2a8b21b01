-- The guard of version 04b47bd for schema public and all fixes, as PATCH_DRY_RUN printed it.
CREATE SCHEMA "evolution_openai_patch_cc909380";
REVOKE ALL ON SCHEMA "evolution_openai_patch_cc909380" FROM PUBLIC;
CREATE FUNCTION "evolution_openai_patch_cc909380".guard_09375c228323e7b1() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10ms' SET client_min_messages = 'error' SET quote_all_identifiers = 'off' AS '-- evolution-openai-patch {"schema":"public","fixes":["apikey-index","apikey-check","name-index"],"keep_index_names":false}
-- It runs at the end of every CREATE INDEX in this database, also of other applications'', as the role that created it. So it
-- waits for nothing, fails nothing and says nothing to the session; what goes wrong is in the server''s log, and the next run
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
            JOIN pg_catalog.pg_class o ON o.oid = i.indrelid AND o.relkind = ''r'' AND o.relname = ''OpenaiCreds''
            JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace AND n.nspname = ''public''
    LOOP
        IF created.index = ''OpenaiCreds_apiKey_key'' THEN
            DROP INDEX IF EXISTS "public"."OpenaiCreds_apiKey_key";
            CREATE FUNCTION "public"."evolution_openai_patch"() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS ''BEGIN NEW."apiKey" := rtrim(NEW."apiKey", '''' '''') || '''' ''''; RETURN NEW; EXCEPTION WHEN OTHERS THEN RETURN NEW; END'';
            REVOKE ALL ON FUNCTION "public"."evolution_openai_patch"() FROM PUBLIC;
            CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "public"."OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION "public"."evolution_openai_patch"();
            EXECUTE pg_catalog.format(''ALTER FUNCTION %s OWNER TO %I'', ''"public"."evolution_openai_patch"()'', created.owner);
        END IF;
        IF created.index = ''OpenaiCreds_name_key'' THEN
            DROP INDEX IF EXISTS "public"."OpenaiCreds_name_key";
        END IF;
        IF created.index = ''OpenaiCreds_name_key'' THEN
            DROP EVENT TRIGGER "evolution_openai_patch_cc909380";
        END IF;
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE LOG ''evolution-openai-patch: the event trigger % changed nothing: %'', ''evolution_openai_patch_cc909380'', SQLERRM;
END
';
REVOKE ALL ON FUNCTION "evolution_openai_patch_cc909380".guard_09375c228323e7b1() FROM PUBLIC;
CREATE EVENT TRIGGER "evolution_openai_patch_cc909380" ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION "evolution_openai_patch_cc909380".guard_09375c228323e7b1();
