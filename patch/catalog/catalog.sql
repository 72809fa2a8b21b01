-- The questions to PostgreSQL's catalog, each a plain statement under its name. No row of anybody's table is read here, and
-- nothing that the owner of a schema wrote is evaluated. Colon and quotes stand for a quoted value, as in psql: the name of the schema
-- and that of the one that holds its guard, and, as arrays, what may be in the schema and the OID of the table.
-- Few tables, few functions, few operators: in a fresh session, looking them up takes longer than all the rest.

-- name: session
-- The session, and whether Prisma's advisory lock is held in this database.
SELECT current_user AS role, pg_catalog.current_setting('is_superuser') = 'on' AS superuser, pg_catalog.pg_is_in_recovery() AS standby,
    pg_catalog.current_setting('session_replication_role') = 'replica' AS replica,
    CASE WHEN pg_catalog.current_setting('session_replication_role') = 'replica' THEN
        (SELECT g.reset_val <> 'replica' FROM pg_catalog.pg_show_all_settings() g WHERE g.name = 'session_replication_role') END AS replica_left,
    EXISTS (SELECT FROM pg_catalog.pg_lock_status() l
        WHERE l.locktype = 'advisory' AND l.classid = '0'::pg_catalog.oid AND l.objid = '72707369'::pg_catalog.oid AND l.objsubid = 1 AND l.granted
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) AS migrating

-- name: schemas
-- The schema, and the one that holds its guard.
SELECT n.nspname AS name, n.oid
FROM pg_catalog.pg_namespace n
WHERE n.nspname IN (:'schema', :'guard')
ORDER BY n.oid

-- name: relations
-- Whatever in the schema has the name of the table, of an index of the catalogue, or of Prisma's list.
SELECT c.oid, c.relname AS name, c.relkind AS kind, c.relispartition AS partition, pg_catalog.pg_get_userbyid(c.relowner) AS owner,
    pg_catalog.pg_has_role(c.relowner, 'USAGE') AS mine, pg_catalog.row_security_active(c.oid) AS hidden,
    pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable,
    c.relhasrules AS rules, c.relhassubclass AS children
FROM pg_catalog.pg_class c
WHERE c.relname = ANY (:'names'::pg_catalog.name[])
    AND c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = :'schema')
ORDER BY c.oid

-- name: columns
-- The columns of the table and of Prisma's list. The types text and varchar are 25 and 1043.
SELECT a.attrelid AS relation, a.attname AS name, a.attnum AS number, pg_catalog.format_type(a.atttypid, NULL) AS type, a.atttypid IN (25, 1043) AS text,
    CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 0 END AS limit, a.attgenerated <> '' AS generated,
    a.attcollation AS collation, CASE WHEN a.attgenerated <> '' THEN
        (SELECT pg_catalog.strpos(pg_catalog.pg_get_expr(g.adbin, g.adrelid), '"apiKey"') > 0 FROM pg_catalog.pg_attrdef g
            WHERE g.adrelid = a.attrelid AND g.adnum = a.attnum) END AS computed
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = ANY (ARRAY(
        SELECT c.oid FROM pg_catalog.pg_class c
        WHERE c.relname IN ('OpenaiCreds', '_prisma_migrations') AND c.relkind = 'r'
            AND c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = :'schema')))
    AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum

-- name: functions
-- The functions of the padding's name. quote_all_identifiers leaves quotes in the settings. Whoever owns one can replace it, and so is trusted only if the role could do whatever
-- the owner of the table does. Since PostgreSQL 16 a membership alone does not say so.
SELECT f.oid, pg_catalog.pg_get_userbyid(f.proowner) AS owner,
    f.prosrc = :'body' AND pg_catalog.replace(pg_catalog.array_to_string(f.proconfig, ';'), '"', '') = :'settings' AND f.prokind = 'f' AND f.prolang = (SELECT l.oid FROM pg_catalog.pg_language l WHERE l.lanname = 'plpgsql') AND NOT f.prosecdef AND NOT f.proretset
        AND f.provolatile = 'v' AND f.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype AS exact,
    pg_catalog.pg_has_role(f.proowner, (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.relname = 'OpenaiCreds' AND c.relnamespace = f.pronamespace),
        CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 160000 THEN 'MEMBER' ELSE 'SET' END) AS trusted
