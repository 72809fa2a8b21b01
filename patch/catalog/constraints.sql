-- The constraints of the tables, and the foreign keys that refer to them.
SELECT k.conrelid AS relation, k.confrelid AS referred, k.conname AS name, k.contype AS type, k.conrelid::pg_catalog.regclass AS table, k.conindid AS index,
    pg_catalog.pg_get_constraintdef(k.oid) AS definition, k.conkey AS columns, k.confkey AS referred_columns, k.convalidated AS validated
FROM pg_catalog.pg_constraint k
WHERE k.conrelid = ANY (:'tables'::pg_catalog.oid[])
    OR k.oid = ANY (ARRAY(
        SELECT d.objid FROM pg_catalog.pg_depend d
        WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = ANY (:'tables'::pg_catalog.oid[])
            AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass))
ORDER BY k.oid
