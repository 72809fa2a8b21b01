package guard

import (
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// With PATCH_SCHEMAS=*, revert also removes the guards of schemas that never got the table, and what is left of those without their
// event trigger.
func TestRevertRemovesGuardsOfOtherSchemas(t *testing.T) {
	t.Parallel()
	for name, databases := range map[string]string{"database that is named": `%s%s`, "database that is found": `%s[%s]`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewEvolution(t, "evolution_api")
			before := d.SortedDump()
			d.Patch().Expect(t, 0, "patched: ", "changed=true")
			orphans := []string{"public", "ключи", `a"b`, `back\slash`, "line\nbreak", "'; DROP TABLE x; --", "<not there>"}
			for _, schema := range orphans {
				if schema == `back\slash` {
					d.Exec(`CREATE SCHEMA ` + pgtest.Quote(schema)) // the others are not there either, but for public
				}
				d.In(schema).Patch().Expect(t, 0, "guarded: ", "changed=true")
			}
			d.Exec(`DROP EVENT TRIGGER ` + guardSchema + `; DROP SCHEMA "back\slash"`)
			last := len(d.Name) - 1
			o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URI(), "PATCH_DATABASES="+fmt.Sprintf(databases, d.Name[:last], d.Name[last:]),
				"PATCH_SCHEMAS=*", "PATCH_ACTION=revert")
			o.Expect(t, 0, "unpatched: ", "changed=true")
			if n := strings.Count(o.Stdout, "pending: "); name == "database that is named" && n != len(orphans) {
				t.Errorf("%d lines of schemas without the table, want %d:\n%s", n, len(orphans), o.Stdout)
			}
			d.ExpectNoGuard("PATCH_SCHEMAS=*", "PATCH_ACTION=revert")
			d.ExpectSortedDump(before)
		})
	}
}

// The same where no schema has the table. Without PATCH_SCHEMAS=*, and by any other action, they stay.
func TestRevertRemovesGuardsAlone(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.In("one").Patch().Expect(t, 0, "guarded: ", "changed=true")
	d.In("two").Patch().Expect(t, 0, "guarded: ", "changed=true")
	before := d.GuardObjects()
	for _, c := range []struct {
		environ []string
		want    []string
	}{
		{[]string{"PATCH_ACTION=revert"}, []string{"pending: ", "schema=public"}},
		{[]string{"PATCH_SCHEMAS=*"}, []string{"pending: ", "schema=*"}},
		{[]string{"PATCH_SCHEMAS=*", "PATCH_ACTION=status"}, []string{"pending: ", "schema=*"}},
		{[]string{"PATCH_SCHEMAS=*", "PATCH_ACTION=revert", "PATCH_DRY_RUN=true"}, []string{"guarded: ", "schema=one", "schema=two", "DROP EVENT TRIGGER"}},
	} {
		d.Patch(c.environ...).Expect(t, 0, append(c.want, "changed=false")...)
		if after := d.GuardObjects(); after != before {
			t.Errorf("%q: there was %q, and is %q", c.environ, before, after)
		}
	}
	d.Patch("PATCH_SCHEMAS=*", "PATCH_ACTION=revert").Expect(t, 0, "pending: ", "changed=true")
	d.ExpectNoGuard("PATCH_SCHEMAS=*", "PATCH_ACTION=revert")
}

