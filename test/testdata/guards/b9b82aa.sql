-- The guard of version b9b82aa for schema public and all fixes, as PATCH_DRY_RUN printed it.
CREATE SCHEMA "evolution_openai_patch_cc909380";
CREATE TABLE "evolution_openai_patch_cc909380".todo (schema name, index name, commands text[]);
INSERT INTO "evolution_openai_patch_cc909380".todo VALUES ('public', 'OpenaiCreds_apiKey_key', ARRAY['DROP INDEX IF EXISTS "public"."OpenaiCreds_apiKey_key"', 'CREATE OR REPLACE FUNCTION "public"."evolution_openai_patch"() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$BEGIN NEW."apiKey" := rtrim(NEW."apiKey", '' '') || '' ''; RETURN NEW; EXCEPTION WHEN OTHERS THEN RETURN NEW; END$$', 'DROP TRIGGER IF EXISTS evolution_openai_patch ON "public"."OpenaiCreds"', 'CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "public"."OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION "public"."evolution_openai_patch"()']), ('public', 'OpenaiCreds_name_key', ARRAY['DROP INDEX IF EXISTS "public"."OpenaiCreds_name_key"']);
CREATE FUNCTION "evolution_openai_patch_cc909380".guard() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = "evolution_openai_patch_cc909380", pg_catalog, pg_temp AS $guard$/* Body of the event trigger's function. It runs inside Evolution's own migration, as the role that armed the guard, right
   after CREATE INDEX: so it fails nothing, and takes itself away when its last index has come. Its search_path begins with
   its own schema, which has the event trigger's name. */
DECLARE
    guard pg_catalog.text := pg_catalog.current_schema();
    task pg_catalog.record;
    command pg_catalog.text;
    target pg_catalog.oid;
BEGIN
    FOR task IN
        SELECT todo.*, o.relowner
        FROM pg_catalog.pg_event_trigger_ddl_commands() c
            JOIN pg_catalog.pg_index i ON i.indexrelid = c.objid AND i.indisunique
            JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
            JOIN pg_catalog.pg_class o ON o.oid = i.indrelid AND o.relname = 'OpenaiCreds'
            JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
            JOIN todo ON todo.schema = n.nspname AND todo.index = x.relname
    LOOP
        BEGIN
            FOREACH command IN ARRAY task.commands LOOP
                EXECUTE command;
            END LOOP;
            target := pg_catalog.to_regprocedure(pg_catalog.format('%I.evolution_openai_patch()', task.schema));
            IF target IS NOT NULL THEN /* not to be this role's, of which Evolution's may not be a member */
                EXECUTE pg_catalog.format('ALTER FUNCTION %s OWNER TO %I', target::pg_catalog.regprocedure, pg_catalog.pg_get_userbyid(task.relowner));
            END IF;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'evolution-openai-patch: % stays as it is (%): run evolution-openai-patch once more after this migration', task.index, SQLERRM;
        END;
        DELETE FROM todo WHERE todo.schema = task.schema AND todo.index = task.index;
    END LOOP;
    IF NOT EXISTS (SELECT FROM todo) THEN
        BEGIN
            EXECUTE pg_catalog.format('DROP EVENT TRIGGER %I', guard);
            EXECUTE pg_catalog.format('DROP FUNCTION %I.guard()', guard);
            EXECUTE pg_catalog.format('DROP TABLE %I.todo', guard);
            EXECUTE pg_catalog.format('DROP SCHEMA %I', guard);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'evolution-openai-patch: the guard % could not take itself away (%): run evolution-openai-patch once more', guard, SQLERRM;
        END;
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'evolution-openai-patch: the guard failed (%): run evolution-openai-patch once more after this migration', SQLERRM;
END
$guard$;
CREATE EVENT TRIGGER "evolution_openai_patch_cc909380" ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION "evolution_openai_patch_cc909380".guard();
COMMENT ON EVENT TRIGGER "evolution_openai_patch_cc909380" IS '428c5ead';
