-- What there is of the guards of some schemas: a row with one JSON document for each that has one. Colon and quotes stand for
-- quoted values, as in psql: the schemas, and the names of their event triggers, which are those of the schemas that hold
-- their functions.
SELECT pg_catalog.json_build_object('schema', wanted.name, 'guard', pg_catalog.json_build_object(
    'owner', pg_catalog.pg_get_userbyid(n.nspowner),
    'mine', pg_catalog.pg_has_role(n.nspowner, 'USAGE'),
    -- What another role made could be changed by it at any time.
    'trusted', pg_catalog.pg_get_userbyid(n.nspowner) = current_user OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = n.nspowner),
    'functions', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object('oid', f.oid, 'name', f.proname, 'body', f.prosrc, 'settings', f.proconfig,
            'exact', (pg_catalog.pg_get_userbyid(f.proowner) = current_user OR o.rolsuper) AND f.prokind = 'f' AND f.prosecdef AND f.pronargs = 0 AND f.prorettype = 'pg_catalog.event_trigger'::pg_catalog.regtype
                AND l.lanname = 'plpgsql') ORDER BY f.oid)
        FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_language l ON l.oid = f.prolang JOIN pg_catalog.pg_roles o ON o.oid = f.proowner WHERE f.pronamespace = n.oid),
    'others', (
        SELECT pg_catalog.json_agg(pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) ORDER BY d.classid, d.objid)
        FROM pg_catalog.pg_depend d
        WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid AND d.classid <> 'pg_catalog.pg_proc'::pg_catalog.regclass),
    'trigger', (
        SELECT pg_catalog.json_build_object('function', e.evtfoid, 'enabled', e.evtenabled IN ('O', 'A'), 'mine', pg_catalog.pg_has_role(e.evtowner, 'USAGE'))
        FROM pg_catalog.pg_event_trigger e WHERE e.evtname = n.nspname)
))::pg_catalog.text
FROM ROWS FROM (pg_catalog.unnest(:'schemas'::pg_catalog.text[]), pg_catalog.unnest(:'guards'::pg_catalog.text[])) AS wanted(name, guard)
    JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.guard