FROM pg_catalog.pg_proc f
WHERE f.proname = 'evolution_openai_patch' AND f.pronargs = 0
    AND f.pronamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = :'schema')

-- name: collations
-- The collations in which different strings may be equal.
SELECT o.oid AS collation
FROM pg_catalog.pg_collation o
WHERE NOT o.collisdeterministic
ORDER BY o.oid

-- name: function_use
-- The triggers of others that call the function of the padding's name, at most ten of them.
SELECT ARRAY(SELECT pg_catalog.format('trigger %I on table %s', t.tgname, t.tgrelid::pg_catalog.regclass)
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_trigger t ON t.oid = d.objid JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
        WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refobjid = f.oid AND d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass
            AND (t.tgname <> 'evolution_openai_patch' OR c.relname <> 'OpenaiCreds' OR c.relnamespace <> f.pronamespace)
        ORDER BY t.oid LIMIT 10) AS users
FROM pg_catalog.pg_proc f
WHERE f.proname = 'evolution_openai_patch' AND f.pronargs = 0
    AND f.pronamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = :'schema')

-- name: indexes
-- The indexes of the tables. A definition of more than 4000 characters is cut, and its index refused.
SELECT i.indexrelid AS oid, i.indexrelid::pg_catalog.regclass AS name,
    pg_catalog.left(pg_catalog.pg_get_indexdef(i.indexrelid), 4001) AS definition, pg_catalog.left(pg_catalog.pg_get_indexdef(i.indexrelid, 1, false), 4001) AS key,
    i.indisunique AS unique, i.indisprimary AS primary, i.indnkeyatts AS keys, i.indkey::pg_catalog.int2[] AS columns,
    i.indexprs IS NOT NULL AS expressions, i.indpred IS NOT NULL AS partial, i.indisreplident AS identity
FROM pg_catalog.pg_index i
WHERE i.indrelid = ANY (:'tables'::pg_catalog.oid[])
ORDER BY i.indexrelid

-- name: constraints
-- The constraints of the tables, and the foreign keys that refer to them. What a definition says after 4000 characters is left
-- out: nothing is decided by the text of one that can be longer.
SELECT k.conrelid AS relation, k.confrelid AS referred, k.conname AS name, k.contype AS type, k.conrelid::pg_catalog.regclass AS table, k.conindid AS index,
    pg_catalog.left(pg_catalog.pg_get_constraintdef(k.oid), 4000) AS definition, k.conkey AS columns, k.confkey AS referred_columns, k.convalidated AS validated,
    k.confupdtype IN ('c', 'n', 'd') AS follows
FROM pg_catalog.pg_constraint k
WHERE k.conrelid = ANY (:'tables'::pg_catalog.oid[])
    OR k.oid = ANY (ARRAY(
        SELECT d.objid FROM pg_catalog.pg_depend d
        WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = ANY (:'tables'::pg_catalog.oid[])
            AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass))
ORDER BY k.oid

-- name: triggers
-- The triggers of the tables. A definition is only shown.
SELECT t.tgname AS name, pg_catalog.left(pg_catalog.pg_get_triggerdef(t.oid), 1000) AS definition, t.tgfoid AS function, t.tgtype AS type,
    t.tgattr::pg_catalog.int2[] AS columns, t.tgenabled AS enabled,
    t.tgattr = '' AND t.tgqual IS NULL AND t.tgnargs = 0 AND t.tgconstraint = 0 AND t.tgoldtable IS NULL AND t.tgnewtable IS NULL AS plain
FROM pg_catalog.pg_trigger t
WHERE t.tgrelid = ANY (:'tables'::pg_catalog.oid[]) AND NOT t.tgisinternal
ORDER BY t.tgrelid, t.tgname

