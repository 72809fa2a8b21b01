-- The functions of the padding's name. Whoever owns one can replace it, and so is trusted only if the role could do whatever
-- the owner of the table does.
SELECT f.pronamespace AS namespace, f.oid, pg_catalog.pg_get_userbyid(f.proowner) AS owner, f.prosrc AS body, f.proconfig AS settings,
    pg_catalog.obj_description(f.oid, 'pg_proc') AS comment,
    f.prokind = 'f' AND f.prolang = (SELECT l.oid FROM pg_catalog.pg_language l WHERE l.lanname = 'plpgsql') AND NOT f.prosecdef AND NOT f.proretset
        AND f.provolatile = 'v' AND f.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype AS plain,
    pg_catalog.pg_has_role(f.proowner, (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.relname = 'OpenaiCreds' AND c.relnamespace = f.pronamespace), 'MEMBER') AS trusted,
    ARRAY(SELECT pg_catalog.format('trigger %I on table %s', t.tgname, t.tgrelid::pg_catalog.regclass)
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_trigger t ON t.oid = d.objid JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
        WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refobjid = f.oid AND d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass
            AND (t.tgname <> 'evolution_openai_patch' OR c.relname <> 'OpenaiCreds' OR c.relnamespace <> f.pronamespace)
        ORDER BY t.oid) AS users
FROM pg_catalog.pg_proc f
WHERE f.proname = 'evolution_openai_patch' AND f.pronargs = 0
    AND f.pronamespace = ANY (ARRAY(SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY (:'schemas'::pg_catalog.name[])))
