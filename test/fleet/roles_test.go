package fleet

import (
	"context"
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// as runs the program over the databases of the server as a role.
func (f *fleet) as(uri, databases string, environ ...string) pgtest.Outcome {
	f.t.Helper()
	return pgtest.Run(f.t, append([]string{"DATABASE_CONNECTION_URI=" + uri, "PATCH_DATABASES=" + databases, inJSON}, environ...)...)
}

// give makes a role the owner of Evolution's schema and tables in some databases.
func (f *fleet) give(role string, databases ...string) {
	f.t.Helper()
	for _, name := range databases {
		c := f.open(name)
		pgtest.Exec(f.t, c, fmt.Sprintf(`ALTER SCHEMA public OWNER TO %[1]s; DO $$ DECLARE t regclass; BEGIN
			FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP EXECUTE format('ALTER TABLE %%s OWNER TO %[1]s', t); END LOOP; END $$`, role))
		_ = c.Close(context.Background())
	}
}

// A role is the owner in one database, a member of the owner in another, may only read in a third and nothing in a fourth.
// One database it may not connect to.
func TestFleetRoles(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("ro_own", "ro_member", "ro_read", "ro_none", "ro_closed")
	f.addEmpty("ro_other")
	uri := f.addRole("ro_app", "")
	f.addRole("ro_tenant", "")
	pgtest.Exec(t, f.admin, `GRANT ro_tenant TO ro_app; REVOKE CONNECT ON DATABASE ro_closed FROM PUBLIC`)
	f.give("ro_app", "ro_own")
	f.give("ro_tenant", "ro_member")
	pgtest.Exec(t, f.open("ro_read"), `GRANT SELECT ON ALL TABLES IN SCHEMA public TO ro_app`)
	o := f.as(uri, "ro_*", "PATCH_ACTION=status")
	o.ExpectCode(t, 1, 5)
	reportOf(t, o).expect(t, all("unpatched", "ro_own", "ro_member", "ro_read").and(all(reportOf(t, o)["ro_none"], "ro_none")))
	o = f.as(uri, "ro_*")
	o.Expect(t, 1, pgtest.MayNotChange)
	reportOf(t, o).expect(t, all("patched", "ro_own", "ro_member").and(all("failed", "ro_read", "ro_none")))
	expectLast(t, o, "done: 2 patched (2 changed), 2 failed, "+pgtest.OneWithoutTable+", "+pgtest.OneKeptOut)
	o = f.as(uri, "ro_closed,ro_*")
	o.Expect(t, 1, pgtest.MayNotConnect)
	reportOf(t, o).expect(t, all("patched", "ro_own", "ro_member").and(all("failed", "ro_read", "ro_none", "ro_closed")))
	f.as(f.URI("postgres", ""), "ro_*").Expect(t, 0)
}
