-- The columns of the table and of Prisma's list. The types text and varchar are 25 and 1043; what initdb makes is below 16384.
SELECT a.attrelid AS relation, a.attname AS name, a.attnum AS number, pg_catalog.format_type(a.atttypid, NULL) AS type, a.atttypid IN (25, 1043) AS text,
    a.atttypid < '16384'::pg_catalog.oid AS builtin, CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 0 END AS limit, a.attgenerated <> '' AS generated,
    a.attcollation >= '16384'::pg_catalog.oid
        AND EXISTS (SELECT FROM pg_catalog.pg_collation o WHERE o.oid = a.attcollation AND NOT o.collisdeterministic) AS nondeterministic
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = ANY (ARRAY(
        SELECT c.oid FROM pg_catalog.pg_class c
        WHERE c.relname IN ('OpenaiCreds', '_prisma_migrations') AND c.relkind = 'r'
            AND c.relnamespace = ANY (ARRAY(SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY (:'schemas'::pg_catalog.name[])))))
    AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
