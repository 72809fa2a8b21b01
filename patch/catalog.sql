-- The questions to PostgreSQL's catalog, each a plain statement under its name. No row of anybody's table is read here, and
-- nothing that the owner of a schema wrote is evaluated. Colon and quotes stand for quoted arrays, as in psql: the names of some
-- schemas, those of the schemas that hold their guards, what may be in a schema, and the OIDs of the tables.
-- Few tables, few functions, few operators: in a fresh session, looking them up takes longer than all the rest.

-- name: session
-- The session, and whether Prisma's advisory lock is held in this database.
SELECT current_user AS role, pg_catalog.current_setting('is_superuser') = 'on' AS superuser, pg_catalog.pg_is_in_recovery() AS standby,
    pg_catalog.current_setting('session_replication_role') = 'replica' AS replica,
    EXISTS (SELECT FROM pg_catalog.pg_lock_status() l
        WHERE l.locktype = 'advisory' AND l.classid = '0'::pg_catalog.oid AND l.objid = '72707369'::pg_catalog.oid AND l.objsubid = 1 AND l.granted
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) AS migrating

-- name: schemas
-- The schemas, and those that hold their guards.
SELECT n.nspname AS schema, n.oid AS namespace
FROM pg_catalog.pg_namespace n
WHERE n.nspname = ANY (:'schemas'::pg_catalog.name[] || :'guards'::pg_catalog.name[])
ORDER BY n.oid

-- name: relations
-- Whatever in the schemas has the name of the table, of an index of the catalogue, or of Prisma's list.
SELECT c.relnamespace AS namespace, c.oid, c.relname AS name, c.relkind AS kind, c.relispartition AS partition, pg_catalog.pg_get_userbyid(c.relowner) AS owner,
    pg_catalog.pg_has_role(c.relowner, 'USAGE') AS mine, pg_catalog.row_security_active(c.oid) AS hidden,
    pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable,
    c.relhasrules AS rules, c.relhassubclass AS children
FROM pg_catalog.pg_class c
WHERE c.relname = ANY (:'names'::pg_catalog.name[])
    AND c.relnamespace = ANY (ARRAY(SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY (:'schemas'::pg_catalog.name[])))
ORDER BY c.oid

-- name: columns
-- The columns of the table and of Prisma's list. The types text and varchar are 25 and 1043; what initdb makes is below 16384.
SELECT a.attrelid AS relation, a.attname AS name, a.attnum AS number, pg_catalog.format_type(a.atttypid, NULL) AS type, a.atttypid IN (25, 1043) AS text,
    a.atttypid < '16384'::pg_catalog.oid AS builtin, CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 0 END AS limit, a.attgenerated <> '' AS generated,
    a.attcollation AS collation
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = ANY (ARRAY(
        SELECT c.oid FROM pg_catalog.pg_class c
        WHERE c.relname IN ('OpenaiCreds', '_prisma_migrations') AND c.relkind = 'r'
            AND c.relnamespace = ANY (ARRAY(SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY (:'schemas'::pg_catalog.name[])))))
    AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum

-- name: functions
-- The functions of the padding's name. Whoever owns one can replace it, and so is trusted only if the role could do whatever
-- the owner of the table does. Since PostgreSQL 16 a membership alone does not say so.
SELECT f.pronamespace AS namespace, f.oid, pg_catalog.pg_get_userbyid(f.proowner) AS owner, f.prosrc AS body, f.proconfig AS settings,
    f.prokind = 'f' AND f.prolang = (SELECT l.oid FROM pg_catalog.pg_language l WHERE l.lanname = 'plpgsql') AND NOT f.prosecdef AND NOT f.proretset
        AND f.provolatile = 'v' AND f.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype AS plain,
    pg_catalog.pg_has_role(f.proowner, (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.relname = 'OpenaiCreds' AND c.relnamespace = f.pronamespace),
        CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 160000 THEN 'MEMBER' ELSE 'SET' END) AS trusted
FROM pg_catalog.pg_proc f
WHERE f.proname = 'evolution_openai_patch' AND f.pronargs = 0
    AND f.pronamespace = ANY (ARRAY(SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY (:'schemas'::pg_catalog.name[])))

-- name: collations
-- The collations in which different strings may be equal.
SELECT o.oid AS collation
FROM pg_catalog.pg_collation o
WHERE NOT o.collisdeterministic
ORDER BY o.oid

-- name: function_use
-- The comments on the functions of the padding's name, and the triggers of others that call them.
SELECT f.pronamespace AS namespace, pg_catalog.obj_description(f.oid, 'pg_proc') AS comment,
    ARRAY(SELECT pg_catalog.format('trigger %I on table %s', t.tgname, t.tgrelid::pg_catalog.regclass)
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_trigger t ON t.oid = d.objid JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
        WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refobjid = f.oid AND d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass
            AND (t.tgname <> 'evolution_openai_patch' OR c.relname <> 'OpenaiCreds' OR c.relnamespace <> f.pronamespace)
        ORDER BY t.oid) AS users
