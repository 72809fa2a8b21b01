-- To whom the default privileges of the role open what it creates.
SELECT DISTINCT pg_catalog.pg_get_userbyid(x.grantee) AS name
FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) x
WHERE pg_catalog.pg_get_userbyid(d.defaclrole) = current_user AND d.defaclobjtype IN ('f', 'n') AND x.grantee NOT IN (0, d.defaclrole)
ORDER BY 1
