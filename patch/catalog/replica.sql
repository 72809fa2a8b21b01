-- For whom session_replication_role is set to replica. A setting is stored in the spelling of whoever made it.
SELECT r.setrole = 0 AS everybody, pg_catalog.pg_get_userbyid(r.setrole) AS role, pg_catalog.pg_get_userbyid(r.setrole) = session_user AS connected
FROM pg_catalog.pg_db_role_setting r
WHERE EXISTS (SELECT FROM pg_catalog.unnest(r.setconfig) AS config(setting) WHERE pg_catalog.lower(config.setting) = 'session_replication_role=replica')
    AND (r.setdatabase = 0 OR r.setdatabase = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
ORDER BY r.setrole, r.setdatabase