FROM pg_catalog.pg_proc f
WHERE f.proname = 'evolution_openai_patch' AND f.pronargs = 0
    AND f.pronamespace = ANY (ARRAY(SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY (:'schemas'::pg_catalog.name[])))

-- name: indexes
-- The indexes of the tables.
SELECT i.indrelid AS relation, i.indexrelid AS oid, i.indexrelid::pg_catalog.regclass AS name,
    pg_catalog.pg_get_indexdef(i.indexrelid) AS definition, pg_catalog.pg_get_indexdef(i.indexrelid, 1, false) AS key,
    i.indisunique AS unique, i.indisprimary AS primary, i.indnkeyatts AS keys, i.indkey::pg_catalog.int2[] AS columns,
    i.indexprs IS NOT NULL AS expressions, i.indpred IS NOT NULL AS partial, i.indisreplident AS identity
FROM pg_catalog.pg_index i
WHERE i.indrelid = ANY (:'tables'::pg_catalog.oid[])
ORDER BY i.indexrelid

-- name: constraints
-- The constraints of the tables, and the foreign keys that refer to them.
SELECT k.conrelid AS relation, k.confrelid AS referred, k.conname AS name, k.contype AS type, k.conrelid::pg_catalog.regclass AS table, k.conindid AS index,
    pg_catalog.pg_get_constraintdef(k.oid) AS definition, k.conkey AS columns, k.confkey AS referred_columns, k.convalidated AS validated,
    k.confupdtype IN ('c', 'n', 'd') AS follows
FROM pg_catalog.pg_constraint k
WHERE k.conrelid = ANY (:'tables'::pg_catalog.oid[])
    OR k.oid = ANY (ARRAY(
        SELECT d.objid FROM pg_catalog.pg_depend d
        WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = ANY (:'tables'::pg_catalog.oid[])
            AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass))
ORDER BY k.oid

-- name: triggers
-- The triggers of the tables.
SELECT t.tgrelid AS relation, t.tgname AS name, pg_catalog.pg_get_triggerdef(t.oid) AS definition, t.tgfoid AS function, t.tgtype AS type, t.tgenabled AS enabled,
    t.tgattr = '' AND t.tgqual IS NULL AND t.tgnargs = 0 AND t.tgconstraint = 0 AND t.tgoldtable IS NULL AND t.tgnewtable IS NULL AS plain
FROM pg_catalog.pg_trigger t
WHERE t.tgrelid = ANY (:'tables'::pg_catalog.oid[]) AND NOT t.tgisinternal
ORDER BY t.tgrelid, t.tgname

-- name: code
-- What runs, or may run, when a key changes, and that calls a function, an operator or a type outside PostgreSQL's own which neither
-- the role nor a superuser owns: whoever owns one can replace what runs with the rights of the role. 2 stands for a rule on UPDATE.
-- One row is enough to refuse, and whoever makes them can make any number.
SELECT a.relation, pg_catalog.pg_describe_object(a.class, a.oid, 0) AS name, pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0) AS calls,
    pg_catalog.pg_get_userbyid(o.owner) AS owner