-- name: code
-- What runs, or may run, when a key changes, and that another role than the one that is connected or a superuser decides; SECURITY.md
-- has the rule. 2 stands for a rule on UPDATE. One row is enough to refuse, and whoever makes them can make any number.
SELECT pg_catalog.pg_describe_object(c.class, c.oid, 0) AS name, c.calls, c.owner
FROM (
    -- It calls a function, an operator or a type which such a role owns and can replace. An enum holds no code.
    SELECT a.relation, a.class, a.oid, pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0) AS calls, r.rolname AS owner
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
        AND NOT (d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND EXISTS (
            SELECT FROM pg_catalog.pg_type y LEFT JOIN pg_catalog.pg_type e ON e.oid = y.typelem
            WHERE y.oid = d.refobjid AND (y.typtype = 'e' OR y.typlen = -1 AND e.typtype = 'e')))
    UNION ALL
    -- The same of the functions behind its operators. Where such a role may have written it, every function has to be immutable, because
    -- some of PostgreSQL's own execute what they are told to, and others read what somebody else defined; nobody knows who created a
    -- trigger. The numbers are the types of dates and times, whose functions are stable for the sake of the time zone.
    SELECT e.relation, e.class, e.oid, pg_catalog.pg_describe_object('pg_catalog.pg_proc'::pg_catalog.regclass, f.oid, 0), CASE WHEN NOT r.rolsuper THEN r.rolname END
    FROM (
            SELECT t.tgrelid AS relation, 'pg_catalog.pg_trigger'::pg_catalog.regclass AS class, t.oid, t.tgqual::pg_catalog.text AS tree, true AS strange
            FROM pg_catalog.pg_trigger t
            WHERE t.tgrelid = ANY (:'tables'::pg_catalog.oid[]) AND t.tgqual IS NOT NULL AND t.tgenabled <> 'D' AND t.tgtype & '16'::pg_catalog.int2 <> 0
            UNION ALL
            SELECT o.oid, x.class, x.oid, x.tree, NOT r.rolsuper AND r.rolname <> current_user
            FROM pg_catalog.pg_class o
                JOIN pg_catalog.pg_roles r ON r.oid = o.relowner
                CROSS JOIN LATERAL (
                    SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass AS class, k.oid, k.conbin::pg_catalog.text AS tree
                    FROM pg_catalog.pg_constraint k WHERE k.conrelid = o.oid
                    UNION ALL
                    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid, pg_catalog.concat(i.indexprs, i.indpred)
                    FROM pg_catalog.pg_index i WHERE i.indrelid = o.oid
                    UNION ALL
                    SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, g.oid, g.adbin::pg_catalog.text
                    FROM pg_catalog.pg_attrdef g JOIN pg_catalog.pg_attribute c ON c.attrelid = g.adrelid AND c.attnum = g.adnum AND c.attgenerated <> ''
                    WHERE g.adrelid = o.oid
                    UNION ALL -- before PostgreSQL 14 there are no expressions in statistics
                    SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid, pg_catalog.to_jsonb(s) ->> 'stxexprs'
                    FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid = o.oid
                ) AS x
            WHERE o.oid = ANY (:'tables'::pg_catalog.oid[])
        ) AS e
        CROSS JOIN LATERAL pg_catalog.regexp_matches(e.tree, ':\w*funcid (\d+)', 'g') AS m(found)
        JOIN pg_catalog.pg_proc f ON f.oid = m.found[1]::pg_catalog.oid
        JOIN pg_catalog.pg_roles r ON r.oid = f.proowner
    WHERE NOT r.rolsuper AND r.rolname <> current_user
        OR e.strange AND f.provolatile <> 'i' AND (f.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace
            OR f.proname NOT IN ('now', 'statement_timestamp', 'transaction_timestamp', 'clock_timestamp', 'current_setting', 'pg_trigger_depth')
                AND NOT (f.provolatile = 's' AND f.proargtypes::pg_catalog.oid[] && '{1082,1083,1114,1184,1186,1266}'
                    AND f.proargtypes::pg_catalog.oid[] <@ '{25,1082,1083,1114,1184,1186,1266}'))
    UNION ALL
    -- A rule may do anything.
    SELECT u.ev_class, 'pg_catalog.pg_rewrite'::pg_catalog.regclass, u.oid, NULL, r.rolname
    FROM pg_catalog.pg_rewrite u
        JOIN pg_catalog.pg_class o ON o.oid = u.ev_class
        JOIN pg_catalog.pg_roles r ON r.oid = o.relowner AND NOT r.rolsuper AND r.rolname <> current_user
    WHERE u.ev_class = ANY (:'tables'::pg_catalog.oid[]) AND u.ev_type = '2'
) AS c
GROUP BY c.relation, c.class, c.oid, c.calls, c.owner
ORDER BY c.class, c.oid, c.calls
LIMIT 20

