DECLARE
    code pg_catalog.text;
    culprit pg_catalog.text;
BEGIN
    :statement;
EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, culprit = CONSTRAINT_NAME;
    RAISE EXCEPTION USING MESSAGE = CASE WHEN code = '57014' AND SQLERRM = 'canceling statement due to statement timeout' THEN SQLERRM ELSE :'message' END, DETAIL = code, CONSTRAINT = culprit,
        ERRCODE = CASE WHEN pg_catalog.left(code, 2) IN ('40', '53', '57', '58', 'XX') OR code = '55P03' THEN code ELSE 'P0001' END;
END
