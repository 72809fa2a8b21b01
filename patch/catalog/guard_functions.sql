-- The functions in the schemas that hold the guards.
SELECT n.nspname AS schema, f.oid, f.proname AS name, f.prosrc AS body, f.proconfig AS settings,
    (o.rolname = current_user OR o.rolsuper) AND f.prokind = 'f' AND f.prosecdef AND f.pronargs = 0
        AND f.prorettype = 'pg_catalog.event_trigger'::pg_catalog.regtype AND l.lanname = 'plpgsql' AS exact
FROM pg_catalog.pg_namespace n
    JOIN pg_catalog.pg_proc f ON f.pronamespace = n.oid
    JOIN pg_catalog.pg_language l ON l.oid = f.prolang
    JOIN pg_catalog.pg_roles o ON o.oid = f.proowner
WHERE n.nspname = ANY (:'guards'::pg_catalog.name[])
ORDER BY f.oid
