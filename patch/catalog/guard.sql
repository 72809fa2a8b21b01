-- The schemas that hold the guards, and the event triggers, which have their names. What another role made could be changed by it
-- at any time.
SELECT n.nspname AS schema, pg_catalog.pg_get_userbyid(n.nspowner) AS owner, pg_catalog.pg_has_role(n.nspowner, 'USAGE') AS mine,
    pg_catalog.pg_get_userbyid(n.nspowner) = current_user OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = n.nspowner) AS trusted,
    ARRAY(SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_catalog.pg_depend d
        WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid AND d.classid <> 'pg_catalog.pg_proc'::pg_catalog.regclass
        ORDER BY d.classid, d.objid) AS others,
    (SELECT pg_catalog.row_to_json(t) FROM (
        SELECT e.evtfoid AS function, e.evtenabled IN ('O', 'A') AS enabled, pg_catalog.pg_has_role(e.evtowner, 'USAGE') AS mine
        FROM pg_catalog.pg_event_trigger e WHERE e.evtname = n.nspname) AS t) AS trigger
FROM pg_catalog.pg_namespace n
WHERE n.nspname = ANY (:'guards'::pg_catalog.name[])
