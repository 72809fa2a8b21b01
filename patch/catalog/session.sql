-- The session, and whether Prisma's advisory lock is held in this database.
SELECT current_user AS role, pg_catalog.current_setting('is_superuser') = 'on' AS superuser, pg_catalog.pg_is_in_recovery() AS standby,
    pg_catalog.current_setting('session_replication_role') = 'replica' AS replica,
    EXISTS (SELECT FROM pg_catalog.pg_lock_status() l
        WHERE l.locktype = 'advisory' AND l.classid = '0'::pg_catalog.oid AND l.objid = '72707369'::pg_catalog.oid AND l.objsubid = 1 AND l.granted
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) AS migrating
