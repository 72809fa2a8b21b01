-- Whatever in the schemas has the name of the table, of an index of the catalogue, or of Prisma's list.
SELECT c.relnamespace AS namespace, c.oid, c.relname AS name, c.relkind AS kind, c.relispartition AS partition, pg_catalog.pg_get_userbyid(c.relowner) AS owner,
    pg_catalog.pg_has_role(c.relowner, 'USAGE') AS mine, pg_catalog.row_security_active(c.oid) AS hidden,
    pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable,
    c.relhasrules AS rules, c.relhassubclass AS children
FROM pg_catalog.pg_class c
WHERE c.relname = ANY (:'names'::pg_catalog.name[])
    AND c.relnamespace = ANY (ARRAY(SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY (:'schemas'::pg_catalog.name[])))
ORDER BY c.oid