// Of what has a guard's name, revert leaves whatever is not exactly the program's own, or belongs to somebody who is neither a superuser
// nor the role itself.
func TestRevertLeavesWhatIsNoGuard(t *testing.T) {
	t.Parallel()
	hostile := func(owner, schema string) string {
		return `CREATE SCHEMA evolution_openai_patch_00000000 AUTHORIZATION ` + owner + `; GRANT ALL ON SCHEMA evolution_openai_patch_00000000 TO MALLORY; SET SESSION AUTHORIZATION MALLORY;
			CREATE FUNCTION evolution_openai_patch_00000000.guard() RETURNS event_trigger LANGUAGE plpgsql
				AS E'-- evolution-openai-patch {"schema":"` + schema + `"}\nBEGIN END'; RESET SESSION AUTHORIZATION`
	}
	for name, c := range map[string]struct{ sql, role, state, warning string }{ // GUARD, ROLE and MALLORY stand for names
		"settings":                     {`DO $$ BEGIN EXECUTE format('ALTER FUNCTION %s RESET exit_on_error', (SELECT oid::regprocedure FROM pg_proc WHERE proname LIKE 'guard%')); END $$`, "postgres", "pending: ", pgtest.HoldsFunction},
		"settings, no event trigger":   {`DO $$ BEGIN EXECUTE format('ALTER FUNCTION %s RESET exit_on_error', (SELECT oid::regprocedure FROM pg_proc WHERE proname LIKE 'guard%')); END $$; DROP EVENT TRIGGER GUARD`, "postgres", "pending: ", pgtest.HoldsFunction},
		"a table":                      {`CREATE TABLE GUARD.mine (a int)`, "postgres", "guarded: ", pgtest.HoldsAnother},
		"another's schema":             {`ALTER SCHEMA GUARD OWNER TO MALLORY`, "postgres", "pending: ", pgtest.HoldsFunction},
		"another's function":           {`DO $$ BEGIN EXECUTE format('ALTER FUNCTION %s OWNER TO MALLORY', (SELECT oid::regprocedure FROM pg_proc WHERE proname LIKE 'guard%')); END $$`, "postgres", "pending: ", pgtest.NotThere},
		"another event trigger":        {`CREATE FUNCTION GUARD.mine() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; DROP EVENT TRIGGER GUARD; CREATE EVENT TRIGGER GUARD ON sql_drop EXECUTE FUNCTION GUARD.mine()`, "postgres", "pending: ", pgtest.HoldsFunction},
		"a superuser's":                {`SELECT 1`, "ROLE", "guarded: ", pgtest.GuardLeft},
		"hostile, in mallory's schema": {hostile("MALLORY", "app"), "postgres", "pending: ", pgtest.NotThere},
		"hostile, in the role's":       {hostile("ROLE", "app"), "ROLE", "pending: ", pgtest.NotThere},
		"hostile, with a strange name": {hostile("ROLE", `app\\u0000`), "ROLE", "pending: ", pgtest.NotThere},
		"hostile, of a superuser's":    {hostile("postgres", `app\\u0000`), "postgres", "pending: ", pgtest.NotThere},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewDatabase(t, "public")
			names := strings.NewReplacer("GUARD", guardSchema, "ROLE", d.Name+"_role", "MALLORY", d.Name+"_mallory")
			createRole(t, d, d.Name+"_role")
			createRole(t, d, d.Name+"_mallory")
			d.Exec(`CREATE SCHEMA app; CREATE TABLE app.customers (id int)`)
			if !strings.HasPrefix(name, "hostile") {
				d.Patch(pgtest.IndexOnly).Expect(t, 0, "guarded: ", "changed=true")
			}
			d.Exec(names.Replace(c.sql))
			before := d.Dump()
			for range 2 {
				o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIAs(names.Replace(c.role)), "PATCH_SCHEMAS=*", "PATCH_ACTION=revert")
				expectWarning(t, o, c.state, c.warning)
				o.Expect(t, 0, "changed=false")
				o.ExpectNot(t, pgtest.StillGuarded)
			}
			d.ExpectDump(before)
		})
	}
}

// A role that is no superuser removes the guard that it has installed when it was one.
func TestRevertRemovesTheRolesOwnGuard(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	role := d.Name + "_role"
	createRole(t, d, role)
	d.Exec(`ALTER ROLE ` + role + ` SUPERUSER`)
	uri := "DATABASE_CONNECTION_URI=" + d.In("never_there").URIAs(role)
	pgtest.Run(t, uri).Expect(t, 0, "guarded: ", "changed=true")
	d.Exec(`ALTER ROLE ` + role + ` NOSUPERUSER`)
	revert := func() pgtest.Outcome { return pgtest.Run(t, uri, "PATCH_SCHEMAS=*", "PATCH_ACTION=revert") }
	revert().Expect(t, 0, "pending: ", "changed=true")
	d.ExpectNoGuardAfter(func() { revert().ExpectCode(t, 0) })
}