FROM (
        SELECT t.tgrelid AS relation, 'pg_catalog.pg_trigger'::pg_catalog.regclass AS class, t.oid FROM pg_catalog.pg_trigger t
        WHERE t.tgrelid = ANY (:'tables'::pg_catalog.oid[]) AND NOT t.tgisinternal AND t.tgname <> 'evolution_openai_patch' AND t.tgenabled <> 'D'
            AND t.tgtype & '16'::pg_catalog.int2 <> 0
        UNION ALL
        SELECT r.ev_class, 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid FROM pg_catalog.pg_rewrite r
        WHERE r.ev_class = ANY (:'tables'::pg_catalog.oid[]) AND r.ev_type = '2'
        UNION ALL
        SELECT k.conrelid, 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid FROM pg_catalog.pg_constraint k WHERE k.conrelid = ANY (:'tables'::pg_catalog.oid[])
        UNION ALL
        SELECT c.attrelid, 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid FROM pg_catalog.pg_attribute c -- of domains
            JOIN pg_catalog.pg_constraint k ON k.contypid = c.atttypid
        WHERE c.attrelid = ANY (:'tables'::pg_catalog.oid[]) AND c.attnum > 0 AND c.atttypid >= '16384'::pg_catalog.oid
        UNION ALL
        SELECT e.adrelid, 'pg_catalog.pg_attrdef'::pg_catalog.regclass, e.oid FROM pg_catalog.pg_attrdef e
            JOIN pg_catalog.pg_attribute c ON c.attrelid = e.adrelid AND c.attnum = e.adnum AND c.attgenerated <> ''
        WHERE e.adrelid = ANY (:'tables'::pg_catalog.oid[])
        UNION ALL
        SELECT i.indrelid, 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid = ANY (:'tables'::pg_catalog.oid[])
        UNION ALL
        SELECT s.stxrelid, 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid FROM pg_catalog.pg_statistic_ext s
        WHERE s.stxrelid = ANY (:'tables'::pg_catalog.oid[])
        UNION ALL
        SELECT c.oid, 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid FROM pg_catalog.pg_class c WHERE c.oid = ANY (:'tables'::pg_catalog.oid[])
    ) AS a
    JOIN pg_catalog.pg_depend d ON d.classid = a.class AND d.objid = a.oid
    CROSS JOIN LATERAL (SELECT CASE d.refclassid
        WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN (SELECT p.proowner FROM pg_catalog.pg_proc p WHERE p.oid = d.refobjid)
        WHEN 'pg_catalog.pg_operator'::pg_catalog.regclass THEN (SELECT p.oprowner FROM pg_catalog.pg_operator p WHERE p.oid = d.refobjid)
        WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN (SELECT p.typowner FROM pg_catalog.pg_type p WHERE p.oid = d.refobjid)
        WHEN 'pg_catalog.pg_opclass'::pg_catalog.regclass THEN (SELECT p.opcowner FROM pg_catalog.pg_opclass p WHERE p.oid = d.refobjid)
        END AS owner) AS o
    JOIN pg_catalog.pg_roles r ON r.oid = o.owner
WHERE NOT r.rolsuper AND r.rolname <> current_user
GROUP BY a.relation, a.class, a.oid, d.refclassid, d.refobjid, o.owner
ORDER BY a.class, a.oid, d.refclassid, d.refobjid
LIMIT 20

-- name: rules
-- The rules of the tables.
SELECT r.ev_class AS relation, r.rulename AS name
FROM pg_catalog.pg_rewrite r
WHERE r.ev_class = ANY (:'tables'::pg_catalog.oid[])
ORDER BY r.oid

-- name: children
-- The tables that inherit from the tables.
SELECT i.inhparent AS relation, i.inhrelid::pg_catalog.regclass AS name
FROM pg_catalog.pg_inherits i
WHERE i.inhparent = ANY (:'tables'::pg_catalog.oid[])
ORDER BY i.inhrelid

-- name: statistics
-- The extended statistics of the tables.
SELECT e.stxrelid AS relation, e.stxname AS name
FROM pg_catalog.pg_statistic_ext e
WHERE e.stxrelid = ANY (:'tables'::pg_catalog.oid[])
ORDER BY e.oid

-- name: replica
-- For whom session_replication_role is set to replica. A setting is stored in the spelling of whoever made it.
SELECT CASE WHEN r.setrole = 0 THEN 'the database' ELSE pg_catalog.format('role %I', pg_catalog.pg_get_userbyid(r.setrole)) END AS name,
    pg_catalog.pg_get_userbyid(r.setrole) AS role, r.setrole = 0 OR pg_catalog.pg_get_userbyid(r.setrole) = session_user AS connected
FROM pg_catalog.pg_db_role_setting r
WHERE EXISTS (SELECT FROM pg_catalog.unnest(r.setconfig) AS config(setting) WHERE pg_catalog.lower(config.setting) = 'session_replication_role=replica')
    AND (r.setdatabase = 0 OR r.setdatabase = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
ORDER BY r.setrole, r.setdatabase

-- name: grantees
-- To whom the default privileges of the role open what it creates.
SELECT DISTINCT pg_catalog.pg_get_userbyid(x.grantee) AS name
FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) x
WHERE pg_catalog.pg_get_userbyid(d.defaclrole) = current_user AND d.defaclobjtype IN ('f', 'n') AND x.grantee NOT IN (0, d.defaclrole)
ORDER BY 1

-- name: event_triggers
-- The event triggers of others that have the name of a guard without its schema, or that run when a command has ended, on a server
-- on which they can fail because of a guard: before PostgreSQL 14 the list of what a command has created cannot be read any more
-- once something of it was dropped.
SELECT e.evtname AS name, CASE WHEN e.evtname = ANY (:'guards'::pg_catalog.name[]) THEN e.evtname END AS schema
FROM pg_catalog.pg_event_trigger e
WHERE e.evtname = ANY (:'guards'::pg_catalog.name[]) AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = e.evtname)
    OR e.evtevent = 'ddl_command_end' AND e.evtenabled <> 'D' AND pg_catalog.left(e.evtname::pg_catalog.text, 23) <> 'evolution_openai_patch_'
        AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 140000
ORDER BY e.evtname

-- name: guard
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

-- name: guard_functions
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