-- name: rules
-- The rules of the tables.
SELECT r.rulename AS name
FROM pg_catalog.pg_rewrite r
WHERE r.ev_class = ANY (:'tables'::pg_catalog.oid[])
ORDER BY r.oid

-- name: children
-- The tables that inherit from the tables.
SELECT i.inhrelid::pg_catalog.regclass AS name
FROM pg_catalog.pg_inherits i
WHERE i.inhparent = ANY (:'tables'::pg_catalog.oid[])
ORDER BY i.inhrelid

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
-- The event triggers of others that have the name of a guard without its schema, or that matter to a change of this program. Whoever
-- owns the function of one can replace what runs with the rights of the role. Before PostgreSQL 14 those at the end of a command can
-- fail because of a guard: the list of what a command has created cannot be read any more once something of it was dropped.
SELECT t.name, t.owner, t.trusted, t.fragile, t.taken
FROM (
    SELECT e.evtname AS name, r.rolname AS owner, r.rolsuper OR r.rolname = current_user AS trusted,
        e.evtevent = 'ddl_command_end' AND pg_catalog.left(e.evtname::pg_catalog.text, 23) <> 'evolution_openai_patch_'
            AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 140000 AS fragile,
        e.evtname = :'guard' AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = e.evtname) AS taken,
        e.evtenabled <> 'D' AND e.evtevent <> 'login' AS fires
    FROM pg_catalog.pg_event_trigger e
        JOIN pg_catalog.pg_proc f ON f.oid = e.evtfoid
        JOIN pg_catalog.pg_roles r ON r.oid = f.proowner
) AS t
WHERE t.taken OR t.fires AND (t.fragile OR NOT t.trusted)
ORDER BY t.taken DESC, t.name
LIMIT 20

-- name: guard
-- The schema that holds the guard, and the event trigger, which has its name. What another role made could be changed by it at any
-- time.
SELECT pg_catalog.pg_get_userbyid(n.nspowner) AS owner, pg_catalog.pg_has_role(n.nspowner, 'USAGE') AS mine,
    pg_catalog.pg_get_userbyid(n.nspowner) = current_user OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = n.nspowner) AS trusted,
    ARRAY(SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_catalog.pg_depend d
        WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid AND d.classid <> 'pg_catalog.pg_proc'::pg_catalog.regclass
        ORDER BY d.classid, d.objid LIMIT 1) AS others,
    (SELECT pg_catalog.row_to_json(t) FROM (
        SELECT e.evtfoid AS function, e.evtenabled IN ('O', 'A') AS enabled, pg_catalog.pg_has_role(e.evtowner, 'USAGE') AS mine
        FROM pg_catalog.pg_event_trigger e WHERE e.evtname = n.nspname) AS t) AS trigger
FROM pg_catalog.pg_namespace n
WHERE n.nspname = :'guard'

-- name: guard_functions
-- The functions in the schema that holds the guard. The text of one is a few kB long, that of its settings less than one.
SELECT f.oid, f.proname AS name, CASE WHEN pg_catalog.octet_length(f.prosrc) < 16000 THEN f.prosrc ELSE '' END AS body,
    CASE WHEN pg_catalog.octet_length(pg_catalog.array_to_string(f.proconfig, ',')) < 1000 THEN f.proconfig END AS settings,
    (o.rolname = current_user OR o.rolsuper) AND f.prokind = 'f' AND f.prosecdef AND f.pronargs = 0
        AND f.prorettype = 'pg_catalog.event_trigger'::pg_catalog.regtype AND l.lanname = 'plpgsql' AS exact
FROM pg_catalog.pg_namespace n
    JOIN pg_catalog.pg_proc f ON f.pronamespace = n.oid
    JOIN pg_catalog.pg_language l ON l.oid = f.prolang
    JOIN pg_catalog.pg_roles o ON o.oid = f.proowner
WHERE n.nspname = :'guard'
ORDER BY f.oid
